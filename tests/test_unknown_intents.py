"""After a restore: Stripe has payments of our orders that the database does not know any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from shop_payments import services
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.testing import StripeSandbox
from tests.admin.support import errors_of, fill_in, links_of, messages_of, money_of, send
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, debit, pay, releases_heard, send_event, writes

pytestmark = pytest.mark.django_db

ASKED = (409, "payment_in_review")


@pytest.fixture
def staff(admin_client):
    return admin_client


def sweep(**options: Any) -> Report:
    return reconcile(since=timezone.now() - timedelta(days=1), **options)


def restore_backup() -> None:
    """Lose every row of this app, as if yesterday's backup were back; the orders were in it."""
    with connection.cursor() as cursor:
        for table in (
            "paymenthistory webhookevent reviewitem refund dispute staffentry paymentintent"
            " stripeattempt orderpayment"
        ).split():
            cursor.execute(f"DELETE FROM shop_payments_{table}")


def lose(storefront, order, stripe, *, paid: bool = False) -> str:
    """Have a payment begun, or paid, and lose it with a restore; return the intent's id."""
    intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
    if paid:
        pay(stripe, intent_id)
    restore_backup()
    return intent_id


def make_elsewhere(stripe, order, *, paid: bool = False, **changes: str) -> str:
    """Have another installation with the same account make an intent; return its id."""
    metadata = {
        "order_id": str(order.pk),
        "order_number": order.number,
        "attempt_id": str(uuid4()),
        **changes,
    }
    intent = call_stripe(
        stripe,
        "POST",
        "payment_intents",
        amount="11200",
        currency="usd",
        **{f"metadata[{name}]": value for name, value in metadata.items()},
        **{"allowed_payment_method_types[]": "card"},
    )
    if paid:
        pay(stripe, intent["id"])
    stripe_id: str = intent["id"]
    return stripe_id


def the_item() -> ReviewItem:
    return ReviewItem.objects.get(reason="unknown_intent")


def accept(client, item: ReviewItem, **form: str) -> Any:
    page = reverse("admin:shop_payments_reviewitem_accept", args=[item.pk])
    return client.post(page, {"sure": "on", **form}, follow=True)


def dismiss(client, item: ReviewItem) -> Any:
    page = reverse("admin:shop_payments_reviewitem_close", args=[item.pk])
    return send(client, page, closing_note="it is of the staging shop")


# --- found --------------------------------------------------------------------------------------


@pytest.mark.parametrize("paid", [True, False])
def test_a_payment_lost_with_a_restore_is_reported_and_nobody_is_charged_again(
    storefront, order, stripe, paid
):
    intent_id = lose(storefront, order, stripe, paid=paid)

    report = sweep()

    assert (report.unknown, report.reviews_opened, report.problems) == (1, 1, [])
    assert report.needs_person
    item = the_item()
    assert (item.subject, item.payment_intent) == (intent_id, None)
    assert f"{intent_id} of 112.00 USD names this order" in item.detail
    response = storefront.payment_intent(order)
    assert answer(response) == ASKED
    assert response.json()["data"] == {"reason": "unknown_intent"}
    shown = storefront.get(f"orders/{order.pk}").json()["data"]
    assert (shown["payable"], shown["outstanding"], shown["needs_review"]) == (
        False,
        "112.00",
        True,
    )
    assert writes(stripe).count("/v1/payment_intents") == 1


def test_an_item_says_what_was_received_and_what_has_gone_back(
    storefront, order, stripe, configure
):
    configure(CAPTURE_METHOD="manual")
    intent_id = lose(storefront, order, stripe, paid=True)
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/capture", amount_to_capture="8000")

    sweep()
    assert the_item().detail.endswith("; its status is succeeded, 80.00 USD received")

    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="3000")
    sweep()
    assert the_item().detail.endswith(", 80.00 USD received, 30.00 USD refunded")


def test_an_item_says_that_a_payment_is_disputed(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id, "pm_card_createDispute")
    restore_backup()

    sweep()

    assert the_item().detail.endswith("112.00 USD received, disputed by the customer's bank")


