"""What Stripe refuses: one table, for test_refusals.py.

Each row says what is sent, to an intent in which status, and what comes back: HTTP status, type,
code and param of Stripe's error object. Whatever is refused has no effect.

Sources: https://docs.stripe.com/api (errors, idempotent_requests, metadata, pagination,
payment_intents), https://docs.stripe.com/error-codes and https://docs.stripe.com/currencies
(checked 2026-11). What takes two requests, idempotency keys, is in test_refusals.py, and those in
use in test_idempotency.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.support import INTENTS, KEY, ORDER, PUBLISHABLE_KEY

INTENT = f"{INTENTS}/ID"
CONFIRM = f"{INTENT}/confirm"
CANCEL = f"{INTENT}/cancel"
EVENT = "enabled_events[]"
EVENTS = "/v1/events"
ENDPOINTS = "/v1/webhook_endpoints"

AUTOMATIC = "automatic_payment_methods[enabled]"
TYPES = "allowed_payment_method_types"
NO_TYPES: Mapping[str, str | None] = {f"{TYPES}[]": None}

INVALID = "invalid_request_error"
UNEXPECTED = "payment_intent_unexpected_state"

NOT_PAYABLE = ("processing", "requires_capture", "succeeded", "canceled")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A request, and how Stripe refuses it."""

    name: str
    method: str = "POST"
    path: str = INTENTS
    sent: Mapping[str, str] | str = field(default_factory=dict)
    state: str | None = None
    """The status of the intent that ID stands for; one that waits for a payment method if None."""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = KEY
    status: int = 400
    type: str = INVALID
    code: str | None = None
    param: str | None = None


def create(name: str, **given: Any) -> Refusal:
    """A create that is right but for `changes`."""
    changes = given.pop("changes", {})
    sent = {key: value for key, value in {**ORDER, **changes}.items() if value is not None}
    return Refusal(name=f"create: {name}", sent=sent, **given)


def amount(value: str, currency: str, code: str) -> Refusal:
    changes = {"amount": value, "currency": currency}
    return create(f"{value} {currency}", changes=changes, code=code, param="amount")


def keys() -> Iterator[Refusal]:
    for name, key in {
        "none": None,
        "a live secret key": "sk_live_0123456789abcdef",
        "a live restricted key": "rk_live_0123456789abcdef",
        "a live publishable key": "pk_live_0123456789abcdef",
        "another word": "hello",
    }.items():
        yield create(f"key, {name}", key=key, status=401)
    yield create("a publishable key", key=PUBLISHABLE_KEY, status=403, code="secret_key_required")


def bodies() -> Iterator[Refusal]:
    json = {"content_type": "application/json"}
    yield Refusal(name="a JSON body", sent='{"amount": 1000, "currency": "usd"}', headers=json)
    yield Refusal(name="an XML body", sent="<a/>", headers={"content_type": "text/xml"})
    yield Refusal(name="a body that is not UTF-8", sent="description=%ff")
    yield create("a made-up version", headers={"Stripe_Version": "2026-10-29.endive"})
    yield create("no version", headers={"Stripe_Version": "latest"})
    yield Refusal(name="an unknown address", path="/v1/payments", status=404)
    yield Refusal(name="an unknown method", method="DELETE", status=404)
    yield Refusal(name="a slash too many", method="GET", path=f"{INTENTS}/", status=404)


