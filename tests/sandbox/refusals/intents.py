"""What PaymentIntents refuse: amounts, parameters, states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.sandbox.refusals.row import (
    AUTOMATIC,
    CANCEL,
    CAPTURE,
    CLOSED,
    CONFIRM,
    INTENT,
    NO_TYPES,
    NOT_PAYABLE,
    TYPES,
    UNEXPECTED,
    Refusal,
)
from tests.sandbox.support import ORDER

LONG_EMAIL = f"{'j' * 789}@example.com"
MANDATE = "mandate_data[customer_acceptance]"


def create(name: str, **given: Any) -> Refusal:
    """A create that is right but for `changes`."""
    changes = given.pop("changes", {})
    sent = {key: value for key, value in {**ORDER, **changes}.items() if value is not None}
    return Refusal(name=f"create: {name}", sent=sent, **given)


def amount(value: str, currency: str, code: str) -> Refusal:
    changes = {"amount": value, "currency": currency}
    return create(f"{value} {currency}", changes=changes, code=code, param="amount")


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
            ("199", "aed"),
            ("49", "aud"),
            ("49", "brl"),
            ("49", "cad"),
            ("1499", "czk"),
            ("49", "inr"),
            ("199", "myr"),
            ("299", "nok"),
            ("49", "nzd"),
            ("199", "ron"),
            ("49", "sgd"),
            ("999", "thb"),
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
        ("a list", {"metadata[]": "v"}, "metadata"),
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
        ("a long address", {"receipt_email": LONG_EMAIL}, "email_invalid", "receipt_email"),
        ("confirm without a payment method", {"confirm": "true"}, UNEXPECTED, None),
        ("a return_url and no confirm", {"return_url": "https://a.b"}, None, "return_url"),
        *(
            (f"an empty {name}", {name: ""}, "parameter_invalid_empty", name)
            for name in ("payment_method", "description", "receipt_email", "metadata")
        ),
        (
            "half of what proves a mandate",
            {f"{MANDATE}[type]": "online", f"{MANDATE}[online][ip_address]": "127.0.0.1"},
            "parameter_missing",
            f"{MANDATE}[online][user_agent]",
        ),
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


def ways_back() -> Iterator[Refusal]:
    for name, address in [
        ("no address", "done"),
        ("a name with an umlaut", "https://müsli.example/"),
        ("a path with a snowman", "https://shop.example/\u2603"),
        ("a space", "https://shop.example/my order"),
        ("a line break", "https://shop.example/\r\nX: y"),
        ("a port that is no number", "https://shop.example:http/"),
    ]:
        yield Refusal(
            name=f"confirm: a return_url with {name}",
            path=CONFIRM,
            sent={"payment_method": "pm_card_visa", "return_url": address},
            code="url_invalid",
            param="return_url",
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
        ("an empty description", {"description": ""}, "parameter_invalid_empty", "description"),
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


def captures() -> Iterator[Refusal]:
    for state in ("requires_payment_method", "requires_confirmation", "requires_action", *CLOSED):
        yield Refusal(name=f"capture {state}", path=CAPTURE, state=state, code=UNEXPECTED)
    for name, amount, code, param in [
        ("more than there is", "11201", "amount_too_large", "amount_to_capture"),
        ("nothing", "0", "parameter_invalid_integer", "amount"),
        ("less than nothing", "-1", None, "amount_to_capture"),
        ("a broken amount", "1.5", "parameter_invalid_integer", "amount_to_capture"),
    ]:
        yield Refusal(
            name=f"capture {name}",
            path=CAPTURE,
            sent={"amount_to_capture": amount},
            state="requires_capture",
            code=code,
            param=param,
        )