def test_every_sweep_says_so_until_staff_have_decided(storefront, order, stripe, capsys):
    lose(storefront, order, stripe, paid=True)
    sweep()
    rows = list(ReviewItem.objects.values())

    with pytest.raises(CommandError, match="1 payment intent at Stripe not known here"):
        call_command("shop_payments_reconcile")

    assert list(ReviewItem.objects.values()) == rows


def test_a_dry_run_says_so_and_writes_nothing(storefront, order, stripe):
    lose(storefront, order, stripe, paid=True)

    report = sweep(dry_run=True)

    assert (report.unknown, report.needs_person) == (1, True)
    assert not OrderPayment.objects.exists()


def test_the_event_of_a_lost_payment_has_staff_asked(storefront, order, stripe, webhooks):
    lose(storefront, order, stripe, paid=True)

    webhooks()

    assert answer(storefront.payment_intent(order)) == ASKED
    assert the_item().data["amount"] == 11200


def test_a_refund_of_an_order_that_was_lost_has_nobody_asked_for_what_never_came(
    storefront, order, stripe
):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    restore_backup()

    report = sweep()

    assert (report.unknown, report.needs_person) == (0, False)
    assert answer(storefront.payment_intent(order))[0] == 200


@pytest.mark.parametrize("form", [None, "webhook_thin"])
@pytest.mark.parametrize("kind", ["payment", "refund", "dispute"])
def test_each_event_of_a_lost_payment_asks_staff(storefront, order, stripe, webhooks, form, kind):
    """Found: thin events, and those of refunds and disputes, were "not ours" until a sweep."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    if kind != "payment":
        pay(stripe, intent_id)
        webhooks()
    restore_backup()
    if form:
        stripe.inject(Fault(form, times=None))
    if kind == "payment":
        pay(stripe, intent_id)
    elif kind == "refund":
        call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="100")
    else:
        stripe.dispute(intent_id, deliver=False)

    webhooks()

    assert the_item().subject == intent_id
    assert answer(storefront.payment_intent(order)) == ASKED


def test_an_event_of_a_lost_payment_waits_for_the_right_key(storefront, order, stripe, webhooks):
    """Found: Stripe did not know the payment for a moment, and its event was ignored for ever."""
    lose(storefront, order, stripe, paid=True)
    stripe.inject(Fault("another_account", method="GET", times=None))
    webhooks()
    assert not WebhookEvent.objects.filter(
        type="payment_intent.succeeded", status="ignored"
    ).exists()
    stripe.clear_faults()

    stripe.advance_clock(3600)
    webhooks()

    assert answer(storefront.payment_intent(order)) == ASKED


def test_the_orders_own_open_intent_is_cancelled_while_staff_are_asked(storefront, order, stripe):
    lose(storefront, order, stripe, paid=True)
    second = storefront.payment_intent(order).json()["data"]["id"]  # before the first sweep

    sweep()

    assert call_stripe(stripe, "GET", f"payment_intents/{second}")["status"] == "canceled"
    assert answer(storefront.payment_intent(order)) == ASKED


@pytest.mark.parametrize(
    "changes",
    [
        {"order_number": "ORD-OF-STAGING"},
        {"order_id": "999999"},
        {"order_id": "nine"},
        {"attempt_id": "of another program"},
    ],
    ids=["number", "no such order", "no id", "attempt"],
)
def test_what_names_no_order_of_this_shop_is_left_alone(
    storefront, order, stripe, webhooks, changes
):
    make_elsewhere(stripe, order, paid=True, **changes)

    webhooks()
    report = sweep()

    assert (report.unknown, report.needs_person) == (0, False)
    assert answer(storefront.payment_intent(order))[0] == 200


def test_an_order_that_cannot_be_read_holds_up_no_other(
    storefront, order, stripe, configure, monkeypatch
):
    other = OrderFactory.create(customer=order.customer)
    make_elsewhere(stripe, order, paid=True)
    make_elsewhere(stripe, other, paid=True)
    adapter = f"{__name__}.{Broken.__name__}"
    monkeypatch.setattr(Broken, "broken_pk", order.pk)
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": adapter})

    report = sweep()

    assert report.unknown == 1
    assert len(report.problems) == 1
    assert "OrderAdapter.number" in report.problems[0]


class Broken(BundledOrderAdapter):
    broken_pk: Any = None

    def number(self, order):
        if order.pk == self.broken_pk:
            raise KeyError("number")
        return super().number(order)


# --- another account's key ----------------------------------------------------------------------


@pytest.fixture
def staging() -> Sandbox:
    """A staging shop's account of its own."""
    return StripeSandbox()