def amounts() -> Iterator[Refusal]:
    small, large, step = "amount_too_small", "amount_too_large", "parameter_invalid_integer"
    yield from (
        amount(value, currency, small)
        for value, currency in [
            ("49", "usd"),
            ("49", "eur"),
            ("29", "gbp"),
            ("49", "jpy"),
            ("49", "chf"),
            ("249", "dkk"),
            ("299", "sek"),
            ("199", "pln"),
            ("399", "hkd"),
            ("17499", "huf"),
            ("999", "mxn"),
        ]
    )
    yield from (
        amount(value, currency, large)
        for value, currency in [
            ("100000000", "usd"),
            ("100000000", "jpy"),
            ("1000000000000", "idr"),
        ]
    )
    # Three decimals, and the last of them 0; no decimals, and yet sent as if there were two.
    yield from (
        amount(value, currency, step)
        for value, currency in [
            *(("5125", code) for code in ("bhd", "jod", "kwd", "omr", "tnd")),
            ("1050", "isk"),
            ("1001", "ugx"),
        ]
    )
    yield from (
        create(f"amount {value!r}", changes={"amount": value}, code=step, param="amount")
        for value in ("0", "-1", "1.5", "1e3", "ten", " 1000", "1,000")
    )
    for name in ("amount", "currency"):
        yield create(f"no {name}", changes={name: None}, code="parameter_missing", param=name)
        empty = {name: ""}
        yield create(f"empty {name}", changes=empty, code="parameter_invalid_empty", param=name)
    yield from (
        create(f"currency {code!r}", changes={"currency": code}, param="currency")
        for code in ("xyz", "us", "usdollar", "btc", "€")
    )


def metadata() -> Iterator[Refusal]:
    for name, sent, param in [
        ("51 keys", {f"metadata[k{n}]": "v" for n in range(51)}, "metadata"),
        ("a key of 41 characters", {f"metadata[{'k' * 41}]": "v"}, "metadata"),
        ("a value of 501 characters", {"metadata[key]": "v" * 501}, "metadata[key]"),
        ("a value that is a hash", {"metadata[key][inner]": "v"}, "metadata[key]"),
        ("no hash", {"metadata": "v"}, "metadata"),
    ]:
        yield create(f"metadata, {name}", changes=sent, param=param)
        yield Refusal(name=f"update: metadata, {name}", path=INTENT, sent=sent, param=param)


def creates() -> Iterator[Refusal]:
    unknown, no_such = "parameter_unknown", "resource_missing"
    types = "payment_method_types_no_longer_supported"
    for name, changes, code, param in [
        ("an unknown parameter", {"colour": "red"}, unknown, "colour"),
        ("what went with invoices", {"invoice": "in_1"}, unknown, "invoice"),
        ("a parameter with a bracket too many", {"amount[": "1"}, unknown, "amount["),
        ("a list where a word belongs", {"description[]": "a"}, None, "description"),
        ("a hash where a list belongs", {**NO_TYPES, f"{TYPES}[a]": "card"}, None, TYPES),
        ("a type nobody has", {f"{TYPES}[]": "cash"}, None, f"{TYPES}[0]"),
        ("types as before endive", {**NO_TYPES, "payment_method_types[]": "card"}, types, None),
        ("two ways to choose types", {AUTOMATIC: "true"}, None, TYPES),
        ("a boolean that is none", {"confirm": "yes"}, None, "confirm"),
        ("a capture method that is none", {"capture_method": "later"}, None, "capture_method"),
        ("an unknown card", {"payment_method": "pm_card_gold"}, no_such, "payment_method"),
        ("an address that is none", {"receipt_email": "jenny"}, "email_invalid", "receipt_email"),
        ("confirm without a payment method", {"confirm": "true"}, UNEXPECTED, None),
        ("a return_url and no confirm", {"return_url": "https://a.b"}, None, "return_url"),
        ("an empty word", {"payment_method": ""}, "parameter_invalid_empty", "payment_method"),
        ("a long description", {"description": "d" * 1001}, None, "description"),
    ]:
        param = "payment_method_types" if code == types else param
        yield create(name, changes=changes, code=code, param=param)


def declines() -> Iterator[Refusal]:
    for card, code, param in [
        ("chargeDeclined", "card_declined", None),
        ("chargeDeclinedInsufficientFunds", "card_declined", None),
        ("chargeDeclinedExpiredCard", "expired_card", "exp_month"),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", "cvc"),
        ("chargeDeclinedProcessingError", "processing_error", None),
    ]:
        yield Refusal(
            name=f"confirm: {card}",
            path=CONFIRM,
            sent={"payment_method": f"pm_card_{card}"},
            status=402,
            type="card_error",
            code=code,
            param=param,
        )


