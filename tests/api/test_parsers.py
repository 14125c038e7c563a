"""Bodies: JSON in UTF-8 of a bounded size, without a key given twice; no forms."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from shop_payments.models import Refund
from tests.support import BASE, Caller, answer, pay

pytestmark = pytest.mark.django_db

JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"
TOO_LARGE = (413, "payload_too_large")
PARSE_ERROR = (400, "parse_error")
NOT_JSON = (415, "unsupported_media_type")


@pytest.fixture
def staff(admin_user: Any) -> Caller:
    """Staff in their session, with a CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    client.cookies["csrftoken"] = "c" * 32
    caller = Caller(client=client)
    caller.headers["X-CSRFToken"] = "c" * 32
    return caller


@pytest.fixture
def paid(storefront, payment_system, order, stripe) -> Any:
    """The order, paid."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)
    return order


def post(caller: Caller, path: str, body: bytes, content_type: str = JSON, **extra: Any) -> Any:
    return caller.client.generic(
        "POST", f"{BASE}/{path}", body, content_type=content_type, headers=caller.headers, **extra
    )


def refund(caller: Caller, order: Any, body: bytes, content_type: str = JSON, **extra: Any) -> Any:
    return post(caller, f"orders/{order.pk}/refunds", body, content_type, **extra)


def test_a_key_given_twice_is_named_and_nothing_is_refunded(office, paid, stripe):
    stripe.requests.clear()
    for body, errors in (
        (b'{"amount": "1.00", "am\\u006funt": "100.00"}', ["amount"]),
        (b'{"a": 1, "b": 1, "a": 1, "b": 1}', ["a", "b"]),
        (b'{"amount": {"x": 1, "x": 2}}', ["x"]),
        (b'{"\\ud800": 1, "\\ud800": 2}', ["?"]),
    ):
        response = refund(office, paid, body)
        words = ["This field is given more than once. Send it once."]
        assert answer(response) == (400, "invalid_request")
        assert response.json()["errors"] == dict.fromkeys(errors, words)
    assert not Refund.objects.exists()
    assert stripe.requests == []


def test_calls_1_and_3_take_no_field(storefront, payment_system, order, stripe):
    bodies: tuple[Any, ...] = ({"amount": 1}, [], "x", 5)
    for caller, route in ((storefront, "payment-intent"), (payment_system, "payment")):
        for body in bodies:
            response = caller.post(f"orders/{order.pk}/{route}", body)
            assert answer(response) == (400, "invalid_request"), (route, body)
    in_no_charset = post(storefront, f"orders/{order.pk}/payment-intent", b'{"\\ud800": 1}')
    assert in_no_charset.json()["errors"] == {"?": ["This field is not known. Remove it."]}
    assert stripe.requests == []


def test_a_body_that_is_not_json_in_utf8_is_refused(office, paid):
    for body, content_type in (
        (b"{", JSON),
        (b'{"amount": NaN}', JSON),
        (b"[" * 100_000, JSON),
        ("{}".encode("utf-16"), f"{JSON}; charset=utf-16"),
        (b'{"a": ' + b"9" * 6000 + b"}", JSON),
    ):
        assert answer(refund(office, paid, body, content_type)) == PARSE_ERROR, body[:20]


FORM = b'--x\r\nContent-Disposition: form-data; name="amount"\r\n\r\n1.00\r\n--x--\r\n'


def read_forms(get_response: Any) -> Any:
    """A middleware of the host that reads forms."""

    def middleware(request: Any) -> Any:
        request.POST.get("language")
        return get_response(request)

    return middleware


def test_a_form_refunds_nothing(client, office, staff, paid, settings):
    """Found: if a middleware had read the form, it was an empty body: a refund of everything."""
    for caller in (office, staff):
        assert answer(refund(caller, paid, FORM, MULTIPART)) == NOT_JSON
        assert answer(refund(caller, paid, b"amount=1.00", URLENCODED)) == NOT_JSON
        assert answer(refund(caller, paid, b"not a form", MULTIPART)) == NOT_JSON
    without_a_body = client.post(f"{BASE}/orders/{paid.pk}/refunds", headers=office.headers)
    assert answer(without_a_body) == NOT_JSON  # Django's test client sends an empty form
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.read_forms"]
    assert answer(refund(office, paid, FORM, MULTIPART)) == NOT_JSON
    assert answer(refund(office, paid, b"amount=1.00", URLENCODED)) == NOT_JSON
    assert not Refund.objects.exists()


def test_calls_1_and_3_take_an_empty_form_and_no_other(
    client, storefront, payment_system, order, stripe, staff
):
    path = f"{BASE}/orders/{order.pk}/payment-intent"
    assert staff.client.post(path, headers=staff.headers).status_code == 200
    assert staff.client.post(path).status_code == 403
    intent = client.post(path, headers=storefront.headers)
    pay(stripe, intent.json()["data"]["id"])
    settled = client.post(f"{BASE}/orders/{order.pk}/payment", headers=payment_system.headers)
    assert (intent.status_code, settled.status_code) == (200, 200)
    with_a_field = post(storefront, f"orders/{order.pk}/payment-intent", FORM, MULTIPART)
    assert answer(with_a_field) == NOT_JSON


LARGE = b'{"amount": "' + b"1" * 3_000_000 + b'"}'


def test_a_body_that_is_too_large_is_refused_in_json(
    storefront, payment_system, office, staff, order, stripe
):
    one = f"orders/{order.pk}"
    for caller, path, content_type in (
        (storefront, f"{one}/payment-intent", JSON),
        (payment_system, f"{one}/payment", MULTIPART),
        (office, f"{one}/refunds", ""),
        (storefront, "webhooks/stripe", JSON),
    ):
        assert answer(post(caller, path, LARGE, content_type)) == TOO_LARGE
    read = storefront.client.generic("GET", f"{BASE}/orders", LARGE, headers=storefront.headers)
    assert answer(read) == TOO_LARGE
    # Django itself would refuse a form of that many fields with a page.
    field = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
    for body in (LARGE, field * 2000 + b"--x--\r\n"):
        assert answer(post(staff, f"{one}/payment-intent", body, MULTIPART)) == TOO_LARGE
    assert stripe.requests == []


def test_the_limit_of_the_host_applies_if_it_is_lower(storefront, order, stripe, settings):
    path = f"orders/{order.pk}/payment-intent"
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert answer(post(storefront, path, b" " * 11)) == TOO_LARGE
    assert post(storefront, path, b"{}").status_code == 200


def test_a_malformed_content_length_does_not_make_the_body_empty(office, paid):
    """Found: REST framework takes a body of unknown length for none, and everything went back."""
    wrong = {"a": PARSE_ERROR, "-1": PARSE_ERROR, "٣": PARSE_ERROR, "9" * 5000: TOO_LARGE}
    for length, expected in wrong.items():
        response = refund(office, paid, b'{"amount": "1.00"}', CONTENT_LENGTH=length)
        assert answer(response) == expected, length[:9]
    office.headers["Transfer-Encoding"] = "chunked"
    in_chunks = refund(office, paid, b'{"amount": "1.00"}', CONTENT_LENGTH="")
    assert answer(in_chunks) == PARSE_ERROR
    assert not Refund.objects.exists()
