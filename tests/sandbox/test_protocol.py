from __future__ import annotations

import base64

import pytest

from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.wire.errors import InvalidRequest
from shop_payments.sandbox.wire.forms import nest
from shop_payments.sandbox.wire.keys import mask
from tests.sandbox.support import CHARGES, INTENTS, KEY, ORDER, PUBLISHABLE_KEY, REFUNDS, Api


@pytest.mark.parametrize("key", [KEY, "rk_test_abcdefghijklmnop"])
def test_it_takes_secret_and_restricted_test_keys(api: Api, key: str) -> None:
    assert api.call("GET", INTENTS, key=key).status == 200


def test_a_restricted_key_does_what_it_may(api: Api, sandbox: Sandbox) -> None:
    key = "rk_test_abcdefghijklmnop"
    sandbox.restrict_key(key, "rak_payment_intent_write", "rak_refund_read")

    created = api.call("POST", INTENTS, ORDER, key=key)
    allowed = [api.call("GET", path, key=key) for path in (INTENTS, REFUNDS)]
    refund = api.call("POST", REFUNDS, {"payment_intent": created["id"]}, key=key)

    assert [created.status, *(answer.status for answer in allowed)] == [200, 200, 200]
    assert (refund.status, refund.error["type"]) == (403, "invalid_request_error")
    assert "code" not in refund.error
    assert refund.error["message"] == (
        "The provided key 'rk_test_************mnop' does not have the required permissions for"
        " this endpoint on account 'acct_1SandboxAccount'. Having the 'rak_refund_write'"
        " permission would allow this request to continue."
    )
    assert api.call("GET", CHARGES).status == 200
    with pytest.raises(ValueError, match="begin with rk_test_"):
        sandbox.restrict_key(KEY)


def test_it_takes_a_key_as_basic_user(api: Api) -> None:
    credentials = base64.b64encode(f"{KEY}:".encode()).decode()

    answer = api.call("GET", INTENTS, key=None, Authorization=f"Basic {credentials}")

    assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "You did not provide an API key."),
        ({"Authorization": ""}, 401, "You did not provide an API key."),
        ({"Authorization": "Bearer "}, 401, "You did not provide an API key."),
        ({"Authorization": "Basic §§§"}, 401, "You did not provide an API key."),
        (
            {"Authorization": "Bearer sk_live_abcdefghijklmnop"},
            401,
            "Invalid API Key provided: sk_live_************mnop.",
        ),
        ({"Authorization": "Bearer hello"}, 401, "Invalid API Key provided: *****."),
        (
            {"Authorization": "Bearer pk_live_abcdefghijklmnop"},
            401,
            "Invalid API Key provided: pk_live_************mnop.",
        ),
    ],
)
def test_it_refuses_other_keys(
    api: Api, headers: dict[str, str], status: int, message: str
) -> None:
    answer = api.call("GET", INTENTS, key=None, **headers)

    assert answer.status == status
    assert answer.error["message"].startswith(message)
    assert answer.error["type"] == "invalid_request_error"
    assert "request_log_url" not in answer.error  # whose log would it be
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'


def test_it_takes_only_the_keys_it_was_given() -> None:
    api = Api(Sandbox(secret_keys=[KEY]))

    assert api.get(INTENTS).status == 200
    refused = api.call("GET", INTENTS, key="sk_test_someoneelses")
    assert refused.error["message"] == "Invalid API Key provided: sk_test_********lses"


def test_it_takes_only_the_publishable_keys_it_was_given() -> None:
    api = Api(Sandbox(publishable_keys=[PUBLISHABLE_KEY]))

    assert api.call("GET", f"{INTENTS}/pi_1", key=PUBLISHABLE_KEY).status == 400
    refused = api.call("GET", f"{INTENTS}/pi_1", key="pk_test_someoneelses")
    assert refused.status == 401
    assert refused.error["message"] == "Invalid API Key provided: pk_test_********lses"
    assert api.get(INTENTS).status == 200


@pytest.mark.parametrize("keys", [["sk_live_abcdefghijklmnop"], ["hello"]])
def test_it_cannot_be_given_keys_that_are_not_for_tests(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="sk_test_"):
        Sandbox(secret_keys=keys)
    with pytest.raises(ValueError, match="pk_test_"):
        Sandbox(publishable_keys=keys)


def test_one_key_is_no_collection_of_keys() -> None:
    with pytest.raises(TypeError, match="collection"):
        Sandbox(secret_keys=KEY)


def test_a_short_key_is_masked_whole() -> None:
    assert mask("sk_test_abcd") == "sk_test_****"


def test_it_echoes_the_version_and_names_its_own(api: Api) -> None:
    assert api.get(INTENTS).headers["stripe-version"] == "2026-10-28.endive"
    older = api.get(INTENTS, Stripe_Version="2025-03-31.basil")
    assert older.headers["stripe-version"] == "2025-03-31.basil"


