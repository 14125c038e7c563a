"""The translations are complete, and what is stored is read in the reader's language."""

from __future__ import annotations

import gettext
from io import BytesIO

import pytest
from django.utils import translation

from shop_payments.exceptions import Message
from shop_payments.models import OrderPayment, PaymentHistory, ReviewItem, StripeAttempt
from shop_payments.models.sentences import SENTENCES, SUGGESTIONS, render, suggest
from tests.models.test_sentences import FIGURES
from tests.shop import Shop
from tests.translations import catalogs, compiled, placeholders, read_po, texts_of_app

HOW = "run: python -m tests.translations, and translate what it prints"


@pytest.fixture(params=catalogs(), ids=lambda path: str(path.parts[-3]))
def path(request):
    return request.param


def test_german_is_one_of_the_languages():
    assert "de" in [path.parts[-3] for path in catalogs()]


def test_every_text_has_a_translation_with_the_same_figures(path):
    entries = read_po(path).entries
    assert set(entries) == set(texts_of_app()), HOW
    for text, entry in entries.items():
        assert all(entry.translations), (text, HOW)
        assert not entry.is_fuzzy, text
        figures = {frozenset(placeholders(each)) for each in entry.translations}
        expected = {frozenset(placeholders(each)) for each in (text.msgid, text.plural) if each}
        assert figures == expected, text


def test_the_compiled_file_has_the_same_translations(path):
    catalog, content = read_po(path), path.with_suffix(".mo").read_bytes()
    assert content == compiled(catalog), HOW
    read = gettext.GNUTranslations(BytesIO(content))
    for text, entry in catalog.entries.items():
        one = entry.translations[0]
        if text.plural:
            shown = [read.ngettext(text.msgid, text.plural, count) for count in (1, 2)]
            assert shown == entry.translations
            assert shown[0] != shown[1]
        elif text.context:
            assert read.pgettext(text.context, text.msgid) == one
        else:
            assert read.gettext(text.msgid) == one


def test_every_sentence_has_its_figures_in_german():
    with translation.override("de"):
        for code in SENTENCES:
            assert not render(code, FIGURES).startswith(f"{code} ("), code
        for code in SUGGESTIONS:
            assert suggest(code, FIGURES), code
        amount = render("refund_requested", {"amount": 123456, "currency": "eur"})
    assert amount == "1234,56 EUR angefordert"


@pytest.mark.django_db
def test_what_was_stored_in_english_is_read_in_german(open_shop):
    shop: Shop = open_shop(112)
    shop.pay(112)
    shop.costs(102)
    item, fact = ReviewItem.objects.get(), PaymentHistory.objects.get(kind="order_paid")
    payment, attempt = OrderPayment.objects.get(), StripeAttempt.objects.get()
    assert (
        item.detail == "112.00 USD received; the order costs 102.00 USD, so 10.00 USD is too much"
    )

    with translation.override("de"):
        assert str(item) == (
            "es ist mehr eingegangen, als die Bestellung kostet: 112,00 USD eingegangen;"
            " die Bestellung kostet 102,00 USD, also sind 10,00 USD zu viel"
        )
        assert item.suggested_action == "Erstatten Sie 10,00 USD."
        assert fact.sentence == "Bestellung bezahlt: 112,00 USD eingegangen (Nachricht von Stripe)"
        assert payment.get_status_display() == "bezahlt"
        assert attempt.get_outcome_display() == "erfolgreich"


@pytest.mark.django_db
def test_clients_of_the_api_read_english(paid, office, settings):
    settings.LANGUAGE_CODE = "de"
    with translation.override("de"):
        response = office.refund(paid.order, {"amount": "200.00"})
    assert response.json()["message"] == "Only 112.00 USD can be refunded."


def test_a_message_without_figures_may_contain_a_percent_sign():
    assert Message("100 % of it") == "100 % of it"
