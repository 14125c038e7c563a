"""What staff type: read in one strict form, and shown with its effect before it is final."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.urls import reverse

from shop_payments.models import OrderPayment, PaymentIntent, Refund, StaffEntry
from shop_payments.sandbox import Fault
from tests.admin.support import (
    act,
    change,
    errors_of,
    fill_in,
    messages_of,
    page_of,
    text_of,
    values_of,
)
from tests.after_paid.support import refunds_at_stripe
from tests.support import writes

pytestmark = pytest.mark.django_db(transaction=True)

ACTIONS = {
    "refund": ("paid", {}),
    "capture": ("authorized", {"rest": "owed"}),
    "waive": ("partly_paid", {"reason": "Agreed."}),
    "settle": ("paid", {"reason": "Agreed."}),
}
"""The actions with an amount: the state that each needs, and what else has to be filled in."""

with_each = pytest.mark.parametrize("action", ACTIONS)
in_languages = pytest.mark.parametrize(
    ("language", "example"), [("en", "1250.00"), ("de", "1250,00"), ("fr", "1250,00")]
)


@pytest.fixture
def to_fill_in(request, staff):
    """Open the page of an action, and return what a browser would send back from it."""

    def open_page(action: str, **changes: str) -> tuple[str, dict[str, str]]:
        state, more = ACTIONS[action]
        request.getfixturevalue(state)
        page = page_of(action)
        return page, {**values_of(staff.get(page)), **more, **changes}

    return open_page


def has_happened(stripe) -> bool:
    is_captured = any(path.endswith("/capture") for path in writes(stripe))
    return is_captured or Refund.objects.exists() or StaffEntry.objects.exists()


def effect_of(response) -> str:
    """What the page says will happen."""
    text = text_of(response)
    found = re.search(r'<div class="description">(.*?)</div>', text, re.S)
    return "" if found is None else found[1].strip()


# --- the form of an amount ----------------------------------------------------------------------


REFUSED = [
    *("1.250", "1,250", "1.250,00", "1,250.00", "1 250.00", "1_250", "1'250"),
    *("+1", "-1", "1e1", "1.", ".5", "1.5", "1,5", "1.005", "NaN", "\u0661", "\uff11.00"),
    *("1\u00a0250", "1 .00", "0x1", "5 USD", "\u0661.00"),
]


@with_each
@in_languages
def test_any_other_form_of_an_amount_is_refused_with_an_example(
    language, example, action, to_fill_in, staff, stripe, settings
):
    settings.LANGUAGE_CODE = language
    page, form = to_fill_in(action)

    for amount in REFUSED:
        response = staff.post(page, {**form, "amount": amount, "sure": "on"})

        assert response.context["form"].errors["amount"] == [f"Write the amount like {example}."]
        assert 'name="sure"' not in text_of(response)
    assert not has_happened(stripe)


@with_each
@pytest.mark.parametrize(
    ("language", "amount", "wrong"), [("en", "3.00", "3,00"), ("de", "3,00", "3.00")]
)
def test_an_amount_is_written_as_the_readers_language_writes_it(
    language, amount, wrong, action, to_fill_in, staff, stripe, settings
):
    settings.LANGUAGE_CODE = language
    page, form = to_fill_in(action)
    assert errors_of(staff.post(page, {**form, "amount": wrong}))

    form |= values_of(staff.post(page, {**form, "amount": amount}))
    response = staff.post(page, {**form, "sure": "on"}, follow=True)

    assert response.redirect_chain == [(change(OrderPayment.objects.get()), 302)]
    assert has_happened(stripe)


@with_each
@pytest.mark.parametrize(("language", "separator"), [("en", "."), ("de", ",")])
def test_a_form_proposes_an_amount_in_the_form_that_it_reads(
    language, separator, action, to_fill_in, staff, settings
):
    settings.LANGUAGE_CODE = language
    page, form = to_fill_in(action)

    assert re.fullmatch(f"[0-9]+{re.escape(separator)}00", form["amount"])
    assert effect_of(staff.post(page, form))


@pytest.mark.parametrize("amount", [" 12.50", "12.50 ", "\t12.50\n", "012.50"])
def test_spaces_around_an_amount_do_not_matter(amount, paid, staff):
    act(staff, "refund", amount=amount)

    assert Refund.objects.get().amount == 1250


def test_the_language_is_that_of_the_request(paid, staff, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]

    for language, amount in (("de", "112,00"), ("en", "112.00")):
        page = staff.get(page_of("refund"), headers={"Accept-Language": language})
        assert values_of(page)["amount"] == amount


def test_staff_who_type_1_250_do_not_capture_1_25(open_shop, configure, stripe, staff):
    """Found: 1.25 was captured of 1250.00, and 1248.75 released for good."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    shop = open_shop(1250)
    stripe.pay(shop.begin(1250))

    for amount in ("1.250", "1,250"):
        response = act(staff, "capture", amount=amount, rest="owed")
        assert errors_of(response) == ["Write the amount like 1250.00."]
    act(staff, "capture", amount="1250")

    assert PaymentIntent.objects.get().amount_received == 125000


