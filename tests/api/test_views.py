"""The routes: the documented answers, byte for byte where clients rely on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from rest_framework.versioning import AcceptHeaderVersioning, NamespaceVersioning
from rest_framework.views import APIView

from shop_payments.models import APIKeyScope, Order, OrderPayment, WebhookEvent
from tests.conftest import issue_key
from tests.factories import OrderFactory, OrderLineFactory
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

LINE = {
    "name": "Main product 2",
    "amount": 5600,
    "currency": "usd",
    "quantity": 2,
    "description": "",
}


# --- calls 1 and 3, byte for byte ---------------------------------------------------------------


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
    expected = (200, created(intent))
    assert sent(storefront.payment_intent(order)) == expected
    pay(stripe, intent["id"], "pm_card_chargeDeclined")
    assert sent(storefront.payment_intent(order)) == expected

    OrderLineFactory(order=order, name="Postage", unit_amount=490, quantity=1)
    changed = storefront.payment_intent(order).json()["data"]
    assert list(changed) == ["id", "client_secret", "amount", "currency", "status", "line_items"]
    assert (changed["id"], changed["amount"]) == (intent["id"], "116.90")
    assert changed["line_items"][1] == {**LINE, "name": "Postage", "amount": 490, "quantity": 1}


def test_the_bytes_of_call_1_while_the_customer_authenticates(storefront, order, stripe, intent):
    pay(stripe, intent["id"], "pm_card_authenticationRequired")

    assert sent(storefront.payment_intent(order)) == (200, created(intent, "requires_action"))


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ("processing", "A payment of this order is being processed.", "payment_processing"),
        (
            "requires_capture",
            "The order's payment is authorized and waits for capture.",
            "payment_authorized",
        ),
        ("succeeded", "The order has been paid.", "order_already_paid"),
    ],
)
def test_the_bytes_of_call_1_after_a_payment(
    storefront, order, stripe, intent, status, message, code
):
    stripe.advance(intent["id"], status)

    assert sent(storefront.payment_intent(order)) == (409, refusal(message, code))


def test_the_bytes_of_calls_1_and_3_without_a_payment(storefront, payment_system, order):
    Order.objects.update(status=Order.Status.CANCELLED)
    not_payable = refusal("The order is empty, free or cancelled.", "order_not_payable")
    missing = refusal("The order has no payment intent.", "payment_intent_missing")
    not_found = refusal("Order not found.", "order_not_found")

    assert sent(storefront.payment_intent(order)) == (409, not_payable)
    assert sent(storefront.payment_intent(0)) == (404, not_found)
    assert sent(payment_system.payment(order)) == (404, missing)
    assert sent(payment_system.payment(0)) == (404, not_found)


def test_the_bytes_of_call_3(payment_system, order, stripe, intent):
    pay(stripe, intent["id"])
    data = described(intent, status="succeeded")
    expected = f'{{"message":"Order marked as paid successfully","data":{data}}}'

    assert sent(payment_system.payment(order)) == (200, expected)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"], amount="1000")
    assert sent(payment_system.payment(order)) == (200, expected)


@pytest.mark.parametrize("status", ["requires_payment_method", "processing", "canceled"])
def test_the_bytes_of_call_3_before_the_money_has_come(
    payment_system, order, stripe, intent, status
):
    stripe.advance(intent["id"], status)
    head = refusal(f"The payment is not completed: {status}.", "payment_not_completed")
    data = described(intent, status=status, secret=False)

    assert sent(payment_system.payment(order)) == (409, f'{head[:-1]},"data":{data}}}')


# --- orders -------------------------------------------------------------------------------------


def test_an_order_before_any_payment(storefront, order):
    here = f"http://testserver{BASE}/orders/{order.pk}"

    assert storefront.get(f"orders/{order.pk}").json() == {
        "message": "Order",
        "data": {
            "id": str(order.pk),
            "number": order.number,
            "amount": "112.00",
            "total": "112.00",
            "outstanding": "112.00",
            "waived": "0.00",
            "currency": "usd",
            "payable": True,
            "payment_status": "unpaid",
            "amount_refunded": "0.00",
            "dispute": "",
            "needs_review": False,
            "paid_at": None,
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


def test_an_order_that_is_paid(storefront, order, stripe, webhooks, intent):
    pay(stripe, intent["id"])
    webhooks()

    data = storefront.get(f"orders/{order.pk}").json()["data"]

    assert (data["payment_status"], data["payable"]) == ("paid", False)
    assert data["paid_at"].endswith("Z")
    assert data["payment_intent"] == {
        "id": intent["id"],
        "status": "succeeded",
        "amount": 11200,
        "currency": "usd",
    }
    assert data["payments"] == [
        {
            "id": intent["id"],
            "amount_received": "112.00",
            "currency": "usd",
            "counts": True,
            "charged_at": data["paid_at"],
        }
    ]


def test_the_list_has_the_callers_orders_newest_first_in_pages(storefront, order, configure):
    configure(PAGE_SIZE=2)
    OrderFactory.create()
    newer = OrderFactory.create(customer=order.customer)

    only = storefront.get("orders").json()["data"]
    OrderFactory.create_batch(3, customer=order.customer)
    first = storefront.get("orders").json()["data"]
    last = storefront.get("orders?page=3").json()["data"]

    assert [each["id"] for each in only["results"]] == [str(newer.pk), str(order.pk)]
    assert (only["next"], only["previous"]) == (None, None), "a full page may be the last one"
    assert len(first["results"]) == 2
    assert first["next"] == f"http://testserver{BASE}/orders?page=2"
    assert [each["id"] for each in last["results"]] == [str(order.pk)]
    assert (last["next"], last["previous"]) == (None, f"http://testserver{BASE}/orders?page=2")


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30, "1.0", "1_0", "%2B1", "%201", "%D9%A1"])
def test_a_malformed_page_is_refused(storefront, page):
    response = storefront.get(f"orders?page={page}")

    assert answer(response) == (400, "invalid_request")
    assert "page" in response.json()["errors"]


def test_the_root_shows_where_to_go(client):
    assert client.get(f"{BASE}/").json()["data"] == {"orders": f"http://testserver{BASE}/orders"}


# --- the browsable API --------------------------------------------------------------------------


def as_page(client: Client, path: str) -> Any:
    return client.get(f"{BASE}/{path}", headers={"Accept": "text/html"})


def test_staff_walk_the_browsable_api(admin_client, order):
    here = f"http://testserver{BASE}/orders/{order.pk}"

    assert "/orders" in as_page(admin_client, "").content.decode()
    assert f'<a href="{here}"' in as_page(admin_client, "orders").content.decode()
    shown = as_page(admin_client, f"orders/{order.pk}").content.decode()
    assert f'<a href="{here}/payment-intent"' in shown
    for route in ("payment-intent", "payment"):
        response = as_page(admin_client, f"orders/{order.pk}/{route}")
        assert response.status_code == 405
        assert '<form action="' in response.content.decode()


def test_the_browsable_api_can_be_turned_off(admin_client, configure):
    configure(BROWSABLE_API=False)

    assert answer(as_page(admin_client, "orders")) == (406, "not_acceptable")


# --- caches -------------------------------------------------------------------------------------


def every_kind_of_answer(
    storefront: Caller, payment_system: Caller, order: Order, configure: Any
) -> Iterator[Any]:
    """One answer of each status."""
    intent = f"orders/{order.pk}/payment-intent"
    for path in ("", "orders", f"orders/{order.pk}"):
        yield storefront.get(path)
        yield storefront.get(path, Accept="text/html")
    yield storefront.post(intent)
    yield storefront.post(intent, {"amount": 1})
    yield storefront.client.post(f"{BASE}/{intent}", {"a": "b"}, headers=storefront.headers)
    yield storefront.post(intent, {"amount": "1" * 300_000})
    yield storefront.get("orders", Accept="image/png")
    yield storefront.get(intent)
    yield storefront.get("orders/none")
    yield storefront.payment(order)
    yield storefront.client.options(f"{BASE}/orders", headers=storefront.headers)
    yield Caller().get("orders", Accept="text/html")
    yield payment_system.payment(order)
    yield post_webhook(b"{}", "")
    yield send_event({"object": "charge", "id": "ch_1"}, type="charge.succeeded")
    configure(STRIPE_SECRET_KEY="")
    yield storefront.post(intent)
    configure(THROTTLE_RATES={"orders_user": "1/day"})
    yield from (storefront.get("orders") for _ in range(2))


def test_no_answer_may_be_stored(storefront, payment_system, order, stripe, configure):
    cache.clear()
    answers = list(every_kind_of_answer(storefront, payment_system, order, configure))
    cache.clear()

    assert {each["Cache-Control"] for each in answers} == {"no-store"}
    statuses = {each.status_code for each in answers}
    assert statuses == {200, 400, 401, 403, 404, 405, 406, 409, 413, 415, 429, 503}


def test_a_cache_of_the_host_shows_nobody_the_orders_of_others(order, storefront, settings):
    """Django's cache of whole sites looks neither at tokens nor at "no-store"."""
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    path = f"orders/{order.pk}"

    assert [storefront.get(path).status_code for _ in range(2)] == [200, 200]
    assert answer(Caller().get(path)) == (401, "not_authenticated")