def states() -> Iterator[Refusal]:
    """What the status of an intent forbids."""
    visa = {"payment_method": "pm_card_visa"}
    for state in NOT_PAYABLE:
        yield Refusal(
            name=f"confirm {state}", path=CONFIRM, sent=visa, state=state, code=UNEXPECTED
        )
        for name, value in {
            "amount": "5000",
            "currency": "eur",
            "payment_method": "pm_card_visa",
            f"{TYPES}[]": "card",
        }.items():
            param = name.removesuffix("[]")
            yield Refusal(
                name=f"update {name} of {state}",
                path=INTENT,
                sent={name: value},
                state=state,
                code=UNEXPECTED,
                param=param,
            )
    for state in ("succeeded", "canceled"):
        yield Refusal(name=f"cancel {state}", path=CANCEL, state=state, code=UNEXPECTED)
    yield Refusal(name="confirm without a payment method", path=CONFIRM, code=UNEXPECTED)
    for state in ("processing", "canceled"):
        yield Refusal(
            name=f"update receipt_email of {state}",
            path=INTENT,
            sent={"receipt_email": "jenny@example.com"},
            state=state,
            code=UNEXPECTED,
            param="receipt_email",
        )


def updates() -> Iterator[Refusal]:
    for name, sent, code, param in [
        ("too small", {"amount": "49"}, "amount_too_small", "amount"),
        ("zero", {"amount": "0"}, "parameter_invalid_integer", "amount"),
        ("a currency it does not fit", {"currency": "isk", "amount": "50"}, None, "amount"),
        ("a currency with another step", {"currency": "kwd", "amount": "1001"}, None, "amount"),
        ("what only create takes", {"confirm": "true"}, "parameter_unknown", "confirm"),
        ("a client_secret", {"client_secret": "x"}, "parameter_unknown", "client_secret"),
        ("an unknown card", {"payment_method": "pm_x"}, "resource_missing", "payment_method"),
        ("an empty amount", {"amount": ""}, "parameter_invalid_empty", "amount"),
    ]:
        code = "parameter_invalid_integer" if name.startswith("a currency") else code
        yield Refusal(name=f"update: {name}", path=INTENT, sent=sent, code=code, param=param)
    yield Refusal(
        name="cancel: a reason that is none",
        path=CANCEL,
        sent={"cancellation_reason": "bored"},
        param="cancellation_reason",
    )
    yield Refusal(
        name="cancel: an amount",
        path=CANCEL,
        sent={"amount": "1"},
        code="parameter_unknown",
        param="amount",
    )
    yield Refusal(
        name="confirm: an unknown card",
        path=CONFIRM,
        sent={"payment_method": "pm_x"},
        code="resource_missing",
        param="payment_method",
    )
    yield Refusal(
        name="confirm: an amount",
        path=CONFIRM,
        sent={"amount": "1"},
        code="parameter_unknown",
        param="amount",
    )


def lookups() -> Iterator[Refusal]:
    missing = "resource_missing"
    for method, operation in [("GET", ""), ("POST", ""), ("POST", "/confirm"), ("POST", "/cancel")]:
        yield Refusal(
            name=f"{method} an intent that is not there{operation}",
            method=method,
            path=f"{INTENTS}/pi_missing{operation}",
            status=404,
            code=missing,
            param="intent",
        )
    yield Refusal(
        name="an event that is not there",
        method="GET",
        path=f"{EVENTS}/evt_missing",
        status=404,
        code=missing,
        param="id",
    )
    for path in (INTENTS, EVENTS):
        for sent, code, param in [
            ({"limit": "0"}, "parameter_invalid_integer", "limit"),
            ({"limit": "101"}, "parameter_invalid_integer", "limit"),
            ({"limit": "many"}, "parameter_invalid_integer", "limit"),
            ({"starting_after": "x_missing"}, missing, "starting_after"),
            ({"ending_before": "x_missing"}, missing, "ending_before"),
            ({"starting_after": "a", "ending_before": "b"}, None, None),
            ({"created": "today"}, "parameter_invalid_integer", "created"),
            ({"created[after]": "1"}, "parameter_unknown", "created[after]"),
            ({"page": "2"}, "parameter_unknown", "page"),
            ({"status": "succeeded"}, "parameter_unknown", "status"),
        ]:
            words = ", ".join(f"{name}={value}" for name, value in sent.items())
            yield Refusal(
                name=f"list {path}: {words}",
                method="GET",
                path=path,
                sent=sent,
                code=code,
                param=param,
            )
    yield Refusal(
        name="list events: type and types",
        method="GET",
        path=EVENTS,
        sent={"type": "a", "types[]": "b"},
    )
    yield Refusal(
        name="list events: 21 types",
        method="GET",
        path=EVENTS,
        sent={f"types[{n}]": "a" for n in range(21)},
        param="types",
    )


