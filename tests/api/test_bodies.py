"""Bodies that are refused: keys given twice, forms, too much; and what no answer is without."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from shop_payments.models import APIKeyScope, Refund
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.support import BASE, Caller, answer, event_body, pay, send_event, sign

pytestmark = pytest.mark.django_db

MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.fixture
def office(db: None) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


@pytest.fixture
def paid(storefront, payment_system, order, stripe) -> Any:
    """The order, paid."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)
    return order


def post(caller: Caller, path: str, body: bytes, content_type: str, **extra: Any) -> Any:
    return caller.client.generic(
        "POST", f"{BASE}/{path}", body, content_type=content_type, headers=caller.headers, **extra
    )


# --- keys given twice ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b'{"amount": "1.00", "amount": "100.00"}', ["amount"]),
        (b'{"amount": "1.00", "amount": "1.00"}', ["amount"]),
        (b'{"amount": "1.00", "am\\u006funt": "100.00"}', ["amount"]),
        (b'{"kind": "goods", "amount": "1.00", "kind": "correction"}', ["kind"]),
        (b'{"a": 1, "b": 1, "a": 1, "b": 1}', ["a", "b"]),
        (b'{"amount": {"x": 1, "x": 2}}', ["x"]),
        (b'[{"x": 1, "x": 2}]', ["x"]),
        (b'{"": 1, "": 2}', [""]),
        (b'{"\\ud800": 1, "\\ud800": 2}', ["?"]),
    ],
)
def test_a_key_given_twice_is_named_and_nothing_is_refunded(office, paid, stripe, body, errors):
    stripe.requests.clear()

    response = post(office, f"orders/{paid.pk}/refunds", body, "application/json")

    assert answer(response) == (400, "invalid_request")
    assert response.json()["errors"] == {
        key: ["This field is given more than once."] for key in errors
    }
    assert not Refund.objects.exists()
    assert stripe.requests == []


@pytest.mark.parametrize("route", ["payment-intent", "payment"])
def test_a_key_given_twice_is_refused_where_none_is_taken(storefront, payment_system, order, route):
    caller = storefront if route == "payment-intent" else payment_system

    response = post(caller, f"orders/{order.pk}/{route}", b'{"a": 1, "a": 1}', "application/json")

    assert response.json()["errors"] == {"a": ["This field is given more than once."]}


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_refused(office, paid, constant):
    body = f'{{"amount": {constant}}}'.encode()

    response = post(office, f"orders/{paid.pk}/refunds", body, "application/json")

    assert answer(response) == (400, "parse_error")


# --- forms --------------------------------------------------------------------------------------


def form(fields: dict[str, str]) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return ("".join(parts) + "--x--\r\n").encode()


FORMS = [
    (form({"amount": "1.00"}), MULTIPART),
    (b"amount=1.00", URLENCODED),
    (b"not a form", MULTIPART),
    (b"amount=1.00", "multipart/form-data"),
]


@pytest.mark.parametrize(("body", "content_type"), FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("who", ["key", "staff"])
def test_a_form_does_not_refund_everything(
    office, paid, stripe, admin_user, body, content_type, who
):
    stripe.requests.clear()
    if who == "staff":
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)
        client.cookies["csrftoken"] = "c" * 32
        office = AccountingOffice(client=client)
        office.headers["X-CSRFToken"] = "c" * 32

    response = post(office, f"orders/{paid.pk}/refunds", body, content_type)

    assert answer(response) in [(415, "unsupported_media_type"), (400, "parse_error")]
    assert not Refund.objects.exists()
    assert stripe.requests == []


def look_into_forms(get_response: Any) -> Any:
    """A middleware of the host's that looks for something in forms."""

    def middleware(request: Any) -> Any:
        request.POST.get("language")
        return get_response(request)

    return middleware


@pytest.mark.parametrize(("body", "content_type"), FORMS[:2], ids=["multipart", "urlencoded"])
def test_a_form_that_a_middleware_has_used_up_does_not_refund_everything(
    office, paid, stripe, settings, body, content_type
):
    """Found: what was used up was taken for nothing, and all of the payment went back."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.look_into_forms"]

    response = post(office, f"orders/{paid.pk}/refunds", body, content_type)

    assert answer(response) == (415, "unsupported_media_type")
    assert not Refund.objects.exists()


def test_an_empty_form_is_no_refund(client, office, paid):
    """As Django's test client sends it where it is given no body."""
    response = client.post(f"{BASE}/orders/{paid.pk}/refunds", headers=office.headers)

    assert answer(response) == (415, "unsupported_media_type")