# --- orders that cannot be looked up ------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_an_adapter_that_cannot_look_up_orders_is_503(
    storefront, payment_system, admin_client, order, configure, caplog, accept
):
    configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")
    office, one = Caller(key=issue_key(APIKeyScope.REFUNDS)), f"orders/{order.pk}"

    for response in (
        storefront.get("orders", Accept=accept),
        storefront.get(one, Accept=accept),
        storefront.post(f"{one}/payment-intent", Accept=accept),
        payment_system.post(f"{one}/payment", Accept=accept),
        office.get(f"{one}/refunds", Accept=accept),
        office.post(f"{one}/refunds", Accept=accept),
        Caller(client=admin_client).get("orders", Accept=accept),
        Caller(client=admin_client).get(one, Accept=accept),
    ):
        content = unescape(response.content.decode())
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert "order_unreadable" in content
        assert "the shop's own" not in content
    assert "OrderAdapter.list_for_user raised" in caplog.text


def test_a_list_that_fails_only_when_it_is_read_is_503(storefront, order, configure):
    configure(ORDER_ADAPTER="tests.api.adapters.FailsWhenRead")

    assert answer(storefront.get("orders")) == (503, "order_unreadable")


# --- webhooks -----------------------------------------------------------------------------------


@pytest.fixture
def paid(stripe, intent) -> dict[str, Any]:
    """The order's intent, paid at Stripe; the shop does not know it yet."""
    return pay(stripe, intent["id"])


