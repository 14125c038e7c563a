"""A shop, its Stripe, and everybody who acts on them, in one process and under one clock."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import time_machine
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client, override_settings

from shop_payments.api.errors import ERROR_TABLE
from shop_payments.exceptions import ShopPaymentsError
from shop_payments.ledger.facts import SIGNALS
from shop_payments.models import (
    APIKey,
    Order,
    OrderPayment,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.money import Money
from shop_payments.sandbox import Fault, SandboxResponse
from shop_payments.sandbox.account.faults import REQUEST_FAULTS
from shop_payments.testing import SignedEvent, StripeSandbox, sign_event
from tests.books import listed_at_stripe
from tests.conftest import connected
from tests.factories import OrderFactory
from tests.reliability.parts import PartsAdapter, People, number_in_parts
from tests.support import WEBHOOK_SECRET, Died, call_stripe

BEGIN = datetime(2026, 11, 24, 10, tzinfo=UTC)
TEN_YEARS = 10 * 365 * 24 * 60 * 60
HELD = "HOLD"
"""How the numbers of orders begin whose money is only reserved at first."""

UNIT_AMOUNTS = {"usd": 5600, "jpy": 500, "kwd": 5120}
MANDATE = {"mandate_data[customer_acceptance][type]": "offline"}

Json = dict[str, Any]


class ReceiverBroke(Exception):
    """The host's own code raised."""


class AdapterBroke(Exception):
    """The shop's own code, which says what an order costs, raised."""


class Adapter(PartsAdapter):
    """A shop that reserves the money of some orders, and takes that of others in parts."""

    notified: ClassVar[Counter[Any]] = Counter()
    """How often it was notified of each fact."""

    broken: ClassVar[str] = ""
    """The method that raises; none if it is empty."""

    def on_payment_received(self, order: Any, *, fact_id: Any, **values: Any) -> None:
        self.notified[fact_id] += 1

    def on_paid(self, order: Any, *, fact_id: Any, **values: Any) -> None:
        self.notified[fact_id] += 1

    def on_refunded(self, order: Any, *, fact_id: Any, **values: Any) -> None:
        self.notified[fact_id] += 1

    def capture_method(self, order: Order) -> str:
        return "manual" if order.number.startswith(HELD) else "automatic"

    def total(self, order: Order) -> Money:
        self._breaks("total")
        return super().total(order)

    def is_payable(self, order: Order) -> bool:
        self._breaks("is_payable")
        return super().is_payable(order)

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        self._breaks("amount_to_pay_now")
        return super().amount_to_pay_now(order, outstanding)

    def _breaks(self, method: str) -> None:
        if self.broken == method:
            raise AdapterBroke(method)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Stripe's objects by id, oldest first."""

    intents: dict[str, Json]
    refunds: dict[str, Json]
    disputes: dict[str, Json]