def test_an_empty_form_passes_where_no_field_is_taken(
    client, storefront, payment_system, order, stripe, admin_user
):
    staff = Client(enforce_csrf_checks=True)
    staff.force_login(admin_user)
    staff.cookies["csrftoken"] = "c" * 32
    path = f"{BASE}/orders/{order.pk}/payment-intent"
    assert staff.post(path, headers={"X-CSRFToken": "c" * 32}).status_code == 200
    assert staff.post(path).status_code == 403

    intent = client.post(f"{BASE}/orders/{order.pk}/payment-intent", headers=storefront.headers)
    pay(stripe, intent.json()["data"]["id"])

    settled = client.post(f"{BASE}/orders/{order.pk}/payment", headers=payment_system.headers)

    assert (intent.status_code, settled.status_code) == (200, 200)


@pytest.mark.parametrize(("body", "content_type"), FORMS[:2], ids=["multipart", "urlencoded"])
def test_a_form_with_fields_is_refused_where_no_field_is_taken(
    storefront, order, body, content_type
):
    response = post(storefront, f"orders/{order.pk}/payment-intent", body, content_type)

    assert answer(response) == (415, "unsupported_media_type")


# --- too much -----------------------------------------------------------------------------------

LARGE = b'{"amount": "' + b"1" * 3_000_000 + b'"}'
PATHS = ["payment-intent", "payment", "refunds"]
TYPES = ["application/json", MULTIPART, URLENCODED, "text/plain", ""]


def callers(order: Any, storefront: Caller, payment_system: Caller, office: Caller) -> Any:
    return zip(PATHS, (storefront, payment_system, office), strict=True)


@pytest.mark.parametrize("content_type", TYPES)
def test_a_body_that_is_too_large_gets_json(
    storefront, payment_system, office, order, stripe, content_type
):
    for path, caller in callers(order, storefront, payment_system, office):
        response = post(caller, f"orders/{order.pk}/{path}", LARGE, content_type)

        assert answer(response) == (413, "payload_too_large")
        assert response.json()["message"] == "The body is too large."
    webhook = post(storefront, "webhooks/stripe", LARGE, content_type)
    assert answer(webhook) == (413, "payload_too_large")
    assert stripe.requests == []


@pytest.mark.parametrize("path", ["", "orders", "orders/1"])
def test_a_large_body_of_a_get_gets_json(storefront, path):
    response = storefront.client.generic(
        "GET",
        f"{BASE}/{path}",
        LARGE,
        content_type="application/json",
        headers=storefront.headers,
    )

    assert answer(response) == (413, "payload_too_large")


def test_staff_with_a_large_form_get_json(order, admin_user):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(admin_user)
    client.cookies["csrftoken"] = "c" * 32
    caller = Caller(client=client)
    caller.headers["X-CSRFToken"] = "c" * 32
    for path in PATHS:
        fields = form({f"f{number}": "" for number in range(2000)})
        for body in (LARGE, fields):
            response = post(caller, f"orders/{order.pk}/{path}", body, MULTIPART)

            assert answer(response) == (413, "payload_too_large")


@pytest.mark.parametrize("limit", [10, None])
def test_the_hosts_limit_counts_where_it_is_lower(storefront, order, stripe, settings, limit):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = limit

    too_large = post(storefront, f"orders/{order.pk}/payment-intent", LARGE, "application/json")
    fits = post(storefront, f"orders/{order.pk}/payment-intent", b"{}", "application/json")

    assert answer(too_large) == (413, "payload_too_large")
    assert fits.status_code == 200


@pytest.mark.parametrize("length", ["a", "-1", "1.5", "9" * 5000, "٣"])
def test_a_strange_content_length_is_no_empty_body(office, paid, stripe, length):
    response = post(
        office,
        f"orders/{paid.pk}/refunds",
        b'{"amount": "1.00"}',
        "application/json",
        CONTENT_LENGTH=length,
    )

    assert answer(response) in [(400, "parse_error"), (413, "payload_too_large")]
    assert not Refund.objects.exists()


def test_a_body_in_chunks_is_no_empty_body(office, paid):
    """Found: REST framework takes a body of unknown length for none, and all went back."""
    office.headers["Transfer-Encoding"] = "chunked"

    response = post(
        office,
        f"orders/{paid.pk}/refunds",
        b'{"amount": "1.00"}',
        "application/json",
        CONTENT_LENGTH="",
    )

    assert answer(response) == (400, "parse_error")
    assert response.json()["message"] == "Send the body with a Content-Length."
    assert not Refund.objects.exists()


# --- no cache keeps an answer -------------------------------------------------------------------