def is_paid() -> bool:
    return OrderPayment.objects.get().is_paid


def post_in_chunks(body: bytes) -> tuple[int, str | None]:
    """Deliver a signed event through ASGI, without a Content-Length."""
    path = f"{BASE}/webhooks/stripe"
    headers = {b"content-type": b"application/json", b"stripe-signature": sign(body).encode()}
    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers.items())}
    match = resolve(path)
    response: Any = match.func(ASGIRequest(scope, BytesIO(body)), *match.args, **match.kwargs)
    return response.status_code, json.loads(response.render().content).get("code")


def test_an_event_is_accepted_whatever_the_caller_accepts(paid):
    body = event_body(paid)

    response = Client().post(
        f"{BASE}/webhooks/stripe",
        data=body,
        content_type="application/json; charset=utf-8",
        headers={"Stripe-Signature": sign(body), "Accept": "application/xml"},
    )

    assert response.status_code == 200
    assert response.json() == {
        "message": "Event received",
        "data": {"id": WebhookEvent.objects.get().event_id},
    }


@pytest.mark.parametrize(
    "signature", ["", "t=1,v1=abc", "t=1,v1=é", "another secret", "another body"]
)
def test_an_event_without_a_good_signature_is_refused(paid, signature):
    body = event_body(paid)
    if signature == "another secret":
        signature = sign(body, secret="whsec_another")
    if signature == "another body":
        signature = sign(body + b" ")

    assert answer(post_webhook(body, signature)) == (400, "invalid_signature")
    assert not WebhookEvent.objects.exists()
    assert not is_paid()


