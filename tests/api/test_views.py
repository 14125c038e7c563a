"""The routes: the documented answers, byte for byte where clients rely on them."""

from __future__ import annotations

import json
from html import unescape
from io import BytesIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.test import Client
from django.urls import resolve
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import APIView

from shop_payments.conf import DEFAULT_THROTTLE_RATES
from shop_payments.models import Order, WebhookEvent
from tests.factories import OrderLineFactory
from tests.support import (
    BASE,
    Caller,
    answer,
    call_stripe,
    event_body,
    pay,
    post_webhook,
    send_event,
    sign,
)

pytestmark = pytest.mark.django_db

TOO_LARGE = (413, "payload_too_large")
LINE = {"name": "Main product 2", "amount": 5600, "currency": "usd", "quantity": 2}
LINE |= {"description": ""}


@pytest.fixture
def intent(storefront, order, stripe) -> dict[str, Any]:
    """The order's open intent, as it is at Stripe."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    return call_stripe(stripe, "GET", f"payment_intents/{intent_id}")


def sent(response: Any) -> tuple[int, str]:
    return response.status_code, response.content.decode()


def described(intent: dict[str, Any], *, status: str, secret: bool = True) -> str:
    shown = f'"client_secret":"{intent["client_secret"]}",' if secret else ""
    lines = json.dumps([LINE], separators=(",", ":"))
    return (
        f'{{"id":"{intent["id"]}",{shown}"amount":"112.00","currency":"usd",'
        f'"status":"{status}","line_items":{lines}}}'
    )


def created(intent: dict[str, Any], status: str = "requires_payment_method") -> str:
    words = "Payment intent created successfully"
    return f'{{"message":"{words}","data":{described(intent, status=status)}}}'


def refusal(message: str, code: str) -> str:
    return f'{{"message":"{message}","code":"{code}"}}'


def test_the_bytes_of_call_1(storefront, order, stripe, intent):
    assert sent(storefront.payment_intent(order)) == (200, created(intent))
    pay(stripe, intent["id"], "pm_card_authenticationRequired")
    assert sent(storefront.payment_intent(order)) == (200, created(intent, "requires_action"))
    OrderLineFactory(order=order, name="Postage", unit_amount=490, quantity=1)
    changed = storefront.payment_intent(order).json()["data"]
    assert (changed["id"], changed["amount"]) == (intent["id"], "116.90")
    assert changed["line_items"][1] == {**LINE, "name": "Postage", "amount": 490, "quantity": 1}


def test_the_bytes_of_calls_1_and_3_without_a_payment(storefront, payment_system, order):
    Order.objects.update(status=Order.Status.CANCELLED)
    not_payable = refusal("The order is empty, free or cancelled.", "order_not_payable")
    missing = refusal("The order has no payment intent.", "payment_intent_missing")
    not_found = refusal("Order not found.", "order_not_found")
    assert sent(storefront.payment_intent(order)) == (409, not_payable)
    assert sent(storefront.payment_intent(0)) == (404, not_found)
    assert sent(payment_system.payment(order)) == (404, missing)
    assert sent(payment_system.payment(0)) == (404, not_found)


def test_the_bytes_of_call_3(storefront, payment_system, order, stripe, intent):
    status = "requires_payment_method"
    head = refusal(f"The payment is not completed: {status}.", "payment_not_completed")
    data = described(intent, status=status, secret=False)
    assert sent(payment_system.payment(order)) == (409, f'{head[:-1]},"data":{data}}}')
    pay(stripe, intent["id"])
    data = described(intent, status="succeeded")
    expected = f'{{"message":"Order marked as paid successfully","data":{data}}}'
    assert sent(payment_system.payment(order)) == (200, expected)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"], amount="1000")
    assert sent(payment_system.payment(order)) == (200, expected)
    paid = refusal("The order has been paid.", "order_already_paid")
    assert sent(storefront.payment_intent(order)) == (409, paid)


def test_an_order_before_any_payment(storefront, order):
    here = f"http://testserver{BASE}/orders/{order.pk}"
    assert storefront.get(f"orders/{order.pk}").json() == {
        "message": "Order",
        "data": {
            **{"id": str(order.pk), "number": order.number, "currency": "usd"},
            "created_at": order.created_at.isoformat().replace("+00:00", "Z"),
            **dict.fromkeys(["amount", "total", "outstanding"], "112.00"),
            **dict.fromkeys(["waived", "amount_refunded"], "0.00"),
            **{"payable": True, "payment_status": "unpaid", "paid_at": None},
            **{"dispute": "", "needs_review": False},
            "line_items": [LINE],
            "payment_intent": None,
            "payments": [],
            "links": {
                "order": here,
                "payment_intent": f"{here}/payment-intent",
                "payment": f"{here}/payment",
                "refunds": f"{here}/refunds",
            },
        },
    }


def as_page(client: Client, path: str) -> Any:
    return client.get(f"{BASE}/{path}", headers={"Accept": "text/html"})


def test_a_page_without_a_login_links_to_the_admins(client, settings):
    """Found: nothing showed staff how to log in. Clients that read JSON see no link."""
    page = as_page(client, "orders?payment_status=paid")
    assert page.status_code == 401
    link = f"/admin/login/?next={BASE}/orders%3Fpayment_status%3Dpaid"
    assert f'<a href="{link}">Log in as staff</a>' in page.content.decode()
    assert "Log in" not in client.get(f"{BASE}/orders").content.decode()


def test_staff_use_the_browsable_api_unless_it_is_turned_off(admin_client, order, configure):
    here = f"http://testserver{BASE}/orders/{order.pk}"
    assert f'<a href="{here}"' in as_page(admin_client, "orders").content.decode()
    shown = as_page(admin_client, f"orders/{order.pk}").content.decode()
    assert f'<a href="{here}/payment-intent"' in shown
    for route in ("payment-intent", "payment"):
        response = as_page(admin_client, f"orders/{order.pk}/{route}")
        assert response.status_code == 405
        assert '<form action="' in response.content.decode()
    configure(BROWSABLE_API=False)
    assert answer(as_page(admin_client, "orders")) == (406, "not_acceptable")


def test_a_cache_of_the_host_shows_nobody_the_orders_of_others(order, storefront, settings):
    """Older releases of Django's cache middleware ignore "no-store" and tokens."""
    first, last = (
        f"django.middleware.cache.{each}CacheMiddleware" for each in ("Update", "FetchFrom")
    )
    settings.MIDDLEWARE = [first, *settings.MIDDLEWARE, last]
    path = f"orders/{order.pk}"
    assert [storefront.get(path).status_code for _ in range(2)] == [200, 200]
    assert answer(Caller().get(path)) == (401, "not_authenticated")


