"""Stripe, typed: the only module that imports ``stripe``.

What goes out are the frozen dataclasses below, never the SDK's objects; what is raised is
:class:`~shop_payments.exceptions.GatewayError` and nothing of the SDK's.

Note [No transaction open]
~~~~~~~~~~~~~~~~~~~~~~~~~~
Stripe may take many seconds to answer. A transaction that is open meanwhile holds its locks and
its connection, and if it rolls back afterwards, Stripe has acted on something the database never
heard of. So every call asserts that no transaction is open on any connection of the thread. The
outer transaction of a host's ``TestCase`` is let through: Django marks it, and it never commits.

Note [The SDK's logger]
~~~~~~~~~~~~~~~~~~~~~~~
stripe-python prints whole request and response bodies at DEBUG, client secrets included. The
filter below takes secrets out of its records before any handler sees them. What ``STRIPE_LOG``
(or ``stripe.log``) asks for goes to stderr past the logger. There "debug" is turned down to
"info" before an answer is printed: it names requests and quotes errors, whose secrets are taken
out before the SDK reads them.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import requests
import stripe
from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections
from django.utils import timezone

from shop_payments.conf import (
    LIVE_KEY_PREFIXES,
    TEST_KEY_PREFIXES,
    Config,
    Transport,
    get_config,
)
from shop_payments.exceptions import (
    AmountTooLarge,
    AmountTooSmall,
    CardDeclined,
    ConfigurationError,
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayError,
    GatewayInvalidRequest,
    GatewayUnavailable,
    IdempotencyKeyInUse,
    IdempotencyMismatch,
    InvalidSignature,
    InvalidWebhookPayload,
    ObjectMissing,
    TransactionOpenError,
    UnexpectedState,
    WebhookPayloadTooLarge,
)
from shop_payments.money import MAX_AMOUNT, normalize_currency
from shop_payments.secrecy import Secret, redact, sealed

STRIPE_API_VERSION = "2026-10-28.endive"
"""Pinned: what an answer looks like must not change with the SDK's release."""