@pytest.mark.parametrize("version", ["latest", "2026-10-27.endive", "2019-2-19", "2026-10-28"])
def test_it_refuses_a_version_that_is_none(api: Api, version: str) -> None:
    answer = api.get(INTENTS, Stripe_Version=version)

    assert answer.status == 400
    assert answer.error["message"] == f"Invalid Stripe API version: {version}"


def test_it_does_not_cover_previews_of_versions(api: Api) -> None:
    answer = api.get(INTENTS, Stripe_Version="2026-10-28.preview")

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")


def test_it_refuses_json_as_stripe_does(api: Api) -> None:
    answer = api.post(INTENTS, '{"amount": 100}', Content_Type="application/json")

    assert answer.status == 400
    assert "application/x-www-form-urlencoded" in answer.error["message"]


def test_json_under_a_form_header_is_an_unknown_parameter(api: Api) -> None:
    answer = api.post(INTENTS, '{"amount":100}')

    assert (answer.status, answer.error["code"]) == (400, "parameter_unknown")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x"])
def test_it_refuses_other_content_types(api: Api, content_type: str) -> None:
    answer = api.post(INTENTS, ORDER, Content_Type=content_type)

    assert answer.status == 400
    assert "unsupported Content-Type" in answer.error["message"]


@pytest.mark.parametrize("body", ["description=%ff", "description=%ED%A0%80", "description=\ud800"])
def test_it_refuses_what_is_not_unicode(api: Api, body: str) -> None:
    answer = api.post(INTENTS, f"amount=1000&currency=usd&{body}")

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert "UTF-8" in answer.error["message"]


@pytest.mark.parametrize(
    ("pairs", "params"),
    [
        ([("a", "1"), ("a", "2")], {"a": "2"}),
        ([("m[k]", "v"), ("m[0]", "w")], {"m": {"k": "v", "0": "w"}}),
        ([("t[]", "x"), ("t[]", "y")], {"t": {"0": "x", "1": "y"}}),
        ([("t[1]", "y"), ("t[0]", "x")], {"t": {"1": "y", "0": "x"}}),
        ([("a[b][c]", "1"), ("a[b][d]", "2")], {"a": {"b": {"c": "1", "d": "2"}}}),
    ],
)
def test_brackets_nest(pairs: list[tuple[str, str]], params: dict[str, object]) -> None:
    assert nest(pairs) == params


@pytest.mark.parametrize(
    "names", [["a]"], ["[a]"], ["a[b"], ["a[b]c"], ["a", "a[b]"], ["a[b]", "a"], ["a" + "[b]" * 50]]
)
def test_senseless_brackets_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        nest([(name, "1") for name in names])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nonsense"),
        ("GET", "/v1/payment_intents/"),
        ("GET", "/v1/charges/"),
        ("DELETE", "/v1/payment_intents/pi_1"),
        ("POST", "/v1/payment_intents/pi_1/hug"),
        ("GET", "/"),
        ("GET", "/v2"),
    ],
)
def test_what_nobody_has_is_404(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path)

    assert answer.status == 404
    assert answer.error["message"].startswith(f"Unrecognized request URL ({method}: {path})")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/customers"),
        ("POST", "/v1/charges"),
        ("GET", "/v1/charges/search"),
        ("POST", "/v1/checkout/sessions"),
        ("POST", "/v1/payment_intents/pi_1/increment_authorization"),
        ("GET", "/v1/payment_intents/search"),
        ("GET", "/v2/core/events"),
    ],
)
def test_what_only_stripe_has_is_said_not_to_be_covered(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path)

    assert (answer.status, answer.error["type"]) == (501, "api_error")
    assert f"The sandbox does not cover {method} {path}" in answer.error["message"]
    assert answer.headers["stripe-should-retry"] == "false"


@pytest.mark.parametrize("header", ["Stripe_Account", "Stripe_Context"])
def test_it_does_not_cover_connected_accounts(api: Api, header: str) -> None:
    answer = api.get(INTENTS, **{header: "acct_1"})

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")


def test_the_log_counts_requests_and_holds_no_secrets(sandbox: Sandbox, api: Api) -> None:
    secret = api.create()["client_secret"]
    api.get(f"{INTENTS}/pi_1", {"client_secret": secret})

    first, second = sandbox.requests
    assert (first.method, first.path, first.status) == ("POST", INTENTS, 200)
    assert first.params["allowed_payment_method_types"] == ["card"]
    assert second.status == 404
    assert KEY not in repr(sandbox.requests)
    assert secret not in repr(sandbox.requests)


def test_the_log_does_not_grow_without_end(sandbox: Sandbox) -> None:
    for number in range(10_003):
        sandbox.handle("GET", f"/v1/{number}", {})

    assert len(sandbox.requests) == 10_000
    assert (sandbox.requests[0].path, sandbox.requests[-1].path) == ("/v1/3", "/v1/10002")