class World:
    """One shop with an empty database and its own Stripe account, until it is left."""

    def __init__(self, people: People, **config: Any) -> None:
        self.people = people
        self.orders: list[Order] = []
        self.changed: set[Any] = set()
        """The primary keys of the orders that were changed, cancelled or reopened."""
        self.strangers: dict[str, Json] = {}
        """Intents of other systems on the account, as they were made."""
        self.secrets: dict[Any, list[Json]] = defaultdict(list)
        """By order: what its customer's browser was given, oldest first."""
        self.bugs: list[BaseException] = []
        """What was raised where somebody caught it, and should not have had to."""
        self.troubles: list[Fault] = []
        """Faults of the app's next requests to Stripe; of nobody else's."""
        self.deaths: list[str] = []
        """Whether the next writes to Stripe kill the process, "before" or "after" the effect."""
        self.meanwhile: list[tuple[str, Callable[[Any], Any]]] = []
        """What somebody else does "before" or "after" Stripe makes its next answers to the app. It
        gets the primary key of the order that they are about."""
        self.is_disturbed = False
        """Whether somebody has, since this was last reset."""
        self.skew = 0
        """Seconds by which the app's clock is ahead of Stripe's."""
        self.receivers_break = 0
        self.notified: Counter[Any] = Counter()
        """How often the receivers were notified of each fact, without raising."""
        self.sent: dict[str, tuple[str, Any]] = {}
        """By idempotency key: path and parameters."""
        self.taken: set[str] = set()
        """The ids of the events that the webhook has accepted, or wants to be sent again."""
        with ExitStack() as stack:
            self.clock = stack.enter_context(time_machine.travel(BEGIN, tick=False))
            _empty_tables()
            Adapter.notified.clear()
            Adapter.broken = ""
            self.stripe = StripeSandbox(clock=lambda: time.time() - self.skew, seed=1)
            values = {
                **self.stripe.shop_payments(),
                "STRIPE_TRANSPORT": self._answer,
                "ORDER_ADAPTER": "tests.reliability.world.Adapter",
                "INTENT_WAIT_SECONDS": 0.02,  # there is nobody to wait for
                "ABANDONED_AFTER_DAYS": 3,
                "RETENTION_DAYS": 31,
                **config,
            }
            sessions = {"SESSION_COOKIE_AGE": TEN_YEARS}
            stack.enter_context(override_settings(SHOP_PAYMENTS=values, **sessions))
            url = "https://testserver/the-webhook-route"
            self.stripe.add_webhook(url, WEBHOOK_SECRET, deliver=self._receive)
            stack.enter_context(self._receivers_are_connected())
            stack.enter_context(self._log_is_read())
            self.staff = Client()
            self.staff.force_login(people.superuser)
            self._stack = stack.pop_all()

    def leave(self) -> None:
        self._stack.close()

    # What everybody does

    def order(self, currency: str, *, held: bool, parts: int = 1) -> Order:
        prefix, number = HELD if held else "TAKE", len(self.orders)
        order: Order = OrderFactory.create(
            customer=self.people.customer,
            number=f"{prefix}-{number_in_parts(str(number), parts)}",
            currency=currency,
            lines=[{"unit_amount": UNIT_AMOUNTS[currency], "quantity": 2}],
        )
        self.orders.append(order)
        return order

    @contextmanager
    def clock_ahead(self, seconds: int) -> Iterator[None]:
        """Let the process that acts meanwhile have a clock that is ahead, or behind."""
        self.clock.shift(seconds)
        self.skew += seconds
        try:
            yield
        finally:
            self.skew -= seconds
            self.clock.shift(-seconds)

    def survive(self, work: Callable[[], Any]) -> Any | None:
        """Do something in its own process; return None if that has died."""
        try:
            return work()
        except Died:
            return None

    def call(self, send: Callable[[], Any]) -> Any | None:
        """Call the API, and check the answer; return None if the process died."""
        answer = self.survive(send)
        if answer is not None:
            _check(answer)
        return answer

    def attempt(self, work: Callable[[], Any]) -> Any | None:
        """Call a service as the shop or staff do; it may refuse."""
        try:
            return self.survive(work)
        except ShopPaymentsError:
            return None

    def run(self, *arguments: str) -> str:
        """Run a command as cron does; it may report an error."""
        out = StringIO()
        try:
            call_command(*arguments, stdout=out, stderr=out)
        except Died:
            return ""
        except CommandError as error:
            out.write(str(error))
        return out.getvalue()

    def browse(self, path: str, **params: str) -> Json:
        """Call Stripe as the page of a shop does, with the publishable key."""
        headers = {"Authorization": "Bearer pk_test_of_the_tests"}
        answer = self.stripe.handle("POST", f"/v1/{path}", headers, urlencode(params))
        values: Json = json.loads(answer.body)
        return values

    def dashboard(self, path: str, **params: str) -> Json:
        """Do something in Stripe's dashboard; it may refuse."""
        return call_stripe(self.stripe, "POST", path, **params)

    def receive(self, event: Json) -> int:
        """Post an event to the webhook, signed by Stripe now; return the status."""
        return self._post(sign_event(event, secret=WEBHOOK_SECRET))

    def _post(self, signed: SignedEvent) -> int:
        answer = self.call(lambda: signed.post(Client()))
        if answer is None:
            return 500
        event_id = json.loads(signed.body)["id"]
        if answer.status_code == 200:
            done = WebhookEvent.objects.filter(status__in=WebhookEvent.DONE)
            assert done.filter(event_id=event_id).exists(), "accepted, and not processed"
        self.taken.add(event_id)
        return int(answer.status_code)

    def look(self) -> Seen:
        """Look at Stripe's books."""

        def listed(kind: str) -> dict[str, Json]:
            return {each["id"]: each for each in reversed(listed_at_stripe(self.stripe, kind))}

        return Seen(
            intents=listed("payment_intents"),
            refunds=listed("refunds"),
            disputes=listed("disputes"),
        )

    def calm_down(self) -> None:
        """Let nothing more go wrong."""
        self.troubles.clear()
        self.deaths.clear()
        self.meanwhile.clear()
        self.receivers_break = 0
        Adapter.broken = ""
        self.stripe.clear_faults()

    # What stands between the app and the others

    def _answer(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        assert not connection.in_atomic_block, "Stripe is called in a transaction"
        is_write = method.upper() == "POST"
        moment, interrupt = self.meanwhile.pop(0) if self.meanwhile else ("", None)
        if interrupt is not None and moment == "before":
            self._interrupt(interrupt, url, body)
        if is_write:
            # PostgreSQL keeps the parameters in another order; Stripe does not mind.
            request = (urlsplit(url).path, sorted(parse_qsl(body, keep_blank_values=True)))
            key = {name.lower(): value for name, value in headers.items()}["idempotency-key"]
            assert self.sent.setdefault(key, request) == request, "a key was used for two things"
            assert StripeAttempt.objects.filter(pk=key).exists(), "what is sent was not saved"
        death = self.deaths.pop(0) if is_write and self.deaths else ""
        if death == "before":
            raise Died
        with self._troubled():
            response = self.stripe.handle(method, url, headers, body)
        if interrupt is not None and moment == "after":
            self._interrupt(interrupt, url, body)
        if death == "after":
            raise Died
        return response

    def _interrupt(self, interrupt: Callable[[Any], Any], url: str, body: Any) -> None:
        self.is_disturbed = True
        interrupt(_order_of(url, body))

    @contextmanager
    def _troubled(self) -> Iterator[None]:
        """Apply the troubles to this request; webhooks have others."""
        for fault in self.troubles:
            self.stripe.inject(fault)
        try:
            yield
        finally:
            left = self.stripe.faults
            self.troubles = [fault for fault in left if fault.kind in REQUEST_FAULTS]
            self.stripe.clear_faults()
            for fault in left:
                if fault.kind not in REQUEST_FAULTS:
                    self.stripe.inject(fault)

    def _receive(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        try:
            return self._post(SignedEvent(body=body, signature=headers["Stripe-Signature"]))
        except Exception as error:
            self.bugs.append(error)
            raise

    @contextmanager
    def _receivers_are_connected(self) -> Iterator[None]:
        def receiver(*, fact_id: Any, **kwargs: Any) -> None:
            if self.receivers_break:
                self.receivers_break -= 1
                raise ReceiverBroke
            self.notified[fact_id] += 1

        with connected(dict.fromkeys(SIGNALS.values(), receiver)):
            yield

    @contextmanager
    def _log_is_read(self) -> Iterator[None]:
        """Take each logged exception for a bug, unless it was raised on purpose."""
        bugs = self.bugs

        class Reader(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                error = record.exc_info[1] if record.exc_info else None
                if error and not isinstance(error, _ON_PURPOSE):
                    bugs.append(error)

        logger, reader = logging.getLogger("shop_payments"), Reader(logging.WARNING)
        logger.addHandler(reader)
        try:
            yield
        finally:
            logger.removeHandler(reader)


_ON_PURPOSE = (ShopPaymentsError, ReceiverBroke, AdapterBroke)


def _order_of(url: str, body: Any) -> Any:
    """The primary key of the order that a request to Stripe is about; None where it is a list."""
    split = urlsplit(url)
    values = dict(parse_qsl(body or split.query))
    if order_id := values.get("metadata[order_id]"):
        return int(order_id)
    intent_id = values.get("payment_intent") or next(
        (part for part in split.path.split("/") if part.startswith("pi_")), ""
    )
    found = OrderPayment.objects.filter(payment_intents__stripe_id=intent_id)
    return found.values_list("order_id", flat=True).first()


def status_of(each: Json) -> tuple[str, int]:
    """What of an object of Stripe's moves: status, and the money that has come."""
    return each.get("status", ""), each.get("amount_received", 0)


_RETRY_AFTER = {(row.status, row.code): bool(row.retry_after) for row in ERROR_TABLE}


def _check(answer: Any) -> None:
    """A success, or one of the contract's errors; a 502 would be the app's own mistake."""
    if answer.status_code == 200:
        return
    kind = (answer.status_code, answer.json()["code"])
    assert kind in _RETRY_AFTER, kind
    assert answer.status_code < 500 or answer.status_code == 503, answer.json()
    assert not _RETRY_AFTER[kind] or "Retry-After" in answer.headers


def _empty_tables() -> None:
    """Forget all orders and payments, also what can only be added to."""
    kept = (APIKey,)
    with transaction.atomic(), connection.cursor() as cursor:
        for model in apps.get_app_config("shop_payments").get_models():
            if model not in kept:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")