@pytest.fixture
def key_of(configure, stripe):
    @contextmanager
    def use(account: Sandbox) -> Iterator[None]:
        configure(**{**stripe.shop_payments(), "STRIPE_TRANSPORT": account.handle})
        yield
        configure(**stripe.shop_payments())

    return use


@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry run"])
def test_a_sweep_with_a_staging_accounts_key_stops_no_order(
    storefront, order, stripe, staging, key_of, dry_run
):
    orders = [order] + [OrderFactory.create(customer=order.customer) for _ in range(3)]
    own = [storefront.payment_intent(each).json()["data"]["id"] for each in orders]
    for each in orders:
        make_elsewhere(staging, each, paid=True)

    written = writes(staging)

    with key_of(staging):
        report = sweep(dry_run=dry_run)

    assert (report.unknown, report.reviews_opened) == (0, 0)
    assert len(report.problems) == 1
    assert "STRIPE_SECRET_KEY" in report.problems[0]
    assert not ReviewItem.objects.exists()
    assert writes(staging) == written
    found = [storefront.payment_intent(each).json()["data"]["id"] for each in orders]
    assert found == own


def test_an_old_payment_of_ours_shows_whose_key_it_is(storefront, order, stripe, staging, key_of):
    paid = OrderFactory.create(customer=order.customer)
    pay(stripe, storefront.payment_intent(paid).json()["data"]["id"])
    sweep()
    make_elsewhere(staging, order, paid=True)
    later = timezone.now() + timedelta(days=9)
    stripe.advance_clock(9 * 24 * 60 * 60)
    other = make_elsewhere(stripe, order, paid=True)

    with time_machine.travel(later, tick=True), key_of(staging):
        staging.advance_clock(9 * 24 * 60 * 60)
        make_elsewhere(staging, order, paid=True)
        assert sweep().unknown == 0
    with time_machine.travel(later, tick=True):
        assert sweep().unknown == 1
    assert the_item().subject == other


def test_a_key_under_which_nothing_of_ours_is_listed_is_reported(
    storefront, order, stripe, staging, key_of
):
    storefront.payment_intent(order)

    with key_of(staging):
        report = sweep()

    assert "STRIPE_SECRET_KEY" in report.problems[0]
    assert not sweep().needs_person


def test_an_item_whose_intent_is_not_at_stripe_for_a_moment_is_still_reported(
    storefront, order, stripe, staging, key_of
):
    lose(storefront, order, stripe, paid=True)
    sweep()

    with key_of(staging):
        report = sweep()

    assert (report.unknown, report.needs_person) == (1, True)
    assert the_item().closed_at is None


# --- accepted -----------------------------------------------------------------------------------


def test_an_accepted_payment_pays_the_order(staff, storefront, order, stripe, paid_signals):
    intent_id = lose(storefront, order, stripe, paid=True)
    sweep()

    response = accept(staff, the_item())

    assert f"The payment {intent_id} is one of this order now" in messages_of(response)[0]
    assert OrderPayment.objects.get().status == "paid"
    assert [each["payment_intent"].stripe_id for each in paid_signals[-1:]] == [intent_id]
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    item = the_item()
    assert (item.closing_note, item.closed_by is not None) == (f"Accepted: {intent_id}", True)
    assert not sweep().needs_person