@pytest.fixture
def every_response(storefront, payment_system, office, order, stripe, configure) -> list[Any]:
    """Answers of every route, with nearly every status."""
    root, one = "", f"orders/{order.pk}"
    intent = f"{one}/payment-intent"
    html = {"Accept": "text/html"}
    nobody = Caller()
    found = [
        *(storefront.get(path, **more) for path in (root, "orders", one) for more in ({}, html)),
        storefront.post(intent),
        storefront.post(intent, {"amount": 1}),
        storefront.post(intent, **html),
        post(storefront, intent, b"{", "application/json"),
        post(storefront, intent, b"x", "text/plain"),
        post(storefront, intent, LARGE, "application/json"),
        storefront.get("orders?format=xml"),
        storefront.get("orders", Accept="image/png"),
        storefront.get(intent),
        storefront.get(intent, **html),
        storefront.get("orders/none"),
        storefront.payment(order),
        nobody.get("orders"),
        nobody.get("orders", **html),
        nobody.post(intent),
        storefront.client.options(f"{BASE}/orders", headers=storefront.headers),
        storefront.client.head(f"{BASE}/orders", headers=storefront.headers),
        payment_system.payment(order),
        office.get(f"{one}/refunds"),
        office.post(f"{one}/refunds", {}),
        post(nobody, "webhooks/stripe", b"{}", "application/json"),
        post(nobody, "webhooks/stripe", LARGE, "application/json"),
        nobody.get("webhooks/stripe"),
    ]
    body = event_body({"object": "charge", "id": "ch_1"}, type="charge.succeeded")
    found.append(nobody.post("webhooks/stripe", json.loads(body), **{"Stripe-Signature": "x"}))
    nobody.headers["Stripe-Signature"] = sign(body)
    found.append(post(nobody, "webhooks/stripe", body, "application/json"))
    configure(STRIPE_SECRET_KEY="")
    found.append(storefront.post(intent))
    configure(STRIPE_SECRET_KEY="sk_test_x", ORDER_ADAPTER="tests.api.adapters.RaisesForFind")
    found += [storefront.get(one), storefront.get(one, **html)]
    configure(THROTTLE_RATES={"orders_user": "1/day"})
    found += [storefront.get("orders"), storefront.get("orders")]
    return found


def test_no_answer_may_be_stored(every_response):
    statuses = {response.status_code for response in every_response}

    assert {response["Cache-Control"] for response in every_response} == {"no-store"}
    assert statuses == {200, 400, 401, 403, 404, 405, 406, 409, 413, 415, 429, 503}


def test_a_cache_of_the_host_gives_nobody_anothers_orders(
    order, storefront, settings, django_user_model
):
    """Django's cache of whole sites does not look at tokens, nor at "no-store"."""
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    path = f"orders/{order.pk}"
    mine = [storefront.get(path).status_code for _ in range(2)]

    others = Caller().get(path)

    assert mine == [200, 200]
    assert answer(others) == (401, "not_authenticated")


# --- orders that cannot be looked up ------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_an_adapter_that_cannot_look_up_is_503(
    storefront, payment_system, office, order, configure, caplog, accept
):
    configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")
    responses = [
        storefront.get("orders", Accept=accept),
        storefront.get(f"orders/{order.pk}", Accept=accept),
        storefront.post(f"orders/{order.pk}/payment-intent", Accept=accept),
        payment_system.post(f"orders/{order.pk}/payment", Accept=accept),
        office.get(f"orders/{order.pk}/refunds", Accept=accept),
        office.post(f"orders/{order.pk}/refunds", Accept=accept),
    ]

    for response in responses:
        assert response.status_code == 503
        assert response["Retry-After"] == "5"
        assert "order_unreadable" in response.content.decode()
        assert "the shop&#x27;s own" not in response.content.decode()
        assert "the shop's own" not in response.content.decode()
    assert "OrderAdapter.list_for_user raised" in caplog.text


@pytest.mark.parametrize("name", ["get_queryset", "find"])
def test_staff_whose_orders_cannot_be_looked_up_get_503(admin_client, order, configure, name):
    configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")
    path = "orders" if name == "get_queryset" else f"orders/{order.pk}"

    assert answer(Caller(client=admin_client).get(path)) == (503, "order_unreadable")


def test_an_adapter_whose_query_fails_only_when_it_is_read_is_503(storefront, order, configure):
    configure(ORDER_ADAPTER="tests.api.adapters.FailsWhenRead")

    assert answer(storefront.get("orders")) == (503, "order_unreadable")
    assert answer(storefront.get(f"orders/{order.pk}")) == (503, "order_unreadable")


def test_an_event_of_an_order_that_cannot_be_looked_up_is_delivered_again(
    storefront, order, stripe, configure
):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")

    assert answer(send_event(intent)) == (503, "event_failed")
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    assert send_event(intent).status_code == 200