# --- the effect ---------------------------------------------------------------------------------

EFFECTS = [
    (
        *("refund", "paid", {"amount": "40.00"}),
        "40.00 of 112.00 USD will go back to the customer. After that, the order owes nothing.",
    ),
    (
        *("refund", "paid", {"amount": "40.00", "kind": "correction"}),
        "40.00 of 112.00 USD will go back to the customer. After that, the order owes 40.00 USD.",
    ),
    (
        *("refund", "paid", {}),
        "112.00 USD will go back to the customer. After that, the order owes nothing.",
    ),
    (
        *("refund", "in_review", {"amount": "4.00"}),
        "4.00 of 112.00 USD will go back to the customer. After that, 6.00 USD was received too"
        " much.",
    ),
    (
        *("refund", "late", {"amount": "40.00"}),
        "40.00 of 112.00 USD will go back to the customer.",
    ),
    (
        *("capture", "authorized", {"amount": "100.00", "rest": "owed"}),
        "100.00 of 112.00 USD will be captured; 12.00 USD will be released to the customer and is"
        " still owed. After that, the order owes 12.00 USD.",
    ),
    (
        *("capture", "authorized", {"amount": "100.00", "rest": "waived"}),
        "100.00 of 112.00 USD will be captured; 12.00 USD will be released to the customer and is"
        " waived: nobody has to pay it. After that, the order owes nothing.",
    ),
    (
        *("capture", "authorized", {}),
        "112.00 USD will be captured: all that is reserved. After that, the order owes nothing.",
    ),
    (
        *("waive", "partly_paid", {"amount": "3.00", "reason": "Agreed."}),
        "3.00 of 8.00 USD will be waived: nobody has to pay it. After that, the order owes 5.00"
        " USD.",
    ),
    (
        *("settle", "paid", {"amount": "40.00", "reason": "Agreed."}),
        "40.00 of 112.00 USD will be recorded as settled outside Stripe. No money moves at Stripe."
        " After that, the order owes 40.00 USD.",
    ),
    (
        *("settle", "late", {"amount": "40.00", "reason": "Agreed."}),
        "40.00 of 112.00 USD will be recorded as settled outside Stripe. No money moves at Stripe.",
    ),
]


@pytest.mark.parametrize(("action", "state", "changes", "effect"), EFFECTS)
def test_the_effect_is_shown_before_it_is_final(
    action, state, changes, effect, request, staff, stripe
):
    request.getfixturevalue(state)
    page = page_of(action)
    first = staff.get(page)
    assert 'name="sure"' not in text_of(first)

    response = staff.post(page, {**values_of(first), **changes})

    assert effect_of(response) == effect
    assert response.context["form"].errors == {}
    [tick] = re.findall('<input type="checkbox" name="sure"[^>]*>', text_of(response))
    assert "checked" not in tick
    assert not has_happened(stripe)


@pytest.mark.parametrize(
    ("action", "state", "changes", "_effect"), [each for each in EFFECTS if each[1] != "late"]
)
def test_it_does_what_the_effect_says(action, state, changes, _effect, request, staff):
    request.getfixturevalue(state)
    page = page_of(action)
    form = {**values_of(staff.get(page)), **changes}
    shown = staff.post(page, form)

    staff.post(page, {**form, **values_of(shown), "sure": "on"}, follow=True)

    payment = OrderPayment.objects.get()
    promised = re.search(r"After that, (.*?)\.$", effect_of(shown))
    assert promised is not None
    if payment.amount_excess:
        truth = f"{payment.amount_excess / 100:.2f} USD was received too much"
    elif payment.amount_owed:
        truth = f"the order owes {payment.amount_owed / 100:.2f} USD"
    else:
        truth = "the order owes nothing"
    assert promised[1] == truth


def test_the_capture_of_a_cancelled_order_says_that_the_money_will_not_count(authorized, staff):
    OrderPayment.objects.update(is_payable=False)
    page = page_of("capture")

    response = staff.post(page, values_of(staff.get(page)))

    assert "The shop wants no money for this order" in effect_of(response)
    OrderPayment.objects.update(is_payable=True)


@with_each
def test_a_tick_counts_only_below_exactly_what_was_shown(action, to_fill_in, staff, stripe):
    """The amount is changed after its effect was shown."""
    page, form = to_fill_in(action, amount="3.00")
    shown = {**form, **values_of(staff.post(page, form))}

    response = staff.post(page, {**shown, "amount": "2.00", "sure": "on"})

    assert effect_of(response).startswith("2.00 of")
    assert 'name="sure"' in text_of(response)
    assert "checked" not in re.findall('<input type="checkbox"[^>]*>', text_of(response))[0]
    assert not has_happened(stripe)
    staff.post(page, {**shown, **values_of(response), "amount": "2.00", "sure": "on"})
    assert has_happened(stripe)


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("capture", {"rest": "owed"}, {"rest": "waived"}),
        ("refund", {"kind": "goods"}, {"kind": "correction"}),
    ],
)
def test_a_tick_counts_only_below_the_same_choice(action, before, after, to_fill_in, staff, stripe):
    page, form = to_fill_in(action, amount="3.00", **before)
    shown = {**form, **values_of(staff.post(page, form))}

    response = staff.post(page, {**shown, **after, "sure": "on"})

    assert effect_of(response)
    assert not has_happened(stripe)