def test_what_went_back_meanwhile_is_known_after_accepting(staff, storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1200")
    restore_backup()
    sweep()

    accept(staff, the_item())

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1200)


def test_an_accepted_open_intent_is_what_the_customer_goes_on_with(
    staff, storefront, order, stripe, webhooks
):
    intent_id = lose(storefront, order, stripe)
    sweep()

    accept(staff, the_item())

    assert storefront.payment_intent(order).json()["data"]["id"] == intent_id
    pay(stripe, intent_id)
    webhooks()
    assert OrderPayment.objects.get().status == "paid"


def test_an_accepted_intent_with_automatic_payment_methods_is_not_replaced(
    staff, storefront, order, stripe, configure
):
    configure(AUTOMATIC_PAYMENT_METHODS=True)
    intent_id = lose(storefront, order, stripe)
    sweep()

    accept(staff, the_item())

    assert storefront.payment_intent(order).json()["data"]["id"] == intent_id
    assert call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["status"] != "canceled"


def test_two_lost_payments_of_one_order_are_one_paid_and_one_too_much(
    staff, storefront, order, stripe
):
    make_elsewhere(stripe, order, paid=True)
    make_elsewhere(stripe, order, paid=True)
    sweep()
    first, second = ReviewItem.objects.order_by("pk")

    accept(staff, first)
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    accept(staff, second)

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_excess) == ("paid", 11200)
    assert ReviewItem.objects.open().get().reason == "excess"


def test_accepting_twice_is_accepting_once(staff, storefront, order, stripe):
    lose(storefront, order, stripe, paid=True)
    sweep()
    item = the_item()
    accept(staff, item)

    again = accept(staff, item)

    assert messages_of(again) == ["This item had been closed before; nothing was changed."]
    assert PaymentIntent.objects.count() == 1


def test_nothing_is_accepted_beside_a_payment_that_is_processing(
    staff, storefront, order, stripe, webhooks, configure
):
    types = ["card", "us_bank_account"]
    configure(**{**stripe.shop_payments(), "ALLOWED_PAYMENT_METHOD_TYPES": types})
    own = storefront.payment_intent(order).json()["data"]["id"]
    debit(stripe, own, "pm_usBankAccount_processing")
    webhooks()
    other = make_elsewhere(stripe, order)
    sweep()

    response = accept(staff, the_item())

    assert f"another open payment intent, {own}" in errors_of(response)[0]
    assert the_item().closed_at is None
    assert not StripeAttempt.objects.filter(stripe_object_id=other).exists()


def test_nothing_is_accepted_while_stripe_does_not_answer(staff, storefront, order, stripe):
    lose(storefront, order, stripe, paid=True)
    sweep()
    stripe.inject(Fault("drop_before"))

    response = accept(staff, the_item())

    assert "Stripe has not answered" in errors_of(response)[0]
    assert not StripeAttempt.objects.exists()
    assert the_item().closed_at is None


@pytest.mark.parametrize(
    ("path", "card", "state"),
    [
        ("/v1/refunds", "pm_card_visa", ("refunded", "")),
        ("/v1/disputes", "pm_card_createDispute", ("paid", "open")),
    ],
)
def test_nothing_is_accepted_before_it_is_known_what_has_gone_back(
    staff, storefront, order, stripe, path, card, state
):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id, card)
    if path == "/v1/refunds":
        call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)
    restore_backup()
    sweep()
    stripe.inject(Fault("error", status=500, method="GET", path=path, times=9))

    response = accept(staff, the_item())

    assert errors_of(response)
    assert not PaymentIntent.objects.exists()
    assert the_item().closed_at is None
    stripe.clear_faults()
    accept(staff, the_item())
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.dispute_state) == state
    assert not services.may_release(order.pk) or state[0] == "paid"


def test_an_accepted_payment_that_was_refunded_meanwhile_releases_nothing(
    staff, storefront, order, stripe
):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)
    restore_backup()
    sweep()

    with releases_heard() as heard:
        accept(staff, the_item())

    assert heard == {"payment_received": False, "order_paid": False, "order_refunded": False}


