"""Bodies: JSON in UTF-8 of a bounded size, without a key given twice; no forms."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from shop_payments.models import APIKeyScope, Refund
from tests.conftest import issue_key
from tests.support import BASE, Caller, answer, pay

pytestmark = pytest.mark.django_db

JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.fixture
def office(db: None) -> Caller:
    return Caller(key=issue_key(APIKeyScope.REFUNDS))


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


# --- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b'{"amount": "1.00", "amount": "100.00"}', ["amount"]),
        (b'{"amount": "1.00", "am\\u006funt": "1.00"}', ["amount"]),
        (b'{"a": 1, "b": 1, "a": 1, "b": 1}', ["a", "b"]),
        (b'{"amount": {"x": 1, "x": 2}}', ["x"]),
        (b'{"\\ud800": 1, "\\ud800": 2}', ["?"]),
    ],
)
def test_a_key_given_twice_is_named_and_nothing_is_refunded(office, paid, stripe, body, errors):
    stripe.requests.clear()

    response = refund(office, paid, body)

    assert answer(response) == (400, "invalid_request")
    assert response.json()["errors"] == {
        key: ["This field is given more than once."] for key in errors
    }
    assert not Refund.objects.exists()
    assert stripe.requests == []


@pytest.mark.parametrize("body", [{"amount": 1}, [], "x", 5])
@pytest.mark.parametrize("route", ["payment-intent", "payment"])
def test_calls_1_and_3_take_no_field(storefront, payment_system, order, stripe, route, body):
    caller = storefront if route == "payment-intent" else payment_system

    assert answer(caller.post(f"orders/{order.pk}/{route}", body)) == (400, "invalid_request")
    assert stripe.requests == []


@pytest.mark.parametrize("accept", [JSON, "text/html"])
def test_a_field_that_utf8_cannot_encode(storefront, order, accept):
    storefront.headers["Accept"] = accept

    response = post(storefront, f"orders/{order.pk}/payment-intent", b'{"\\ud800": 1}')

    assert response.status_code == 400
    if accept == JSON:
        assert response.json()["errors"] == {"?": ["This field is not known."]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", JSON),
        (b'{"amount": NaN}', JSON),
        (b"[" * 100_000, JSON),
        (b"\xff\xfe{}", JSON),
        ("{}".encode("utf-16"), f"{JSON}; charset=utf-16"),
        (b'{"a": ' + b"9" * 6000 + b"}", JSON),
    ],
    ids=["cut off", "NaN", "deep", "not UTF-8", "UTF-16", "a long number"],
)
def test_a_body_that_is_not_json_in_utf8(office, paid, body, content_type):
    assert answer(refund(office, paid, body, content_type)) == (400, "parse_error")


@pytest.mark.parametrize("charset", ["base64", "undefined", "latin-1"])
def test_the_charset_is_ignored(storefront, order, stripe, charset):
    content_type = f"{JSON}; charset={charset}"

    posted = post(storefront, f"orders/{order.pk}/payment-intent", b"{}", content_type)
    listed = storefront.client.generic(
        "GET", f"{BASE}/orders?page=%31", content_type=content_type, headers=storefront.headers
    )

    assert (posted.status_code, listed.status_code) == (200, 200)


# --- forms --------------------------------------------------------------------------------------

FORM = b'--x\r\nContent-Disposition: form-data; name="amount"\r\n\r\n1.00\r\n--x--\r\n'
FORMS = [
    (FORM, MULTIPART),
    (b"amount=1.00", URLENCODED),
    (b"not a form", MULTIPART),
    (b"amount=1.00", "multipart/form-data"),
]


@pytest.mark.parametrize(("body", "content_type"), FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("who", ["office", "staff"])
def test_a_form_refunds_nothing(request, paid, body, content_type, who):
    response = refund(request.getfixturevalue(who), paid, body, content_type)

    assert answer(response) in [(415, "unsupported_media_type"), (400, "parse_error")]
    assert not Refund.objects.exists()


def read_forms(get_response: Any) -> Any:
    """A middleware of the host that reads forms."""

    def middleware(request: Any) -> Any:
        request.POST.get("language")
        return get_response(request)

    return middleware


@pytest.mark.parametrize(("body", "content_type"), FORMS[:2], ids=["multipart", "urlencoded"])
def test_a_form_that_a_middleware_has_read_refunds_nothing(
    office, paid, settings, body, content_type
):
    """Found: the body counted as empty, and all of the payment went back."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.read_forms"]

    assert answer(refund(office, paid, body, content_type)) == (415, "unsupported_media_type")
    assert not Refund.objects.exists()