def expansions() -> Iterator[Refusal]:
    for name, path, value in [
        ("a word", INTENT, "amount"),
        ("what is not there", INTENT, "charges"),
        ("five levels", INTENT, "a.b.c.d.e"),
        ("a list without data", INTENTS, "payment_method"),
    ]:
        yield Refusal(name=f"expand: {name}", method="GET", path=path, sent={"expand[]": value})


def browsers() -> Iterator[Refusal]:
    """What a publishable key may not, or not without the client_secret."""
    wrong = {"client_secret": "pi_1_secret_2"}
    for method, path, sent, status, code, param in [
        ("GET", INTENTS, {}, 403, "secret_key_required", None),
        ("GET", EVENTS, {}, 403, "secret_key_required", None),
        ("POST", INTENT, {"amount": "1"}, 403, "secret_key_required", None),
        ("POST", CANCEL, {}, 403, "secret_key_required", None),
        ("GET", INTENT, {}, 400, "parameter_missing", "client_secret"),
        ("POST", CONFIRM, {}, 400, "parameter_missing", "client_secret"),
        ("GET", INTENT, wrong, 400, "payment_intent_invalid_parameter", "client_secret"),
        ("POST", CONFIRM, wrong, 400, "payment_intent_invalid_parameter", "client_secret"),
    ]:
        yield Refusal(
            name=f"browser: {method} {path} {sent}",
            method=method,
            path=path,
            sent=sent,
            key=PUBLISHABLE_KEY,
            status=status,
            code=code,
            param=param,
        )


def webhook_endpoints() -> Iterator[Refusal]:
    url, events = {"url": "http://127.0.0.1:1/"}, {"enabled_events[]": "*"}
    for name, sent, code, param in [
        ("no url", events, "parameter_missing", "url"),
        ("no events", url, "parameter_missing", "enabled_events"),
        ("no address", {**events, "url": "here"}, "url_invalid", "url"),
        ("a file", {**events, "url": "file:///etc/passwd"}, "url_invalid", "url"),
        ("an unknown event", {**url, EVENT: "payment_intent.paid"}, None, "enabled_events[0]"),
        ("a version that is none", {**url, **events, "api_version": "2026"}, None, "api_version"),
        ("a secret of one's own", {**url, **events, "secret": "x"}, "parameter_unknown", "secret"),
        (
            "disabled at once",
            {**url, **events, "disabled": "true"},
            "parameter_unknown",
            "disabled",
        ),
    ]:
        yield Refusal(
            name=f"webhook endpoint: {name}", path=ENDPOINTS, sent=sent, code=code, param=param
        )
    for method in ("GET", "POST", "DELETE"):
        yield Refusal(
            name=f"{method} a webhook endpoint that is not there",
            method=method,
            path=f"{ENDPOINTS}/we_missing",
            status=404,
            code="resource_missing",
            param="webhook_endpoint",
        )
    yield Refusal(
        name="webhook endpoints, as a browser",
        method="GET",
        path=ENDPOINTS,
        key=PUBLISHABLE_KEY,
        status=403,
        code="secret_key_required",
    )


REFUSALS = [
    *keys(),
    *bodies(),
    *amounts(),
    *metadata(),
    *creates(),
    *declines(),
    *states(),
    *updates(),
    *lookups(),
    *expansions(),
    *browsers(),
    *webhook_endpoints(),
]