def test_an_accepted_payment_of_an_unreadable_order_is_said_to_be_accepted(
    staff, storefront, order, stripe, configure
):
    intent_id = lose(storefront, order, stripe, paid=True)
    sweep()
    configure(ORDER_ADAPTER=f"{__name__}.{WithoutTotal.__name__}")

    response = accept(staff, the_item())

    [message] = messages_of(response)
    assert f"The payment {intent_id} is accepted, but the order could not be read" in message
    assert "It is evaluated again by itself" in message
    assert the_item().closed_at is not None
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    sweep()
    assert OrderPayment.objects.get().status == "paid"


class WithoutTotal(BundledOrderAdapter):
    def total(self, order):
        raise KeyError("total")


def rename(stripe, intent_id: str, order) -> None:
    """Have an intent name another order at Stripe."""
    metadata = {"metadata[order_id]": str(order.pk), "metadata[order_number]": order.number}
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}", **metadata)


def test_a_payment_that_names_another_order_by_now_is_not_accepted(
    staff, storefront, order, stripe
):
    other_order = OrderFactory.create(customer=order.customer)
    intent_id = lose(storefront, order, stripe, paid=True)
    sweep()
    rename(stripe, intent_id, other_order)

    response = accept(staff, the_item())

    assert messages_of(response) == [f"At Stripe, {intent_id} does not name this order any more."]
    assert not PaymentIntent.objects.exists()
    assert the_item().closed_itself
    assert answer(storefront.payment_intent(order))[0] == 200


def test_a_sweep_asks_about_the_order_that_a_payment_names_now(storefront, order, stripe):
    other_order = OrderFactory.create(customer=order.customer)
    intent_id = lose(storefront, order, stripe, paid=True)
    sweep()
    rename(stripe, intent_id, other_order)

    report = sweep()

    assert report.unknown == 1
    assert ReviewItem.objects.open().get().order_payment.order == other_order
    assert answer(storefront.payment_intent(order))[0] == 200


def test_the_second_of_two_payments_that_name_one_attempt_is_refused(staff, order, stripe):
    attempt_id = str(uuid4())
    for _intent in range(2):
        make_elsewhere(stripe, order, paid=True, attempt_id=attempt_id)
    sweep()
    first, second = ReviewItem.objects.order_by("pk")
    accept(staff, first)

    response = accept(staff, second)

    assert f"names the attempt that created {first.subject}" in errors_of(response)[0]
    assert PaymentIntent.objects.get().stripe_id == first.subject


def test_accepting_asks_first(staff, storefront, order, stripe):
    lose(storefront, order, stripe, paid=True)
    sweep()
    item = the_item()

    page = staff.get(reverse("admin:shop_payments_reviewitem_accept", args=[item.pk]))
    without_tick = accept(staff, item, sure="")

    assert "Its money counts for the order" in page.content.decode()
    assert errors_of(without_tick)
    assert not PaymentIntent.objects.exists()
    assert (
        "until it is known what an unknown payment is"
        in money_of(staff, item.order_payment)["Outstanding"]
    )
    assert links_of(staff, item)[0] == "Accept this payment"
    assert links_of(staff, item)[-1] == "Dismiss"


def test_who_may_only_look_accepts_nothing(client, django_user_model, storefront, order, stripe):
    from django.contrib.auth.models import Permission

    lose(storefront, order, stripe, paid=True)
    sweep()
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(viewer)
    asked = len(stripe.requests)

    assert accept(client, the_item()).status_code == 403
    assert len(stripe.requests) == asked
    assert the_item().closed_at is None


# --- dismissed, and gone by itself --------------------------------------------------------------


def test_a_dismissed_payment_blocks_nobody_and_is_not_asked_about_again(
    staff, storefront, order, stripe
):
    other = make_elsewhere(stripe, order)
    sweep()

    dismiss(staff, the_item())

    assert not sweep().needs_person
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    assert intent_id != other
    assert the_item().closing_note == "it is of the staging shop"