def test_an_empty_form_is_no_refund(client, office, paid):
    """Django's test client sends one where it is given no body."""
    response = client.post(f"{BASE}/orders/{paid.pk}/refunds", headers=office.headers)

    assert answer(response) == (415, "unsupported_media_type")


def test_an_empty_form_is_accepted_where_no_field_is_taken(
    client, storefront, payment_system, order, stripe, staff
):
    path = f"{BASE}/orders/{order.pk}/payment-intent"
    assert staff.client.post(path, headers=staff.headers).status_code == 200
    assert staff.client.post(path).status_code == 403

    intent = client.post(path, headers=storefront.headers)
    pay(stripe, intent.json()["data"]["id"])
    settled = client.post(f"{BASE}/orders/{order.pk}/payment", headers=payment_system.headers)

    assert (intent.status_code, settled.status_code) == (200, 200)


def test_a_form_with_fields_is_refused_where_no_field_is_taken(storefront, order):
    response = post(storefront, f"orders/{order.pk}/payment-intent", FORM, MULTIPART)

    assert answer(response) == (415, "unsupported_media_type")


# --- size ---------------------------------------------------------------------------------------

LARGE = b'{"amount": "' + b"1" * 3_000_000 + b'"}'


@pytest.mark.parametrize("content_type", [JSON, MULTIPART, URLENCODED, ""])
def test_a_body_that_is_too_large_gets_json(
    storefront, payment_system, office, order, stripe, content_type
):
    one = f"orders/{order.pk}"
    for caller, path in (
        (storefront, f"{one}/payment-intent"),
        (payment_system, f"{one}/payment"),
        (office, f"{one}/refunds"),
        (storefront, "webhooks/stripe"),
    ):
        response = post(caller, path, LARGE, content_type)

        assert answer(response) == (413, "payload_too_large")
        assert response.json()["message"] == "The body is too large."
    assert stripe.requests == []


@pytest.mark.parametrize("path", ["", "orders"])
def test_a_large_body_of_a_get_gets_json(storefront, path):
    response = storefront.client.generic(
        "GET", f"{BASE}/{path}", LARGE, content_type=JSON, headers=storefront.headers
    )

    assert answer(response) == (413, "payload_too_large")


def test_staff_with_a_large_form_get_json(order, staff):
    """Django itself refuses a form of that many fields, with a page."""
    field = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
    for body in (LARGE, field * 2000 + b"--x--\r\n"):
        response = post(staff, f"orders/{order.pk}/payment-intent", body, MULTIPART)

        assert answer(response) == (413, "payload_too_large")


@pytest.mark.parametrize("limit", [10, None])
def test_the_limit_of_the_host_counts_where_it_is_lower(storefront, order, stripe, settings, limit):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = limit
    path = f"orders/{order.pk}/payment-intent"

    assert answer(post(storefront, path, LARGE)) == (413, "payload_too_large")
    assert post(storefront, path, b"{}").status_code == 200


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ("a", (400, "parse_error")),
        ("-1", (400, "parse_error")),
        ("٣", (400, "parse_error")),
        ("9" * 5000, (413, "payload_too_large")),
    ],
    ids=["a letter", "negative", "other digits", "many digits"],
)
def test_a_malformed_content_length_does_not_make_the_body_empty(office, paid, length, expected):
    response = refund(office, paid, b'{"amount": "1.00"}', CONTENT_LENGTH=length)

    assert answer(response) == expected
    assert not Refund.objects.exists()


def test_a_body_in_chunks_does_not_count_as_empty(office, paid):
    """Found: REST framework ignores a body of unknown length, and all went back."""
    office.headers["Transfer-Encoding"] = "chunked"

    response = refund(office, paid, b'{"amount": "1.00"}', CONTENT_LENGTH="")

    assert answer(response) == (400, "parse_error")
    assert response.json()["message"] == "Send the body with a Content-Length."
    assert not Refund.objects.exists()
