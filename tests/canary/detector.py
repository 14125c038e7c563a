"""What hears, knows and finds secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.test import Client

from shop_payments.sandbox import Sandbox
from tests.support import BASE

STRIPE_KEY = "sk_test_CanaryOfTheStripeKey7aTq2x"
WEBHOOK_SECRETS = ["whsec_CanaryOfTheOldWebhook4kWz9", "whsec_CanaryOfTheNewWebhook8mPv3"]
NEW_KEY = "the new key"
ISSUING_PATH = "/admin/shop_payments/apikey/add/"
LOGGERS_OF_HOSTS = ("django.db.backends",)
"""Django's SQL log prints parameters, and whoever turns it on knows."""

BITE = 12
"""So many characters of a secret, from either end, are a leak."""


class Trap(logging.Handler):
    """Hears every record of every logger at DEBUG."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Formatted now: arguments may be changed later on.
        plain = {key: value for key, value in vars(record).items() if key != "exc_info"}
        self.records.append(record)
        self.texts.append(f"{record.name}: {logging.Formatter().format(record)}\n{plain!r}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        known = [each for each in loggers if isinstance(each, logging.Logger)]
        before = [(each, each.level, each.propagate, each.disabled) for each in known]
        for logger in known:
            logger.disabled = False
            logger.propagate = not logger.name.startswith(LOGGERS_OF_HOSTS)
            logger.setLevel(logging.DEBUG)
        logging.root.addHandler(self)
        try:
            yield
        finally:
            logging.root.removeHandler(self)
            for logger, level, propagate, disabled in before:
                logger.level, logger.propagate, logger.disabled = level, propagate, disabled
            logging.root.manager._clear_cache()  # type: ignore[attr-defined]


class Canary:
    """Knows every secret, and finds it in what it is shown."""

    def __init__(self, stripe: Sandbox) -> None:
        self._stripe = stripe
        self._fixed = {"the Stripe key": STRIPE_KEY.removeprefix("sk_test_")}
        for number, secret in enumerate(WEBHOOK_SECRETS, 1):
            self._fixed[f"webhook secret {number}"] = secret.removeprefix("whsec_")
        self.trap = Trap()
        self.leaks: list[str] = []

    def learn(self, name: str, secret: str) -> str:
        """Remember a secret of this test."""
        assert len(secret) > BITE
        self._fixed[name] = secret
        return secret

    def client_secrets(self, order_id: str = "") -> dict[str, str]:
        """The random part of each client secret at Stripe; of one order's, if it is named."""
        return {
            f"client_secret of {intent['id']}": intent["client_secret"].partition("_secret_")[2]
            for intent in self._stripe._books.payment_intents.values()
            if order_id in {"", intent["metadata"].get("order_id")}
        }

    def find(self, text: str, *, allowed: dict[str, str] | None = None) -> list[str]:
        secrets = {**self._fixed, **self.client_secrets()}
        return [
            name
            for name, secret in secrets.items()
            if name not in (allowed or {}) and (secret[:BITE] in text or secret[-BITE:] in text)
        ]

    def look_at(self, where: str, text: str, *, allowed: dict[str, str] | None = None) -> None:
        for name in self.find(text, allowed=allowed):
            self.leaks.append(f"{name} is in {where}")

    def look_at_answer(self, method: str, path: str, response: Any) -> None:
        """Look at an answer; two of them are there to hand a secret out."""
        allowed = {}
        if method == "POST" and response.status_code == 200:
            order = re.fullmatch(rf"{BASE}/orders/([^/]+)/payment(-intent)?", path)
            allowed = self.client_secrets(order_id=order[1]) if order else {}
            if path == ISSUING_PATH:
                allowed = {NEW_KEY: ""}
        text = response.serialize().decode() + str(response.cookies)
        where = f"the answer {response.status_code} to {method} {path}"
        self.look_at(where, text, allowed=allowed)

    def assert_silent(self) -> None:
        """Look at all that a run has left behind, and fail if a secret was seen anywhere."""
        for text in self.trap.texts:
            self.look_at(f"the log: {text[:100]}", text)
        for where, text in dump():
            self.look_at(where, text)
        assert not self.leaks, "\n".join(dict.fromkeys(self.leaks))


def dump() -> Iterator[tuple[str, str]]:
    """Every column of every row of the app, the sessions and the admin's log; and the caches."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        shown = [each for each in tables if each.startswith("shop_payments_")]
        for table in [*shown, "django_session", "django_admin_log"]:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                assert cursor.description is not None
                for column, value in zip(cursor.description, row, strict=True):
                    yield f"the column {table}.{column[0]}", f"{value!r}"
    for session in Session.objects.all():
        yield "a session", repr(session.get_decoded())
    for cache in caches.all(initialized_only=True):
        yield "the cache", repr(vars(cache).get("_cache"))


class Witness(Client):
    """A client that shows the canary every answer."""

    def __init__(self, canary: Canary, **kwargs: Any) -> None:
        super().__init__(raise_request_exception=False, **kwargs)
        self._canary = canary

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        self._canary.look_at_answer(request["REQUEST_METHOD"], request["PATH_INFO"], response)
        return response