def test_a_payment_made_since_the_page_was_opened_is_not_dismissed(
    staff, storefront, order, stripe, webhooks
):
    intent_id = lose(storefront, order, stripe)
    sweep()
    page = reverse("admin:shop_payments_reviewitem_close", args=[the_item().pk])
    form = fill_in(staff, page, closing_note="nobody has paid it")
    pay(stripe, intent_id)
    webhooks()

    response = staff.post(page, form)

    assert "changed since this page was opened" in errors_of(response)[0]
    assert the_item().closed_at is None
    assert answer(storefront.payment_intent(order)) == ASKED


def test_payments_made_since_the_page_was_opened_are_not_dismissed_together(
    staff, storefront, order, stripe, webhooks
):
    intent_id = lose(storefront, order, stripe)
    sweep()
    page = reverse("admin:shop_payments_reviewitem_changelist")
    selected = {"action": "close_selected", "_selected_action": [the_item().pk]}
    shown = staff.post(page, selected).context["form"]["shown"].value()
    pay(stripe, intent_id)
    webhooks()

    staff.post(page, {**selected, "shown": shown, "closing_note": "nobody has paid them"})

    assert the_item().closed_at is None
    assert answer(storefront.payment_intent(order)) == ASKED


def test_staff_who_dismissed_a_payment_by_mistake_can_still_accept_it(
    staff, storefront, order, stripe
):
    lose(storefront, order, stripe, paid=True)
    sweep()
    dismiss(staff, the_item())
    assert links_of(staff, the_item()) == ["Accept this payment"]

    response = accept(staff, the_item())

    assert "is one of this order now. The order is paid." in messages_of(response)[0]
    assert the_item().closing_note.startswith("Accepted: ")
    assert links_of(staff, the_item()) == []
    assert not sweep().needs_person


def test_an_item_that_closed_itself_is_not_accepted(staff, storefront, order, stripe):
    other = make_elsewhere(stripe, order)
    sweep()
    call_stripe(stripe, "POST", f"payment_intents/{other}/cancel")
    sweep()

    accept(staff, the_item())

    assert links_of(staff, the_item()) == []
    assert not PaymentIntent.objects.exists()


def test_money_that_comes_with_a_dismissed_intent_is_asked_about_again(
    staff, storefront, order, stripe
):
    other = make_elsewhere(stripe, order)
    sweep()
    dismiss(staff, the_item())

    pay(stripe, other)

    assert sweep().unknown == 1
    assert the_item().closed_at is None
    assert answer(storefront.payment_intent(order)) == ASKED


def test_money_that_is_reserved_with_a_dismissed_intent_is_asked_about_again(
    staff, storefront, order, stripe, configure, webhooks
):
    configure(CAPTURE_METHOD="manual")
    intent_id = lose(storefront, order, stripe)
    sweep()
    dismiss(staff, the_item())

    pay(stripe, intent_id)
    webhooks()

    assert the_item().closed_at is None
    dismiss(staff, the_item())
    assert not sweep().needs_person  # they have seen that it is reserved
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/capture")
    assert sweep().unknown == 1


