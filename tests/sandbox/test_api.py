from __future__ import annotations

from tests.sandbox.support import INTENTS


def test_the_log_has_every_request_and_no_secrets(sandbox, api):
    secret = api.create()["client_secret"]
    api.get(f"{INTENTS}/pi_1", {"client_secret": secret})

    first, second = sandbox.requests
    assert (first.method, first.path, first.status) == ("POST", INTENTS, 200)
    assert first.params["allowed_payment_method_types"] == ["card"]
    assert second.status == 404
    assert not [each for each in ("sk_test", secret) if each in repr(sandbox.requests)]


def test_the_log_does_not_grow_without_end(sandbox, monkeypatch):
    monkeypatch.setattr("shop_payments.sandbox.api.LOG_LENGTH", 3)
    for number in range(5):
        sandbox.handle("GET", f"/v1/{number}", {})

    assert [request.path for request in sandbox.requests] == ["/v1/2", "/v1/3", "/v1/4"]
