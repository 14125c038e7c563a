"""Sentences are made of codes and figures when they are displayed."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone

from shop_payments.models import FactKind, ReviewItem, StaffEntry
from shop_payments.models.codes import ReviewReason
from shop_payments.models.sentences import SENTENCES, SUGGESTIONS, render, suggest
from shop_payments.models.words import stored_moment
from tests.stored import english_in, translated

MONEY = dict.fromkeys(
    ("amount_asked", "amount_received", "outstanding", "paid", "total", "order_total"), 11200
)
FIGURES: dict[str, Any] = {
    **MONEY,
    "amount": 1200,
    "amount_refunded": 500,
    "currency": "usd",
    "order_currency": "eur",
    "account": "acct_1",
    "capture_before": "2026-11-01T12:00:00+00:00",
    "code": "card_declined",
    "decline_code": "do_not_honor",
    "dispute_reason": "product_not_received",
    "error": "OrderUnreadable",
    "method": "total",
    "evidence_due_at": "2026-11-02T12:00:00+00:00",
    "fact_kind": "order_paid",
    "failure_reason": "expired_or_canceled_card",
    "failures": 3,
    "fraud_type": "misc",
    "intent_status": "processing",
    "is_disputed": True,
    "message": "declined",
    "note": "agreed",
    "objects": "early_fraud_warnings",
    "reason": "excess",
    "review_reason": "rule",
    "status": "requires_action",
    "stripe_dispute_id": "du_1",
    "stripe_intent_id": "pi_1",
    "stripe_refund_id": "re_1",
    "subject": "issfr_1",
    "day": "Nov. 1",  # Django's own translations are not in capitals
}
WITHOUT: dict[str, Any] = {
    **FIGURES,
    "amount": 11200,
    "amount_refunded": 0,
    "decline_code": "",
    "dispute_reason": "",
    "evidence_due_at": None,
    "failure_reason": "",
    "is_disputed": False,
    "error": "KeyError",
    "message": "",
    "method": "",
}
"""Where something is not known, or does not apply."""


@pytest.mark.parametrize("figures", [FIGURES, WITHOUT])
def test_every_sentence_is_translated(figures):
    for code in SENTENCES:
        english = render(code, figures)
        assert not english.startswith(f"{code} ("), "its figures are missing"
        with translated():
            text = render(code, figures)
        assert (english_in(text, figures), text.upper()) == (set(), english.upper())


@pytest.mark.parametrize("figures", [FIGURES, WITHOUT])
def test_no_sentence_contains_an_id_a_code_or_an_error(figures):
    """The pages show them in their own fields."""
    words = [render(code, figures) for code in SENTENCES]
    words += [suggest(code, figures) for code in SUGGESTIONS]
    code_words = r"\w*_\d\b|[a-z]+_[a-z]+|Error\b|Adapter|attempt|sweep|\bfact\b|None"
    assert [text for text in words if re.search(code_words, text)] == []


@pytest.mark.parametrize("dispute_state", ["", "open", "lost"])
def test_every_suggestion_is_translated(dispute_state):
    figures = {**FIGURES, "dispute_state": dispute_state}
    for code in SUGGESTIONS:
        english = suggest(code, figures)
        with translated():
            text = suggest(code, figures)
        assert english
        assert (english_in(text, figures), text.upper()) == (set(), english.upper())


def test_every_kind_and_reason_has_a_sentence():
    of_several = {FactKind.REVIEW_NEEDED, FactKind.STAFF_ENTRY_REVOKED, ReviewReason.UNCOUNTED}
    assert {*FactKind, *ReviewReason} - of_several <= set(SENTENCES)
    assert set(ReviewReason) - of_several <= set(SUGGESTIONS) <= set(SENTENCES)
    assert {f"{kind}_revoked" for kind in StaffEntry.Kind} <= set(SENTENCES)


@pytest.mark.parametrize(
    ("code", "figures", "text"),
    [
        ("of_tomorrow", {"amount": 5, "currency": "usd"}, "of_tomorrow (amount=5, currency=usd)"),
        ("excess", {"amount": 5}, "excess (amount=5)"),
        ("status_changed", {"intent_status": "of_tomorrow"}, "of tomorrow"),
    ],
)
def test_what_a_newer_version_wrote_is_displayed_as_it_is(code, figures, text):
    assert render(code, figures) == text
    item = ReviewItem(reason="excess", data={"sentence": code, **figures})
    assert item.detail == text
    assert isinstance(item.suggested_action, str)


@pytest.mark.parametrize("is_aware", [True, False])
def test_a_time_is_displayed_in_the_current_zone_with_its_name(is_aware, settings):
    settings.USE_TZ, settings.TIME_ZONE = is_aware, "UTC"
    moment = datetime(2026, 11, 1, 12, tzinfo=timezone.get_default_timezone())
    stored = stored_moment(moment if is_aware else moment.replace(tzinfo=None))
    figures = {**FIGURES, "capture_before": stored}
    with timezone.override("America/New_York"):
        assert render("authorization_expires", figures).endswith("until Nov. 1, 2026, 7 a.m. EST")