def test_an_adapter_that_cannot_look_up_orders_is_503(
    storefront, payment_system, office, admin_client, order, configure, caplog
):
    configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")
    one = f"orders/{order.pk}"
    for response in (
        storefront.get("orders"),
        storefront.get(one),
        storefront.post(f"{one}/payment-intent"),
        payment_system.post(f"{one}/payment"),
        office.get(f"{one}/refunds"),
        office.post(f"{one}/refunds"),
        as_page(admin_client, "orders"),
    ):
        content = unescape(response.content.decode())
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert "order_unreadable" in content
        assert "the shop's own" not in content
    assert "OrderAdapter.list_for_user raised" in caplog.text
    configure(ORDER_ADAPTER="tests.api.adapters.FailsWhenRead")
    assert answer(storefront.get("orders")) == (503, "order_unreadable")


@pytest.fixture
def paid(stripe, intent) -> dict[str, Any]:
    """The order's intent, paid at Stripe; the shop does not know it yet."""
    return pay(stripe, intent["id"])


def post_in_chunks(body: bytes) -> tuple[int, str | None]:
    """Deliver a signed event through ASGI, without a Content-Length."""
    path = f"{BASE}/webhooks/stripe"
    headers = {b"content-type": b"application/json", b"stripe-signature": sign(body).encode()}
    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers.items())}
    match = resolve(path)
    response: Any = match.func(ASGIRequest(scope, BytesIO(body)), *match.args, **match.kwargs)
    content = response.content if response.status_code == 200 else response.render().content
    return response.status_code, json.loads(content).get("code")


def test_an_event_is_accepted_whatever_the_caller_accepts(client, paid):
    """Found: a time like t=<seconds>=x, which Stripe's own code accepts, was a 500."""
    body = event_body(paid)
    stamp, signature = sign(body).split(",", 1)
    response = client.post(
        f"{BASE}/webhooks/stripe",
        data=body,
        content_type="application/json; charset=utf-8",
        headers={"Stripe-Signature": f"{stamp}=x,{signature}", "Accept": "application/xml"},
    )
    data = {"id": WebhookEvent.objects.get().event_id}
    assert response.json() == {"message": "Event received", "data": data}


def test_an_event_that_is_too_large_or_of_a_wrong_length_is_refused(
    client, paid, configure, settings
):
    body = event_body(paid)
    assert post_in_chunks(body) == (200, None)
    configure(WEBHOOK_MAX_BYTES=1000)
    assert answer(post_webhook(body, sign(body))) == post_in_chunks(body) == TOO_LARGE
    unread: Any = BytesIO(b" " * 1001)
    for length, expected in (("1001", TOO_LARGE), ("x", (400, "parse_error"))):
        extra = {"CONTENT_LENGTH": length, "wsgi.input": unread}
        response = client.generic("POST", f"{BASE}/webhooks/stripe", **extra)
        assert answer(response) == expected
    assert unread.tell() == 0
    configure(WEBHOOK_MAX_BYTES=1_000_000)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert answer(post_webhook(body, sign(body))) == post_in_chunks(body) == TOO_LARGE


@pytest.mark.parametrize("setting", [{"STRIPE_WEBHOOK_SECRETS": []}, {"WEBHOOK_TOLERANCE": 0}])
def test_stripe_sends_events_again_until_the_settings_are_right(paid, configure, setting, caplog):
    """A tolerance of 0 would turn off the check of the age in Stripe's code."""
    configure(**setting)
    assert answer(send_event(paid)) == (503, "not_configured")
    (name,) = setting
    assert f"Payments are not configured: SHOP_PAYMENTS['{name}']" in caplog.text
    assert not WebhookEvent.objects.exists()


class OnceADay(AnonRateThrottle):
    rate = "1/day"


def test_stripe_is_never_throttled(client, paid, monkeypatch, configure):
    monkeypatch.setattr(APIView, "throttle_classes", [OnceADay])
    configure(THROTTLE_RATES=dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/day"))
    cache.clear()
    events = [send_event(paid).status_code for _ in range(2)]
    others = [client.get(f"{BASE}/").status_code for _ in range(2)]
    cache.clear()
    assert (events, others) == ([200, 200], [200, 429])


def test_atomic_requests_do_not_keep_a_transaction_open(storefront, order, stripe, monkeypatch):
    """Found: only the default database was opted out."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert storefront.payment_intent(order).status_code == 200
    monkeypatch.setitem(connections.settings, "legacy", {"ATOMIC_REQUESTS": True})
    func: Any = resolve(f"{BASE}/webhooks/stripe").func
    view = func.cls.as_view({"post": "create"})
    assert BaseHandler().make_view_atomic(view) is view