def test_a_debit_of_a_dismissed_intent_is_asked_about_again(
    staff, storefront, order, stripe, configure
):
    configure(ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    intent_id = lose(storefront, order, stripe)
    sweep()
    dismiss(staff, the_item())

    debit(stripe, intent_id, "pm_usBankAccount_processing")

    assert sweep().unknown == 1
    assert answer(storefront.payment_intent(order)) == ASKED


class OlderPage:
    """A Stripe whose next list was read before something else happened."""

    def __init__(self, stripe: Sandbox) -> None:
        self._stripe = stripe
        self._page: Any = None

    def read(self) -> None:
        path = "/v1/payment_intents?limit=100&expand[]=data.latest_charge"
        headers = {"Authorization": "Bearer sk_test_of_the_tests"}
        self._page = self._stripe.handle("GET", path, headers)

    def handle(self, method: str, url: str, *args: Any) -> Any:
        is_list = method.upper() == "GET" and "/v1/payment_intents?" in url
        return self._page if is_list else self._stripe.handle(method, url, *args)


@pytest.mark.parametrize("dismissed", [True, False])
def test_an_older_page_changes_nothing_about_a_payment_that_was_made_since(
    staff, order, stripe, configure, dismissed
):
    other = make_elsewhere(stripe, order)
    older = OlderPage(stripe)
    older.read()
    pay(stripe, other)
    sweep()
    if dismissed:
        dismiss(staff, the_item())
    before = ReviewItem.objects.values().get()

    configure(**{**stripe.shop_payments(), "STRIPE_TRANSPORT": older.handle})
    sweep()

    assert ReviewItem.objects.values().get() == before


def test_a_dry_run_counts_what_a_sweep_would_ask_about(staff, order, stripe):
    other = make_elsewhere(stripe, order)
    sweep()
    assert sweep(dry_run=True).unknown == 1

    dismiss(staff, the_item())
    assert not sweep(dry_run=True).needs_person

    pay(stripe, other)
    assert sweep(dry_run=True).unknown == 1
    assert the_item().closed_at is not None


def test_a_dry_run_counts_no_cancelled_intent(order, stripe):
    other = make_elsewhere(stripe, order)
    call_stripe(stripe, "POST", f"payment_intents/{other}/cancel")

    assert sweep(dry_run=True).unknown == 0


def test_an_unknown_intent_that_is_cancelled_at_stripe_closes_its_item(storefront, order, stripe):
    other = make_elsewhere(stripe, order)
    sweep()

    call_stripe(stripe, "POST", f"payment_intents/{other}/cancel")

    assert not sweep().needs_person
    assert the_item().closed_itself
    assert answer(storefront.payment_intent(order))[0] == 200


def test_an_unknown_intent_too_old_to_be_listed_is_still_looked_at(storefront, order, stripe):
    other = make_elsewhere(stripe, order)
    sweep()
    call_stripe(stripe, "POST", f"payment_intents/{other}/cancel")
    stripe.advance_clock(2 * 24 * 60 * 60)

    reconcile(since=timezone.now() + timedelta(days=1))

    assert the_item().closed_itself


def test_money_that_comes_while_staff_are_asked_says_what_is_outstanding(
    storefront, order, stripe, configure
):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": "tests.api.adapters.Deposit"})
    own = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, own)
    other = make_elsewhere(stripe, order)
    for intent_id in (other, own):
        send_event(call_stripe(stripe, "GET", f"payment_intents/{intent_id}"))

    fact = PaymentHistory.objects.get(kind="payment_received")

    assert OrderPayment.objects.get().has_unknown_intent
    assert fact.data["outstanding"] == 11200 - fact.data["amount"] > 0


def test_an_account_whose_test_data_was_deleted_is_not_blamed(storefront, order, stripe):
    storefront.payment_intent(order)
    stripe._books.payment_intents.clear()
    PaymentIntent.objects.update(status="missing")
    other = OrderFactory.create()
    make_elsewhere(stripe, other, paid=True)

    report = sweep()

    assert (report.problems, report.unknown) == ([], 1)


def test_a_lost_creation_stops_no_order_after_test_data_was_deleted(storefront, order, stripe):
    """Found: the newest intent was paid, so it could not prove the account any more."""
    other = OrderFactory.create(customer=order.customer)
    paid = storefront.payment_intent(other).json()["data"]["id"]
    pay(stripe, paid)
    send_event(call_stripe(stripe, "GET", f"payment_intents/{paid}"))
    stripe.inject(Fault("drop_before", method="POST", path="/v1/payment_intents"))
    assert storefront.payment_intent(order).status_code == 503
    stripe._books.payment_intents.clear()

    with time_machine.travel(timezone.now() + timedelta(hours=30), tick=True):
        assert answer(storefront.payment_intent(order)) == (200, None)
