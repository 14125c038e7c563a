from __future__ import annotations

from tests.sandbox.support import INTENTS


def test_the_log_has_the_last_requests_and_no_secrets(sandbox, api, monkeypatch):
    monkeypatch.setattr("shop_payments.sandbox.api.LOG_LENGTH", 2)
    secret = [api.create() for _ in range(3)][-1]["client_secret"]
    api.get(f"{INTENTS}/pi_1", {"client_secret": secret})

    first, second = sandbox.requests
    assert (first.method, first.path, first.status) == ("POST", INTENTS, 200)
    assert first.params["allowed_payment_method_types"] == ["card"]
    assert second.status == 404
    assert not [each for each in ("sk_test", secret) if each in repr(sandbox.requests)]