def test_a_signature_with_an_odd_time_is_no_500(paid):
    """Found: t=<seconds>=x, which Stripe's own code accepts."""
    body = event_body(paid)
    stamp, signature = sign(body).split(",", 1)

    assert post_webhook(body, f"{stamp}=x,{signature}").status_code == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b"[" * 10_000, b'{"object":"event"}'])
def test_a_signed_body_that_is_no_event_is_refused(body):
    assert answer(post_webhook(body, sign(body))) == (400, "invalid_payload")
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("setting", ["WEBHOOK_MAX_BYTES", "DATA_UPLOAD_MAX_MEMORY_SIZE"])
def test_an_event_that_is_too_large_is_refused(paid, configure, settings, setting):
    body = event_body(paid)
    assert post_in_chunks(body) == (200, None)
    if setting == "WEBHOOK_MAX_BYTES":
        configure(WEBHOOK_MAX_BYTES=1000)
    else:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    assert answer(post_webhook(body, sign(body))) == (413, "payload_too_large")
    assert post_in_chunks(body) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("length", "expected"),
    [("1001", (413, "payload_too_large")), ("x", (400, "parse_error"))],
)
def test_an_event_of_a_wrong_length_is_not_read(configure, length, expected):
    configure(WEBHOOK_MAX_BYTES=1000)
    body = BytesIO(b" " * 1001)
    declared: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": body}

    response = Client().generic("POST", f"{BASE}/webhooks/stripe", **declared)

    assert answer(response) == expected
    assert body.tell() == 0


@pytest.mark.parametrize("setting", [{"STRIPE_WEBHOOK_SECRETS": []}, {"WEBHOOK_TOLERANCE": 0}])
def test_stripe_sends_events_again_until_the_settings_are_right(paid, configure, setting):
    """A tolerance of 0 would turn the check of the age off in Stripe's code."""
    configure(**setting)

    assert answer(send_event(paid)) == (503, "not_configured")
    assert not WebhookEvent.objects.exists()


# --- settings of the host -----------------------------------------------------------------------


class OnceADay(AnonRateThrottle):
    rate = "1/day"


def test_a_throttle_of_the_host_does_not_apply_to_the_webhook(client, paid, monkeypatch):
    monkeypatch.setattr(APIView, "throttle_classes", [OnceADay])
    cache.clear()

    events = [send_event(paid).status_code for _ in range(2)]
    others = [client.get(f"{BASE}/").status_code for _ in range(2)]

    cache.clear()
    assert (events, others) == ([200, 200], [200, 429])


class NamespacesOfTheHost(NamespaceVersioning):
    allowed_versions = ("v1",)


class VersionsOfTheHost(AcceptHeaderVersioning):
    allowed_versions = ("v7",)
    default_version = "v6"


@pytest.mark.parametrize("versioning", [NamespacesOfTheHost, VersionsOfTheHost])
def test_versioning_of_the_host_applies_to_no_route(
    storefront, payment_system, order, paid, monkeypatch, versioning
):
    monkeypatch.setattr(APIView, "versioning_class", versioning)

    assert send_event(paid).status_code == 200
    assert payment_system.payment(order).status_code == 200
    assert storefront.get(f"orders/{order.pk}").status_code == 200


def test_atomic_requests_do_not_keep_a_transaction_open(storefront, order, stripe, monkeypatch):
    """Found: only the default database was opted out."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert storefront.payment_intent(order).status_code == 200

    monkeypatch.setitem(connections.settings, "legacy", {"ATOMIC_REQUESTS": True})
    func: Any = resolve(f"{BASE}/webhooks/stripe").func
    view = func.cls.as_view({"post": "create"})
    assert BaseHandler().make_view_atomic(view) is view