@with_each
@pytest.mark.parametrize("confirmed", ["", "300", "200:usd", "x", "on"])
def test_a_tick_without_the_effect_does_nothing(confirmed, action, to_fill_in, staff, stripe):
    page, form = to_fill_in(action, amount="3.00")

    response = staff.post(page, {**form, "confirmed": confirmed, "sure": "on"})

    assert effect_of(response)
    assert not has_happened(stripe)


@with_each
def test_the_effect_without_the_tick_does_nothing(action, to_fill_in, staff, stripe):
    page, form = to_fill_in(action, amount="3.00")
    shown = {**form, **values_of(staff.post(page, form))}

    response = staff.post(page, shown)

    assert response.context["form"].errors == {"sure": ["This field is required."]}
    assert effect_of(response)
    assert not has_happened(stripe)


@with_each
def test_an_error_takes_the_tick_away(action, to_fill_in, staff, stripe):
    page, form = to_fill_in(action, amount="3.00")
    shown = {**form, **values_of(staff.post(page, form)), "sure": "on"}

    response = staff.post(page, {**shown, "amount": "999999.00"})

    assert list(response.context["form"].errors) == ["amount"]
    assert 'name="sure"' not in text_of(response)
    assert values_of(response)["confirmed"] == ""
    assert not has_happened(stripe)


# --- going back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [*ACTIONS, "cancel", "revoke"])
def test_the_page_is_not_stored_by_the_browser(action, request, staff):
    states = {name: state for name, (state, _more) in ACTIONS.items()}
    request.getfixturevalue({**states, "cancel": "open_payment", "revoke": "waived"}[action])
    page = page_of(action)
    first = staff.get(page)
    second = staff.post(page, {**values_of(first), "reason": ""})

    for response in (first, second):
        assert "no-store" in response.headers["Cache-Control"]
        assert '<form method="post" autocomplete="off"' in text_of(response)


def test_the_tick_is_not_filled_in_by_the_browser(paid, staff):
    page = page_of("refund")
    response = staff.post(page, values_of(staff.get(page)))

    [tick] = re.findall('<input type="checkbox" name="sure"[^>]*>', text_of(response))
    assert 'autocomplete="off"' in tick


@pytest.mark.parametrize(
    ("action", "done"),
    [
        ("refund", "3.00 USD goes back to the customer."),
        ("waive", "3.00 USD is waived."),
        ("settle", "is settled outside Stripe."),
    ],
)
def test_a_used_form_leads_to_the_payment_with_what_came_of_it(action, done, to_fill_in, staff):
    page, form = to_fill_in(action, amount="3.00")
    sent = {**form, **values_of(staff.post(page, form)), "sure": "on"}
    staff.post(page, sent, follow=True)

    back = [
        staff.get(page, {"key": sent["key"]}, follow=True),
        staff.post(page, form, follow=True),
        staff.post(page, {**sent, "amount": "2.00"}, follow=True),
        staff.post(page, {**sent, "amount": "1.250"}, follow=True),
    ]

    for response in back:
        assert response.redirect_chain == [(change(OrderPayment.objects.get()), 302)]
        assert done in messages_of(response)[-1]
    assert "has been used already, and nothing more was done" in messages_of(back[0])[-1]
    assert Refund.objects.count() + StaffEntry.objects.count() == 1


def test_the_page_of_a_used_form_says_that_a_refund_is_not_known_yet(
    paid, staff, stripe, configure
):
    configure(MAX_NETWORK_RETRIES=0)
    page = page_of("refund")
    form = fill_in(staff, page, amount="3.00")
    stripe.inject(Fault("drop_before", path="/v1/refunds"))
    staff.post(page, form)

    response = staff.get(page, {"key": form["key"]}, follow=True)

    assert "It is not known yet whether Stripe has made the refund" in messages_of(response)[-1]
    assert not refunds_at_stripe(stripe)


def test_an_unused_key_in_the_address_is_the_forms(paid, staff):
    key = str(uuid4())

    assert values_of(staff.get(page_of("refund"), {"key": key}))["key"] == key


@pytest.mark.parametrize("key", ["", "x", "\u0661", "0" * 99])
def test_what_is_no_key_in_the_address_is_ignored(key, paid, staff):
    assert len(values_of(staff.get(page_of("refund"), {"key": key}))["key"]) == 36


def test_the_key_of_another_payments_form_was_not_used_here(open_shop, staff):
    one, other = open_shop(112), open_shop(50)
    pages = []
    for shop in (one, other):
        intent = shop.intent(shop.pay(shop.order.amount // 100))
        args = [shop.payment.pk, intent.pk]
        pages.append(reverse("admin:shop_payments_orderpayment_refund", args=args))
    form = fill_in(staff, pages[0], amount="3.00")
    staff.post(pages[0], form)

    assert staff.get(pages[1], {"key": form["key"]}).status_code == 200
