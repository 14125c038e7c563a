"""The pages of staff, in German."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import translation

from shop_payments.models import (
    APIKey,
    Order,
    OrderPayment,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from tests.admin.support import RECORDS, add, change, changelist, text_of
from tests.german import english_on

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def language(staff, settings):
    """A browser that asks for German."""
    locale = "django.middleware.locale.LocaleMiddleware"
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], locale, *settings.MIDDLEWARE[1:]]
    staff.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    with translation.override(None):  # the middleware leaves its language active
        yield


def assert_german(response) -> str:
    page = text_of(response)
    assert '<html lang="de"' in page
    assert english_on(page) == [], response.request["PATH_INFO"]
    return page


def test_every_list_and_page_is_in_german(eventful, staff):
    APIKey.objects.issue(label="Web", scopes=["storefront"])
    pages = [reverse("admin:index"), add(Order), add(APIKey)]
    pages += [reverse(f"admin:shop_payments_{name}") for name in ("overview", "records")]
    for model in (*RECORDS, Order, APIKey):
        assert model in admin.site._registry
        pages += [changelist(model), *map(change, model.objects.all())]
    for page in pages:
        assert_german(staff.get(page))
    assert "Erstattet" in staff.read(reverse("admin:shop_payments_overview"))
    staff.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    assert english_on(staff.read(change(eventful))), "the search for English texts finds some"


@pytest.mark.parametrize(
    "state", ["authorized", "disputed", "in_review", "late", "partly_paid", "unresolved", "waived"]
)
def test_every_action_is_in_german(state, staff, request):
    payment: OrderPayment = request.getfixturevalue(state)
    response = staff.get(change(payment))
    assert_german(response)
    for link in response.context["action_links"]:
        if link.url.startswith("/admin/"):
            page = staff.get(link.url)
            assert_german(page)
            if page.context.get("key"):
                # Without the input, so that its errors are shown, or what was done without any.
                assert_german(staff.post(link.url, {"key": page.context["key"]}, follow=True))
    assert_german(staff.get(changelist(ReviewItem)))
    for item in ReviewItem.objects.all():
        assert_german(staff.get(change(item)))
        assert_german(staff.get(reverse("admin:shop_payments_reviewitem_close", args=[item.pk])))
        assert_german(staff.choose("close_selected", item))


def test_messages_and_errors_are_in_german(in_review, staff):
    key, _secret = APIKey.objects.issue(label="Web", scopes=["storefront"])
    assert "Diese Schlüssel widerrufen" in assert_german(staff.choose("revoke", key))
    page = assert_german(staff.choose("revoke", key, sure="yes"))
    assert "1 Schlüssel wurde widerrufen." in page
    page = assert_german(staff.act("refund", amount="200,00"))
    assert "Von dieser Zahlung können höchstens 112,00 USD erstattet werden." in page
    page = assert_german(staff.act("refund", amount="10,00"))
    assert "10,00 USD sind an den Kunden erstattet." in page


def test_what_failed_is_readable(paid, staff):
    failed = {"sentence": "event_failed", "error": "KeyError", "message": ""}
    WebhookEvent.objects.update(status="set_aside", outcome_data=failed)
    StripeAttempt.objects.update(outcome="pending", finished_at=None)
    page = assert_german(staff.get(changelist(WebhookEvent)))
    assert "für das Personal zurückgestellt" in page
    assert "Ein unerwarteter Fehler ist aufgetreten" in page
    assert "KeyError" not in page
    assert "KeyError" in staff.read(WebhookEvent.objects.first())
    assert "noch nicht bekannt" in assert_german(staff.get(changelist(StripeAttempt)))
