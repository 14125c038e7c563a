"""What webhook endpoints, refunds and disputes refuse."""

from __future__ import annotations

from collections.abc import Iterator

from tests.sandbox.refusals.row import DISPUTED, DISPUTES, ENDPOINTS, EVENT, REFUNDS, Refusal
from tests.sandbox.support import PUBLISHABLE_KEY


def webhook_endpoints() -> Iterator[Refusal]:
    url, events = {"url": "http://127.0.0.1:1/"}, {"enabled_events[]": "*"}
    for name, sent, code, param in [
        ("no url", events, "parameter_missing", "url"),
        ("no events", url, "parameter_missing", "enabled_events"),
        ("no address", {**events, "url": "here"}, "url_invalid", "url"),
        ("a file", {**events, "url": "file:///etc/passwd"}, "url_invalid", "url"),
        ("no port", {**events, "url": "http://127.0.0.1:http/"}, "url_invalid", "url"),
        ("a port too high", {**events, "url": "http://127.0.0.1:65536/"}, "url_invalid", "url"),
        ("a space", {**events, "url": "http://127.0.0.1/stripe hooks"}, "url_invalid", "url"),
        ("a password", {**events, "url": "http://u:p@127.0.0.1/"}, "sandbox_not_covered", "url"),
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


def refunds() -> Iterator[Refusal]:
    whole = {"payment_intent": "ID"}
    for state in (None, "processing", "requires_capture", "canceled"):
        yield Refusal(
            name=f"refund {state or 'what is not paid'}",
            path=REFUNDS,
            sent=whole,
            state=state,
        )
    for name, sent, code, param in [
        ("more than was paid", {**whole, "amount": "11201"}, None, "amount"),
        ("nothing", {**whole, "amount": "0"}, "parameter_invalid_integer", "amount"),
        ("less than nothing", {**whole, "amount": "-1"}, "parameter_invalid_integer", "amount"),
        ("no payment", {"amount": "100"}, None, None),
        ("an unknown intent", {"payment_intent": "pi_x"}, "resource_missing", "payment_intent"),
        ("what is named twice", {**whole, "charge": "ch_x"}, None, "payment_intent"),
        ("a broken amount", {**whole, "amount": "1.5"}, "parameter_invalid_integer", "amount"),
        ("for a reason that is none", {**whole, "reason": "regret"}, None, "reason"),
        ("for Stripe's reason", {**whole, "reason": "expired_uncaptured_charge"}, None, "reason"),
        ("with an unknown parameter", {**whole, "note": "x"}, "parameter_unknown", "note"),
        ("with a long note", {**whole, "metadata[a]": "v" * 501}, None, "metadata[a]"),
    ]:
        yield Refusal(
            name=f"refund {name}",
            path=REFUNDS,
            sent=sent,
            state="succeeded",
            code=code,
            param=param,
        )
    part = {**whole, "amount": "11000"}
    for name, after, sent, code, param in [
        ("twice", whole, whole, "charge_already_refunded", None),
        ("more than is left", part, {**whole, "amount": "201"}, None, "amount"),
    ]:
        yield Refusal(
            name=f"refund {name}",
            path=REFUNDS,
            sent=sent,
            state="succeeded",
            after=(REFUNDS, after),
            code=code,
            param=param,
        )
    disputed = "pm_card_createDispute"
    yield Refusal(
        name="refund a disputed charge", path=REFUNDS, sent=whole, card=disputed, code=DISPUTED
    )
    yield Refusal(
        name="cancel a refund",
        path=f"{REFUNDS}/LAST/cancel",
        state="succeeded",
        after=(REFUNDS, whole),
    )
    yield Refusal(
        name="update a refund's amount",
        path=f"{REFUNDS}/LAST",
        sent={"amount": "1"},
        state="succeeded",
        after=(REFUNDS, whole),
        code="parameter_unknown",
        param="amount",
    )
    yield Refusal(
        name="refund an unknown charge",
        path=REFUNDS,
        sent={"charge": "ch_missing"},
        status=404,
        code="resource_missing",
        param="id",
    )


def disputes() -> Iterator[Refusal]:
    for operation in ("", "/close"):
        yield Refusal(
            name=f"POST a dispute that is not there{operation}",
            path=f"{DISPUTES}/du_missing{operation}",
            status=404,
            code="resource_missing",
            param="dispute",
        )
    words, uncovered = "evidence[uncategorized_text]", "sandbox_not_covered"
    for name, sent, code, param in [
        ("no hash", {"evidence": "all"}, None, "evidence"),
        ("an unknown key", {"evidence[x]": "y"}, "parameter_unknown", "evidence[x]"),
        ("a long text", {words: "w" * 20001}, None, words),
        ("an empty text", {words: ""}, "parameter_invalid_empty", words),
        ("a file", {"evidence[receipt]": "file_1"}, uncovered, "evidence[receipt]"),
        ("no boolean", {"submit": "now"}, None, "submit"),
        ("an amount", {"amount": "1"}, "parameter_unknown", "amount"),
    ]:
        yield Refusal(
            name=f"dispute: {name}",
            path=f"{DISPUTES}/du_1",
            sent=sent,
            code=code,
            param=param,
        )
