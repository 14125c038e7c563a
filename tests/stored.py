"""What the rows store for staff: codes and figures, and no sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from shop_payments.models import PaymentHistory, ReviewItem, WebhookEvent
from shop_payments.models.sentences import SENTENCES

WRITTEN_BY_OTHERS = {"message", "failure_reason", "error", "note", "code", "decline_code"}
"""See Note [Codes and figures] in ``models/sentences.py``; the last two are codes of Stripe."""


def _stored_data() -> Iterator[tuple[str, dict[str, Any]]]:
    """The code of each sentence that is stored, with its figures."""
    for fact in PaymentHistory.objects.all():
        yield fact.data.get("sentence", fact.kind), fact.data
    for item in ReviewItem.objects.all():
        yield item.data.get("sentence", item.reason), item.data
        if item.closing_data is not None:
            yield item.closing_data.get("sentence", ""), item.closing_data
    for event in WebhookEvent.objects.exclude(outcome_data={}).defer("payload"):
        yield event.outcome_data["sentence"], event.outcome_data


def assert_only_codes_are_stored() -> None:
    for code, data in _stored_data():
        assert code in SENTENCES, data
        for name, value in data.items():
            is_ours = name not in WRITTEN_BY_OTHERS and isinstance(value, str)
            assert not is_ours or " " not in value, data


@contextmanager
def translated() -> Iterator[None]:
    """A language in which each text is the English one in capitals."""

    def shout(message: str) -> str:
        parts = re.split(r"(%(?:\(\w+\))?[a-z])", message)
        return "".join(part if part.startswith("%") else part.upper() for part in parts)

    with mock.patch("django.utils.translation._trans.gettext", shout):
        yield


def english_in(text: str, data: dict[str, Any]) -> set[str]:
    """Return the words of a translated text that are not translated, and no data either."""
    return set(re.findall(r"[a-z]{2,}", text)) - set(re.findall(r"[a-z]+", str(data)))
