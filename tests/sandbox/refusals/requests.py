"""What is wrong with a request whatever it is for: keys, bodies, versions, lists."""

from __future__ import annotations

from collections.abc import Iterator

from tests.sandbox.refusals.intents import create
from tests.sandbox.refusals.row import CANCEL, CONFIRM, EVENTS, INTENT, Refusal
from tests.sandbox.support import INTENTS, PUBLISHABLE_KEY


def keys() -> Iterator[Refusal]:
    for name, key in {
        "none": None,
        "a live secret key": "sk_live_0123456789abcdef",
        "a live restricted key": "rk_live_0123456789abcdef",
        "a live publishable key": "pk_live_0123456789abcdef",
        "another word": "hello",
        "the beginning of a secret key": "sk_test_",
        "the beginning of a publishable key": "pk_test_",
        "what stands for a key in documentation": "sk_test_...",
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
    yield Refusal(
        name="an id that leads to another operation",
        path=f"{INTENT}%2Fcancel",
        status=404,
        code="resource_missing",
        param="intent",
    )
    yield Refusal(name="a slash too many", method="GET", path=f"{INTENTS}/", status=404)


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
        ("the data of a list by itself", INTENT, "latest_charge.refunds.data"),
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


def other_lookups() -> Iterator[Refusal]:
    for kind in ("refunds", "disputes", "charges", "balance_transactions"):
        yield Refusal(
            name=f"{kind}: one that is not there",
            method="GET",
            path=f"/v1/{kind}/x_missing",
            status=404,
            code="resource_missing",
            param={"refunds": "refund", "disputes": "dispute"}.get(kind, "id"),
        )
        yield Refusal(
            name=f"list {kind}: 101",
            method="GET",
            path=f"/v1/{kind}",
            sent={"limit": "101"},
            code="parameter_invalid_integer",
            param="limit",
        )
        yield Refusal(
            name=f"{kind}, as a browser",
            method="GET",
            path=f"/v1/{kind}",
            key=PUBLISHABLE_KEY,
            status=403,
            code="secret_key_required",
        )
    yield Refusal(
        name="list charges of an unknown intent",
        method="GET",
        path="/v1/charges",
        sent={"payment_intent": "pi_missing"},
        code="resource_missing",
        param="payment_intent",
    )