_POOL_SIZE = 32
"""Connections kept per process; more threads than this still work, on connections of their own."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


# --- the SDK's logs -----------------------------------------------------------------------------


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


logging.getLogger("stripe").addFilter(_RedactingFilter())


def _silence_console() -> None:
    """Keep bodies off stderr, whenever it was asked for. See Note [The SDK's logger]."""
    if "debug" in {stripe.log, os.environ.get("STRIPE_LOG")}:
        stripe.log = "info"


# --- what goes out ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LastPaymentError:
    """Why the last attempt to pay failed."""

    code: str
    decline_code: str
    message: str
    key: str
    """Differs from one failed attempt to the next: the charge's id where there is one."""


@dataclass(frozen=True, kw_only=True)
class PaymentIntentResult:
    """A PaymentIntent as Stripe described it."""

    id: str
    status: str
    amount: int
    amount_received: int
    amount_capturable: int
    currency: str
    livemode: bool
    metadata: Mapping[str, str]
    created_at: datetime
    payment_method: str = ""
    latest_charge: str = ""
    cancellation_reason: str = ""
    last_payment_error: LastPaymentError | None = None
    client_secret: Secret = field(default=Secret(""), repr=False)
    request_id: str = ""
    replayed: bool = False
    """Whether Stripe repeated a saved answer, which may be older than the intent's state."""


@dataclass(frozen=True, kw_only=True)
class RefundResult:
    """A Refund as Stripe described it."""

    id: str
    status: str
    amount: int
    currency: str
    payment_intent: str
    metadata: Mapping[str, str]
    created_at: datetime
    reason: str = ""
    failure_reason: str = ""
    request_id: str = ""
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class DisputeResult:
    """A Dispute as Stripe described it."""

    id: str
    status: str
    amount: int
    currency: str
    payment_intent: str
    livemode: bool
    created_at: datetime
    reason: str = ""
    evidence_due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class BalanceTransactionResult:
    """A movement on the Stripe balance; amounts may be negative."""

    id: str
    source: str
    reporting_category: str
    amount: int
    fee: int
    net: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class EventResult:
    """A signed webhook event. ``payload`` is safe to store: it holds no client secret."""

    id: str
    type: str
    created_at: datetime
    livemode: bool
    api_version: str
    object_id: str
    intent_id: str
    """The payment intent that the object is, or belongs to; empty where there is none."""

    payload: Mapping[str, Any]


# --- the guard ----------------------------------------------------------------------------------


def assert_no_transaction() -> None:
    """Raise where a transaction is open. See Note [No transaction open].

    Raises:
        TransactionOpenError: naming the connection.
    """
    for connection in connections.all(initialized_only=True):
        blocks = getattr(connection, "atomic_blocks", [])
        if any(not getattr(block, "_from_testcase", False) for block in blocks) or (
            connection.connection is not None and not blocks and not connection.autocommit
        ):
            raise TransactionOpenError(
                f"Stripe must not be called inside a transaction (database {connection.alias!r}); "
                "call the service outside of transaction.atomic(), or from transaction.on_commit()"
            )


def _stripe_call(
    method: Callable[Concatenate[Gateway, _P], _R],
) -> Callable[Concatenate[Gateway, _P], _R]:
    """Guard a method that talks to Stripe, and translate what it raises."""

    @sealed
    def ask(self: Gateway, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except stripe.StripeError as error:
            raise translate_error(error) from None
        except (InvalidWebhookPayload, RecursionError):
            raise GatewayUnavailable("Stripe's answer is not what was asked for") from None

    @functools.wraps(method)
    def call(self: Gateway, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        assert_no_transaction()
        return ask(self, *args, **kwargs)

    return call


# --- the gateway --------------------------------------------------------------------------------


class Gateway:
    """Stripe's API under one secret key. Build it with :func:`get_gateway`."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        self._intents = client.v1.payment_intents
        self._refunds = client.v1.refunds
        self._disputes = client.v1.disputes
        self._balance_transactions = client.v1.balance_transactions
        self.livemode = livemode

    @_stripe_call
    def create_payment_intent(
        self, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Create an intent with exactly ``params`` (amounts in minor units).

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        return _intent(
            self._intents.create(
                cast("Any", dict(params)), {"idempotency_key": _required(idempotency_key)}
            )
        )

    @_stripe_call
    def update_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Change an intent.

        Raises:
            UnexpectedState: its status forbids it.
            ObjectMissing: Stripe does not know it.
            GatewayError: see the tree in ``exceptions``.
        """
        return _intent(
            self._intents.update(
                intent_id,
                cast("Any", dict(params)),
                {"idempotency_key": _required(idempotency_key)},
            )
        )

    @_stripe_call
    def retrieve_payment_intent(self, intent_id: str) -> PaymentIntentResult:
        """Fetch an intent as it is now.

        Raises:
            ObjectMissing: Stripe does not know it under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return _intent(self._intents.retrieve(intent_id))

    @_stripe_call
    def confirm_payment_intent(
        self, intent_id: str, *, payment_method: str, idempotency_key: str
    ) -> PaymentIntentResult:
        """Pay an intent with a payment method, as a customer's browser would. Test mode only.

        Raises:
            ConfigurationError: the key is not a test key.
            CardDeclined: the payment method was declined.
            GatewayError: see the tree in ``exceptions``.
        """
        if self.livemode:
            raise ConfigurationError("Test payments need a test key (sk_test_… or rk_test_…)")
        return _intent(
            self._intents.confirm(
                intent_id,
                {"payment_method": payment_method},
                {"idempotency_key": _required(idempotency_key)},
            )
        )

    @_stripe_call
    def capture_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Take the authorized money, or with ``amount_to_capture`` (minor units) a part of it.

        Raises:
            UnexpectedState: its status forbids it.
            GatewayError: see the tree in ``exceptions``.
        """
        return _intent(
            self._intents.capture(
                intent_id,
                cast("Any", dict(params)),
                {"idempotency_key": _required(idempotency_key)},
            )
        )

    @_stripe_call
    def cancel_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Close an intent, so that it can never take money.

        Raises:
            UnexpectedState: its status forbids it.
            GatewayError: see the tree in ``exceptions``.
        """
        return _intent(
            self._intents.cancel(
                intent_id,
                cast("Any", dict(params)),
                {"idempotency_key": _required(idempotency_key)},
            )
        )

    @_stripe_call
    def create_refund(self, params: Mapping[str, Any], *, idempotency_key: str) -> RefundResult:
        """Give money back, with exactly ``params`` (``amount`` in minor units).

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        refund: Any = self._refunds.create(
            cast("Any", dict(params)), {"idempotency_key": _required(idempotency_key)}
        )
        return _refund(refund)

    @_stripe_call
    def list_refunds(self, intent_id: str) -> list[RefundResult]:
        """Return all refunds of an intent, newest first, whoever made them.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page: Any = self._refunds.list({"payment_intent": intent_id, "limit": 100})
        return [_refund(item) for item in _all_pages(page)]

    @_stripe_call
    def list_disputes(self, intent_id: str) -> list[DisputeResult]:
        """Return all disputes of an intent, newest first.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page: Any = self._disputes.list({"payment_intent": intent_id, "limit": 100})
        return [_dispute(item) for item in _all_pages(page)]

    @_stripe_call
    def list_balance_transactions(
        self, *, since: datetime, until: datetime | None = None
    ) -> list[BalanceTransactionResult]:
        """Return the movements on the balance in a span of time, newest first.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        created: dict[str, int] = {"gte": int(min(_timestamps(since)))}
        if until is not None:
            created["lte"] = int(max(_timestamps(until))) + 1
        page: Any = self._balance_transactions.list(cast("Any", {"created": created, "limit": 100}))
        return [_balance_transaction(item) for item in _all_pages(page)]

    @_stripe_call
    def find_created_intent(
        self, attempt_id: str, *, since: datetime, until: datetime
    ) -> PaymentIntentResult | None:
        """Find the intent whose metadata carries ``attempt_id`` by listing, newest first.

        Listing and not searching: Stripe's search lags by a minute and more. ``since`` and
        ``until`` bound the time of creation; without a time zone (``USE_TZ = False``) they are in
        the project's.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page: Any = self._intents.list(
            {
                "created": {
                    "gte": int(min(_timestamps(since))),
                    "lte": int(max(_timestamps(until))) + 1,
                },
                "limit": 100,
            }
        )
        intents = (_intent(item) for item in _all_pages(page))
        return next(
            (intent for intent in intents if intent.metadata.get("attempt_id") == attempt_id), None
        )


def _all_pages(page: Any) -> Iterator[Any]:
    """Walk through a list, fetching its further pages.

    Raises:
        InvalidWebhookPayload: it is no list. The SDK trusts what a page holds.
    """
    if not isinstance(page, stripe.ListObject):
        raise InvalidWebhookPayload("not a list")
    items = page.auto_paging_iter()
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidWebhookPayload(f"not a list: {type(error).__name__}") from None
        yield item


def _timestamps(moment: datetime) -> tuple[float, ...]:
    """Seconds since 1970: two of them where clocks are turned and no time zone says which."""
    if moment.tzinfo is not None:
        return (moment.timestamp(),)
    zone = timezone.get_default_timezone()
    return tuple(moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))


def _required(idempotency_key: str) -> str:
    if not idempotency_key:
        raise ValueError("a write to Stripe needs an idempotency key")
    return idempotency_key


def get_gateway() -> Gateway:
    """Return the gateway of the configured secret key: one client and one pool for each.

    Raises:
        ConfigurationError: no secret key, or not one that a server may use.
    """
    return _build_gateway(get_config())


_PRINTABLE = re.compile(r"[!-~]+")


@cache
def _build_gateway(config: Config) -> Gateway:
    return Gateway(_client(config, _http_client(config)), livemode=config.livemode)


@sealed
def _client(config: Config, http_client: stripe.HTTPClient) -> stripe.StripeClient:
    key = config.STRIPE_SECRET_KEY.reveal()
    # White space, say from a file's last line, would be refused as a header: with the key quoted.
    if not key.startswith((*TEST_KEY_PREFIXES, *LIVE_KEY_PREFIXES)) or not _PRINTABLE.fullmatch(
        key
    ):
        raise ConfigurationError(
            "SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is missing or not a secret key "
            "(sk_test_…, rk_test_…, sk_live_… or rk_live_…, without white space)"
        )
    return stripe.StripeClient(
        key,
        stripe_version=STRIPE_API_VERSION,
        base_addresses={"api": config.STRIPE_API_BASE},
        max_network_retries=config.MAX_NETWORK_RETRIES,
        http_client=http_client,
    )


def _http_client(config: Config) -> stripe.HTTPClient:
    transport = config.transport
    if transport is not None:
        if config.livemode:
            raise ConfigurationError(
                "SHOP_PAYMENTS['STRIPE_TRANSPORT'] is for tests; it must not meet a live key"
            )
        return _TransportClient(transport)
    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return _RequestsClient(timeout=(config.CONNECT_TIMEOUT, config.READ_TIMEOUT), session=session)


class _CheckedClient(stripe.HTTPClient):
    """Takes what the SDK must not see out of its hands.

    An answer that is not Stripe's (a proxy's page, say) it would quote in its message, or fail on
    it with an AttributeError or a UnicodeDecodeError. A refusal may carry the whole intent, and
    the SDK prints what Stripe says.
    """

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        body, status, headers = super().request_with_retries(*args, **kwargs)
        values = _json_object(body)
        refused = not 200 <= status < 300
        if values is None or (refused and not isinstance(values.get("error"), dict)):
            message = f"The answer was not Stripe's (HTTP {status})"
            raise stripe.APIError(message, http_status=status, headers=dict(headers))
        _silence_console()
        return json.dumps(without_client_secrets(values)) if refused else body, status, headers


def _json_object(body: str | bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(body.decode() if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


class _RequestsClient(_CheckedClient, stripe.RequestsClient):
    """stripe-python's own client."""


class _TransportClient(_CheckedClient):
    """stripe-python's HTTP client hook, answered by a callable instead of a network."""

    name = "shop_payments.transport"

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = self._transport(method, url, headers or {}, post_data)
        except OSError as error:
            broken = stripe.APIConnectionError(str(error), should_retry=True)  # type: ignore[no-untyped-call]
            raise broken from error
        return answer.body, answer.status, requests.structures.CaseInsensitiveDict(answer.headers)

    def close(self) -> None:
        """Nothing to close."""


def _forget_clients(**kwargs: object) -> None:
    _build_gateway.cache_clear()


setting_changed.connect(_forget_clients, dispatch_uid="shop_payments.gateway")
# A child process must not write to its parent's sockets.
os.register_at_fork(after_in_child=_build_gateway.cache_clear)


# --- answers ------------------------------------------------------------------------------------

_ID_LENGTH = 255
"""More than Stripe's ids ever have, and the columns'."""

_STATUS_LENGTH = 64
"""The column's; a status that nobody knows yet is kept, at least its beginning."""


def _intent(intent: Any) -> PaymentIntentResult:
    values, request_id, replayed = _answer(intent, "payment_intent")
    return intent_from_values(values, request_id=request_id, replayed=replayed)


_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def _metadata(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        _storable(str(key)): _storable(str(value))
        for key, value in (values.get("metadata") or {}).items()
    }


def intent_from_values(
    values: Mapping[str, Any], *, request_id: str = "", replayed: bool = False
) -> PaymentIntentResult:
    """Read the fields that we need from an intent's JSON, tolerantly.

    An event may have been written in another API version than ours, so nothing but the fields
    below is looked at, and only those that every version has are required. All text but the client
    secret is made storable.

    Raises:
        InvalidWebhookPayload: a required field is missing, of another type or out of bounds.
    """
    try:
        return PaymentIntentResult(
            id=_id(values["id"]),
            status=_storable(_text(values["status"]))[:_STATUS_LENGTH],
            amount=_integer(values["amount"]),
            amount_received=_integer(values.get("amount_received") or 0),
            amount_capturable=_integer(values.get("amount_capturable") or 0),
            currency=normalize_currency(values["currency"]),
            livemode=values["livemode"] is True,
            metadata=_metadata(values),
            created_at=_moment(values["created"]),
            payment_method=_id_of(values.get("payment_method")),
            latest_charge=_id_of(values.get("latest_charge")),
            cancellation_reason=_storable(str(values.get("cancellation_reason") or "")),
            last_payment_error=_last_error(values.get("last_payment_error")),
            client_secret=_secret(values.get("client_secret")),
            request_id=request_id,
            replayed=replayed,
        )
    except _MALFORMED as error:
        raise InvalidWebhookPayload(f"not a payment intent: {error!r}") from None


def _refund(refund: Any) -> RefundResult:
    values, request_id, replayed = _answer(refund, "refund")
    try:
        return RefundResult(
            id=_id(values["id"]),
            status=_storable(_text(values["status"]))[:_STATUS_LENGTH],
            amount=_integer(values["amount"]),
            currency=normalize_currency(values["currency"]),
            payment_intent=_id_of(values.get("payment_intent")),
            metadata=_metadata(values),
            created_at=_moment(values["created"]),
            reason=_storable(str(values.get("reason") or "")),
            failure_reason=_storable(str(values.get("failure_reason") or "")),
            request_id=request_id,
            replayed=replayed,
        )
    except _MALFORMED as error:
        raise InvalidWebhookPayload(f"not a refund: {type(error).__name__}") from None


def _dispute(dispute: Any) -> DisputeResult:
    values, _request_id, _replayed = _answer(dispute, "dispute")
    due_by = (values.get("evidence_details") or {}).get("due_by")
    try:
        return DisputeResult(
            id=_id(values["id"]),
            status=_storable(_text(values["status"]))[:_STATUS_LENGTH],
            amount=_integer(values["amount"]),
            currency=normalize_currency(values["currency"]),
            payment_intent=_id_of(values.get("payment_intent")),
            livemode=values["livemode"] is True,
            created_at=_moment(values["created"]),
            reason=_storable(str(values.get("reason") or "")),
            evidence_due_at=_moment(due_by) if due_by else None,
        )
    except _MALFORMED as error:
        raise InvalidWebhookPayload(f"not a dispute: {type(error).__name__}") from None


def _balance_transaction(transaction: Any) -> BalanceTransactionResult:
    values, _request_id, _replayed = _answer(transaction, "balance_transaction")
    try:
        return BalanceTransactionResult(
            id=_id(values["id"]),
            source=_id_of(values.get("source")),
            reporting_category=_storable(_text(values["reporting_category"])),
            amount=_signed_integer(values["amount"]),
            fee=_signed_integer(values["fee"]),
            net=_signed_integer(values["net"]),
            currency=normalize_currency(values["currency"]),
            created_at=_moment(values["created"]),
        )
    except _MALFORMED as error:
        raise InvalidWebhookPayload(f"not a balance transaction: {type(error).__name__}") from None


def _signed_integer(value: object) -> int:
    return -_integer(-value) if isinstance(value, int) and value < 0 else _integer(value)


def _answer(found: Any, kind: str) -> tuple[dict[str, Any], str, bool]:
    """Return an object's values, the request's id, and whether Stripe repeated a saved answer."""
    if getattr(found, "object", None) != kind:
        raise InvalidWebhookPayload(f"not a {kind}")
    response = found.last_response
    headers = response.headers if response is not None else {}
    request_id = _storable(headers.get("request-id", ""))
    return found.to_dict(), request_id, headers.get("idempotent-replayed", "") == "true"


def intent_from_event(payload: Mapping[str, Any]) -> PaymentIntentResult:
    """Read the intent that a stored event of a ``payment_intent.*`` type is about.

    Raises:
        InvalidWebhookPayload: it is about something else, or about nothing.
    """
    data = payload.get("data")
    about = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(about, Mapping) or about.get("object") != "payment_intent":
        raise InvalidWebhookPayload("the event is not about a payment intent")
    return intent_from_values(about)


@dataclass(frozen=True, kw_only=True)
class EventSubject:
    """Which intent or charge an event's object belongs to; empty where it does not say."""

    payment_intent: str
    charge: str


def subject_of_event(payload: Mapping[str, Any]) -> EventSubject:
    """Read whose refund, charge or dispute a stored event is about.

    Raises:
        InvalidWebhookPayload: it is about nothing.
    """
    data = payload.get("data")
    about = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(about, Mapping):
        raise InvalidWebhookPayload("the event is about nothing")
    charge = about.get("id") if about.get("object") == "charge" else about.get("charge")
    return EventSubject(payment_intent=_id_of(about.get("payment_intent")), charge=_id_of(charge))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text was expected")
    return value


def _id(value: object) -> str:
    """An id is taken as it is or not at all: one that was altered would be another's."""
    text = _text(value)
    if len(text) > _ID_LENGTH or _storable(text) != text:
        raise ValueError("an id was expected")
    return text


def _secret(value: object) -> Secret:
    text = _text(value) if value else ""
    text.encode()  # a ValueError for lone surrogates
    return Secret(text)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_AMOUNT:
        raise TypeError("a positive integer was expected")
    return value


def _moment(value: object) -> datetime:
    try:
        return _as_stored(datetime.fromtimestamp(_integer(value), tz=UTC))
    except OSError:
        raise ValueError("a time was expected") from None


def _as_stored(moment: datetime) -> datetime:
    """With ``USE_TZ = False`` the database wants times without a zone, in the project's own."""
    if settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


def _id_of(value: object) -> str:
    """The id of something that may be expanded."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return _storable(str(value or ""))


def _last_error(value: object) -> LastPaymentError | None:
    if not isinstance(value, Mapping):
        return None
    code = _storable(str(value.get("code") or value.get("type") or ""))
    decline_code = _storable(str(value.get("decline_code") or ""))
    charge = _id_of(value.get("charge"))
    return LastPaymentError(
        code=code,
        decline_code=decline_code,
        message=_storable(str(value.get("message") or "")),
        key=charge or "/".join((code, decline_code, _id_of(value.get("payment_method")))),
    )


# --- errors -------------------------------------------------------------------------------------

_AMOUNT_ERRORS: dict[str, type[GatewayInvalidRequest]] = {
    "amount_too_small": AmountTooSmall,
    "amount_too_large": AmountTooLarge,
}


def translate_error(error: stripe.StripeError) -> GatewayError:
    """Return our exception for one of the SDK's.

    The message is Stripe's, without secrets; the body stays behind. Where the answer is not one of
    Stripe's error objects, the SDK's own words are left out as well: they may quote the body.
    """
    status = error.http_status or 0
    details = error.error.to_dict() if error.error is not None else {}
    code = str(details.get("code") or error.code or "")
    kind = _error_class(error, status=status, code=code, type_=str(details.get("type") or ""))
    headers = requests.structures.CaseInsensitiveDict(error.headers or {})
    return kind(
        _message_of(error),
        code=_storable(code),
        param=_storable(str(details.get("param") or "")),
        request_id=_storable(str(headers.get("request-id") or "")),
        http_status=status,
        replayed=headers.get("idempotent-replayed") == "true",
    )


def _message_of(error: stripe.StripeError) -> str:
    if error.error is not None:
        return _storable(str(error.user_message or "Stripe gave no message")).strip()
    if error.http_status:
        return f"The answer was not Stripe's (HTTP {error.http_status})"
    return f"Stripe could not be reached ({type(error).__name__})"


def _error_class(
    error: stripe.StripeError, *, status: int, code: str, type_: str
) -> type[GatewayError]:
    if isinstance(error, stripe.APIConnectionError) or status >= 500 or status == 0:
        return GatewayUnavailable
    if status == 409:
        return IdempotencyKeyInUse if code == "idempotency_key_in_use" else GatewayBusy
    if isinstance(error, stripe.RateLimitError):
        return GatewayBusy
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return GatewayAuthenticationError
    if isinstance(error, stripe.IdempotencyError) or type_ == "idempotency_error":
        return IdempotencyMismatch
    if isinstance(error, stripe.CardError):
        return CardDeclined
    if code == "resource_missing" and status == 404:
        return ObjectMissing
    if code.endswith("_unexpected_state"):
        return UnexpectedState
    if isinstance(error, stripe.InvalidRequestError):
        return _AMOUNT_ERRORS.get(code, GatewayInvalidRequest)
    return GatewayUnavailable  # an answer that is not Stripe's, e.g. a proxy's page


# --- webhooks -----------------------------------------------------------------------------------


@sealed
def read_event(payload: bytes, signature_header: str) -> EventResult:
    """Verify a webhook body against the configured secrets and read it.

    The signature may be at most ``WEBHOOK_TOLERANCE`` seconds old, or ahead. The SDK looks at the
    past alone, and turns the check off for a tolerance of 0; here it cannot be turned off.

    Raises:
        WebhookPayloadTooLarge: larger than ``WEBHOOK_MAX_BYTES``; it was not looked at.
        InvalidSignature: not signed by any of the secrets, or not now.
        InvalidWebhookPayload: signed, but not an event.
        ConfigurationError: no webhook secret is configured.

    See: https://docs.stripe.com/webhooks#verify-manually (checked 2026-11)
    """
    if len(payload) > get_config().WEBHOOK_MAX_BYTES:
        raise WebhookPayloadTooLarge("The body is too large.")
    text = _verified(payload, signature_header)
    try:
        values = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise InvalidWebhookPayload("the body is not JSON") from None
    return _event(values)


def _verified(payload: bytes, signature_header: str) -> str:
    """Return the body as text if one of the configured secrets signed it just now."""
    config = get_config()
    if not config.STRIPE_WEBHOOK_SECRETS:
        raise ConfigurationError("SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'] is missing")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSignature("the body is not UTF-8") from None
    if not signature_header.isascii():
        raise InvalidSignature("the signature header is not ASCII")
    if not any(
        _is_signed(text, signature_header, secret.reveal())
        for secret in config.STRIPE_WEBHOOK_SECRETS
    ):
        raise InvalidSignature("no signature matches")
    _assert_recent(signature_header, tolerance=config.WEBHOOK_TOLERANCE)
    return text


def _is_signed(text: str, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(text, header, secret, None)
    except (stripe.SignatureVerificationError, TypeError, ValueError):
        return False
    return True


def _assert_recent(header: str, *, tolerance: int) -> None:
    # The signature is genuine and covers the first t=, read here as the SDK has read it.
    pairs = [item.split("=") for item in header.split(",")]
    signed_at = next(int(pair[1]) for pair in pairs if pair[0] == "t")
    if abs(time.time() - signed_at) > tolerance:
        raise InvalidSignature("the signature is too old or lies in the future")


def _event(values: object) -> EventResult:
    if not isinstance(values, dict) or values.get("object") not in ("event", "v2.core.event"):
        raise InvalidWebhookPayload("the body is not an event")
    try:
        payload = without_client_secrets(values)
        return EventResult(
            id=_id(values["id"]),
            type=_text(payload["type"])[:255],
            created_at=_event_time(payload.get("created")),
            livemode=payload.get("livemode") is True,
            api_version=str(payload.get("api_version") or "")[:64],
            object_id=_object_id(payload)[:255],
            intent_id=_intent_id(payload)[:255],
            payload=payload,
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidWebhookPayload(f"not an event: {type(error).__name__}") from None


def _object_id(payload: Mapping[str, Any]) -> str:
    """Snapshot events carry the object that they are about, thin ones name it."""
    data = payload.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    return _id_of(about if isinstance(about, dict) else payload.get("related_object"))


def _intent_id(payload: Mapping[str, Any]) -> str:
    data = payload.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    if not isinstance(about, dict):
        return ""
    is_intent = about.get("object") == "payment_intent"
    return _id_of(about if is_intent else about.get("payment_intent"))


def _event_time(value: object) -> datetime:
    """Snapshot events give seconds since 1970, thin ones an ISO time."""
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return _as_stored(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    return _moment(value)


def without_client_secrets(value: Any) -> Any:
    """Copy a JSON value so that it may be stored: no ``client_secret`` in it at any depth.

    Text is made storable as well: PostgreSQL takes neither NUL nor lone surrogates.
    """
    if isinstance(value, dict):
        return {
            _storable(key): without_client_secrets(item)
            for key, item in value.items()
            if key != "client_secret"
        }
    if isinstance(value, list):
        return [without_client_secrets(item) for item in value]
    return _storable(value) if isinstance(value, str) else value


def _storable(text: str) -> str:
    return redact(text).replace("\x00", "?").encode("utf-8", "replace").decode("utf-8")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is not a finite number")
    return number
