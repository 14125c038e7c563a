"""The JSON log: one object a line, with the facts of the message as fields."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.logs import logging_config

Entries = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def entries(monkeypatch) -> Iterator[Entries]:
    """Let loggers write JSON; return what they have written."""
    monkeypatch.setenv("DJANGO_LOG_FORMAT", "json")
    config, stream = logging_config(), StringIO()
    config["handlers"]["console"]["stream"] = stream
    root, names = logging.getLogger(), ("django", "shop_payments", "of_the_test")
    loggers = [root, *map(logging.getLogger, names)]
    before = [(each.level, [*each.handlers], each.propagate) for each in loggers]
    logging.config.dictConfig(config)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger, (level, handlers, propagates) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagates


@pytest.mark.django_db
def test_each_change_of_a_payment_is_an_object_with_its_facts(entries, order, stripe_sandbox):
    intent = stripe_sandbox.pay(order)
    changes = [each for each in entries() if each["message"].startswith("Payment changed")]
    paid = next(each for each in changes if each["fact"] == "order_paid")
    assert (paid["level"], paid["logger"]) == ("INFO", "shop_payments")
    assert (paid["order"], paid["status"]) == (str(order.pk), "paid")
    assert paid["intent"] == intent["id"]
    assert paid["time"].endswith("+00:00")
    # "-" in a message means that there is none.
    assert "-" not in paid.values()
    assert any(each.get("stripe_request_id", "").startswith("req_") for each in changes)


def test_attributes_are_fields_and_do_not_mix_with_the_facts(entries):
    logging.getLogger("shop_payments").warning(
        "A phrase: stripe_request_id=req_1 level=low order=9, odd=", extra={"request_id": "of-http"}
    )
    (entry,) = entries()
    assert entry["request_id"] == "of-http"
    assert entry["stripe_request_id"] == "req_1"
    assert (entry["order"], entry["level"]) == ("9", "WARNING")


def test_objects_and_messages_of_others_are_left_as_they_are(entries):
    logging.getLogger("of_the_test").warning(
        "user=eve said %s", "ok", extra={"status_code": 400, "request": object(), "user": None}
    )
    (entry,) = entries()
    assert set(entry) == {"time", "level", "logger", "message", "status_code"}
    assert entry["status_code"] == 400


def test_an_exception_is_text_and_secrets_are_redacted_everywhere(entries):
    logger = logging.getLogger("shop_payments.of_the_test")
    try:
        raise ValueError("refused:\nsk_live_abcdef")
    except ValueError:
        logger.exception(
            "failed\nwhsec_abcdef key=%s", "rk_live_abcdef", extra={"more": "pk_live_x"}
        )
    (entry,) = entries()
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("sk_live_***")
    assert entry["message"] == "failed\nwhsec_*** key=rk_live_***"
    assert (entry["key"], entry["more"]) == ("rk_live_***", "pk_live_***")


def test_a_wrong_format_or_level_is_named(monkeypatch):
    for name, accepted in (("FORMAT", "text or json"), ("LEVEL", "DEBUG, INFO, WARNING or ERROR")):
        with monkeypatch.context() as context:
            context.setenv(f"DJANGO_LOG_{name}", "loud")
            with pytest.raises(ImproperlyConfigured) as raised:
                logging_config()
        assert str(raised.value) == f"DJANGO_LOG_{name} must be {accepted}."


def test_payments_are_logged_in_production_and_not_in_development(monkeypatch):
    monkeypatch.delenv("DJANGO_LOG_LEVEL", raising=False)
    level = "shop_payments"
    assert logging_config()["loggers"][level]["level"] == "INFO"
    assert logging_config(development=True)["loggers"][level]["level"] == "WARNING"
    monkeypatch.setenv("DJANGO_LOG_LEVEL", "error")
    assert logging_config(development=True)["loggers"][level]["level"] == "ERROR"
