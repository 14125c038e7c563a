"""Every snippet in the README and in docs is run by a test.

A Python or JSON snippet has a test here, marked with :func:`snippet`; a command line is checked by
:func:`check_command`. Others are run elsewhere: see :func:`is_run_elsewhere`.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import django
import pytest
import stripe as stripe_sdk
from django.core import mail
from django.core.cache import CacheHandler
from django.core.management import get_commands, load_command_class
from django.db import migrations
from django.test import Client
from django.utils import timezone

from shop_payments import services, signals
from shop_payments.conf import Config, get_config
from shop_payments.ledger.facts import Origin
from shop_payments.models import (
    APIKeyScope,
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    Source,
    StaffEntry,
)
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.services.record_staff_entry import EntryRequest
from shop_payments.sync.balance_transactions import fetch_fees
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.reliability.__main__ import plan
from tests.support import BASE, call_stripe

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True)
class Snippet:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    comment: str  # in the line above

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        before = text[: match.start()].splitlines()
        yield Snippet(
            page=str(page.relative_to(ROOT)),
            line=len(before) + 1,
            language=match["language"],
            text=textwrap.dedent(match["text"]),
            comment=before[-1] if before and before[-1].startswith("<!--") else "",
        )


PICTURE = "none"
"""The language of a fenced block that is a picture."""

SNIPPETS = [each for page in PAGES for each in read(page) if each.language != PICTURE]
ADAPTER = (ROOT / "tests" / "hostshop" / "adapter.py").read_text(encoding="utf-8")


def is_run_elsewhere(snippet: Snippet) -> bool:
    """CI runs `ci:`, tests/test_own_project.py `own project:`, tests/testing/test_stranger.py
    `file:`, and the adapter is the one of tests/hostshop."""
    return snippet.text == ADAPTER or bool(
        re.match(r"<!-- (ci|own project|file): ?", snippet.comment)
    )


# --- which test runs which ----------------------------------------------------------------------

RUN: dict[tuple[str, str], Callable[..., Any]] = {}


def snippet(page: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark the test of the snippet of ``page`` in which these words stand."""

    def mark(test: Callable[..., Any]) -> Callable[..., Any]:
        RUN[page, words] = test
        found = [each for each in SNIPPETS if (each.page, words in each.text) == (page, True)]
        assert len(found) == 1, f"{len(found)} snippets of {page} have {words!r}"
        with_text = pytest.mark.parametrize("text", [found[0].text], ids=map(str, found))
        return cast("Callable[..., Any]", with_text(test))

    return mark


def test_every_snippet_is_run():
    assert {each.language for each in SNIPPETS} <= {"python", "json", *COMMANDS}
    assert [
        str(each)
        for each in SNIPPETS
        if each.language not in COMMANDS
        and not is_run_elsewhere(each)
        and not any(each.page == page and words in each.text for page, words in RUN)
    ] == []


# --- the scene ----------------------------------------------------------------------------------


@dataclass
class Recorded:
    """A model of the host's shop, which keeps its rows."""

    rows: dict[Any, Any] = field(default_factory=dict)

    @property
    def objects(self) -> Recorded:
        return self

    def get_or_create(self, *, fact_id: Any, defaults: dict[str, Any]) -> tuple[Any, bool]:
        is_new = fact_id not in self.rows
        return self.rows.setdefault(fact_id, defaults), is_new


@pytest.fixture
def paid(order: Order, stripe_sandbox: StripeSandbox) -> Order:
    """An order of 112.00 usd, paid."""
    stripe_sandbox.pay(order)
    return order


@pytest.fixture
def own_receivers() -> Iterator[None]:
    """Disconnect the receivers that a snippet connects."""
    names = ("order_paid", "review_needed")
    before = {name: list(getattr(signals, name).receivers) for name in names}
    yield
    for name, receivers in before.items():
        getattr(signals, name).receivers[:] = receivers
        getattr(signals, name).sender_receivers_cache.clear()


def run(text: str, **names: Any) -> dict[str, Any]:
    exec(compile(text, "snippet", "exec"), names)
    return names


# --- the README ---------------------------------------------------------------------------------


@snippet("README.md", "create_numbered")
def test_an_order_is_made(text):
    order = run(text, user=UserFactory.create())["order"]

    assert (order.amount, order.currency) == (11200, "usd")


@snippet("README.md", "services.may_release(order.pk)")
def test_an_order_is_released(text, paid):
    run(text, order=paid)

    assert services.may_release(paid.pk)


@snippet("README.md", '"THROTTLE_RATES"')
def test_throttles_are_set(text, configure):
    names = run(text)

    configure(**names["SHOP_PAYMENTS"])
    assert get_config().THROTTLE_RATES["payment_intent_address"] == "20/min"
    assert get_config().THROTTLE_RATES["orders_user"] is None
    assert CacheHandler(names["CACHES"])["default"]


@snippet("README.md", "def prepare_shipment")
def test_a_shipment_is_prepared_once(text, order, stripe_sandbox, own_receivers):
    shipments = Recorded()
    names = run(text, Shipment=shipments)

    stripe_sandbox.pay(order)

    assert names["prepare_shipment"]
    assert list(shipments.rows.values()) == [{"order": order}]


@snippet("README.md", '"client_secret": "pi_')
def test_the_answer_of_call_1_has_this_shape(text, storefront, order, stripe_sandbox):
    shown = json.loads(text)
    found = storefront.payment_intent(order).json()

    for name in ("id", "client_secret"):
        found["data"][name] = shown["data"][name]
    assert list(found["data"]) == list(shown["data"])
    assert found == shown


@snippet("README.md", "Order marked as paid successfully")
def test_the_answer_of_call_3_has_this_shape(text, payment_system, paid):
    shown = json.loads(text)
    found = payment_system.payment(paid).json()

    assert found["message"] == shown["message"]
    assert found["data"]["status"] == shown["data"]["status"]


# --- docs/after-paid.md -------------------------------------------------------------------------


@snippet("docs/after-paid.md", '"stripe_id": "re_')
def test_the_answer_of_a_refund_has_this_shape(text, paid):
    shown = json.loads(text)
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    body = {"amount": "12.50", "kind": "goods", "reason": "requested_by_customer"}
    found = office.refund(paid, body).json()

    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}(\.\d+)?Z", found["data"]["created_at"])
    assert list(found["data"]) == list(shown["data"])
    for name in ("id", "stripe_id", "payment_intent", "created_at"):
        found["data"][name] = shown["data"][name]
    assert found == shown


@snippet("docs/after-paid.md", "refund_payment(order_id")
def test_a_refund_is_made(text, paid):
    names = run(text, order=paid)

    assert [refund.amount for refund in names["refunds"]] == [1250]


def run_alternatives(text: str, configure: Any, stripe: StripeSandbox) -> list[OrderPayment]:
    """Run the snippet with one of its calls of ``capture_payment`` each; return the payments."""
    configure(CAPTURE_METHOD="manual")
    lines = text.splitlines()
    calls = [line for line in lines if line.startswith("capture_payment")]
    rest = [line for line in lines if line not in calls]
    for call in calls:
        order = OrderFactory.create()
        stripe.pay(order)
        run("\n".join([*rest, call]), order=order)
    return list(OrderPayment.objects.order_by("pk"))


@snippet("docs/after-paid.md", "capture_payment(order_id=order.pk, origin=origin)")
def test_payments_are_captured(text, configure, stripe_sandbox):
    payments = run_alternatives(text, configure, stripe_sandbox)

    assert [(each.amount_received, each.amount_waived, each.status) for each in payments] == [
        (11200, 0, "paid"),
        (10000, 1200, "paid"),
    ]


@snippet("docs/after-paid.md", ".totals()")
def test_fees_are_added_up(text, stripe_sandbox):
    stripe_sandbox.pay(OrderFactory.create(pk=9))
    fetch_fees(since=timezone.now() - timedelta(days=1))
    *statements, expression, comment = text.strip().splitlines()

    names = run("\n".join(statements))

    assert eval(expression, names) == eval(comment.removeprefix("# "))


@snippet("docs/after-paid.md", "def send_receipt")
def test_a_receipt_is_sent_once(text, order, stripe_sandbox, own_receivers):
    names = run(text, Receipt=Recorded())

    stripe_sandbox.pay(order)

    assert names["send_receipt"]
    (sent,) = mail.outbox
    assert (sent.subject, sent.to) == (f"Your order {order.number}", [order.email])


@snippet("docs/after-paid.md", "def alert_staff")
def test_staff_are_alerted(text, paid, stripe_sandbox, own_receivers, settings):
    # Names beside the addresses: Django 5.2 wants them, later versions do not.
    ada = "ada@example.com"
    settings.MANAGERS = [("Ada", ada)] if django.VERSION < (6, 0) else [ada]
    names = run(text)

    stripe_sandbox.dispute(paid)

    assert names["alert_staff"]
    assert [f"Order {paid.pk} needs review" in sent.subject for sent in mail.outbox] == [True]


# --- docs/deposits-and-changed-orders.md --------------------------------------------------------

DEPOSITS = "docs/deposits-and-changed-orders.md"


@snippet(DEPOSITS, "class DepositAdapter")
def test_a_deposit_is_asked_for(text, order, stripe_sandbox, configure, monkeypatch):
    use_deposits(text, configure, monkeypatch)

    stripe_sandbox.pay(order)

    assert OrderPayment.objects.get().amount_received == 3360


def use_deposits(text: str, configure: Any, monkeypatch: Any) -> None:
    adapter = run(text, __name__=__name__)["DepositAdapter"]
    monkeypatch.setattr(sys.modules[__name__], "DepositAdapter", adapter, raising=False)
    configure(ORDER_ADAPTER=f"{__name__}.DepositAdapter")


@snippet(DEPOSITS, "myshop.adapter.DepositAdapter")
@pytest.mark.usefixtures("db")
def test_an_adapter_is_named_in_the_settings(text):
    assert {*run(text)["SHOP_PAYMENTS"]} <= {each.name for each in fields(Config)}


@snippet(DEPOSITS, "services.reevaluate_order(order.pk)")
def test_a_changed_order_is_evaluated_again(text, paid):
    paid.lines.update(quantity=3)

    run(text, order=paid)

    assert str(OrderPayment.objects.get().status) == "partially_paid"


@snippet(DEPOSITS, "def hand_over")
def test_an_order_is_handed_over(text, paid, monkeypatch):
    cancelled = property(lambda order: order.status == Order.Status.CANCELLED)
    monkeypatch.setattr(Order, "is_cancelled", cancelled, raising=False)
    hand_over = run(text, Order=Order)["hand_over"]

    assert hand_over(paid.pk) is True
    paid.lines.update(quantity=3)
    assert hand_over(paid.pk) is False


@snippet(DEPOSITS, 'amount_decimal=Decimal("80.00"), origin=origin')
def test_a_part_is_captured(text, configure, stripe_sandbox):
    payments = run_alternatives(text, configure, stripe_sandbox)

    assert [each.status for each in payments] == ["partially_paid", "paid"]


def before() -> dict[str, Any]:
    """The names that stand in the snippets before these on their page."""
    return {
        "Decimal": Decimal,
        "EntryRequest": EntryRequest,
        "Origin": Origin,
        "Source": Source,
        "origin": Origin(source=Source.ADMIN, actor="staff"),
        "request": SimpleNamespace(user=UserFactory.create(is_staff=True)),
    }


@snippet(DEPOSITS, "import EntryRequest, waive_amount")
def test_a_rest_is_waived(text, storefront, order, stripe_sandbox):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe_sandbox, "POST", f"payment_intents/{intent_id}", amount="6200")
    stripe_sandbox.pay(intent_id)

    run(text, order=order, **before())

    assert OrderPayment.objects.get().amount_waived == 5000


@snippet(DEPOSITS, "import settle_outside_stripe")
def test_a_payment_is_settled_outside_stripe(text, paid):
    intent_id = PaymentIntent.objects.get().stripe_id

    run(text.replace("pi_…", intent_id), order=paid, **before())

    assert StaffEntry.objects.get().kind == StaffEntry.Kind.SETTLEMENT


# --- docs/own-order-model.md, docs/sandbox.md, docs/testing-your-shop.md ------------------------


@snippet("docs/own-order-model.md", 'SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"')
def test_the_settings_of_an_own_order_model(text):
    names = run(text)
    theirs = importlib.import_module("tests.hostshop.settings")

    assert names["SHOP_PAYMENTS_ORDER_MODEL"] == theirs.SHOP_PAYMENTS_ORDER_MODEL
    adapter = theirs.SHOP_PAYMENTS["ORDER_ADAPTER"].removeprefix("tests.")
    assert names["SHOP_PAYMENTS"] == {"ORDER_ADAPTER": adapter}


@snippet("docs/own-order-model.md", "class Migration")
def test_a_migration_that_comes_first(text):
    migration = run(text, migrations=migrations)["Migration"]
    theirs = importlib.import_module("tests.hostshop.migrations.0002_order").Migration

    assert migration.run_before == theirs.run_before
    assert {*migration.dependencies} <= {*theirs.dependencies}


@snippet("docs/sandbox.md", "Sandbox(clock=my_clock, seed=1)")
def test_the_sandbox_is_used_alone(text):
    headers = {"Authorization": "Bearer sk_test_x"}

    names = run(text, my_clock=time.time, headers=headers, stripe=stripe_sdk)

    assert names["response"].status == 200


@snippet("docs/sandbox.md", "sandbox.inject(Fault(")
def test_a_fault_is_injected(text):
    run(text, sandbox=Sandbox(), Fault=Fault)


@snippet("docs/testing-your-shop.md", "def test_the_rest_is_paid_after_the_deposit")
def test_the_test_of_a_deposit(text, order, stripe_sandbox, configure, monkeypatch):
    adapter = next(each.text for each in SNIPPETS if "class DepositAdapter" in each.text)
    use_deposits(adapter, configure, monkeypatch)

    test = run(text, OrderPayment=OrderPayment)["test_the_rest_is_paid_after_the_deposit"]

    test(order, stripe_sandbox)


@snippet("docs/testing-your-shop.md", "stripe_sandbox.pay(data)")
def test_the_test_of_a_rest_client(text, client, storefront, order, stripe_sandbox):
    run(text, client=client, order=order, headers=storefront.headers, stripe_sandbox=stripe_sandbox)

    assert str(OrderPayment.objects.get().status) == "paid"


# --- command lines ------------------------------------------------------------------------------

COMMANDS = ("sh", "cron", "console", "bash", "text", "")
LINES = {
    f"{each}+{number}": line
    for each in SNIPPETS
    if each.language in COMMANDS
    for number, line in enumerate(each.text.replace("\\\n", " ").splitlines())
    if line.strip()
}
TOOLS = {"ruff": "ruff", "mypy": "mypy", "lint-imports": "import-linter"}
"""By command: the package that brings it. Not looked for, as the suite also runs without them."""

NOT_HERE = {"pip", "stripe", "pre-commit"}
"""Programs that come from elsewhere."""


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_command_is_one_that_there_is(line):
    line = re.sub(r"^([\d*/]+ +){5}|\s# .*$|\[-.*\]", "", line)  # when, why, and what else
    for command in re.split(r"&&|\|\||;", line):
        words = shlex.split(command)
        while words and re.fullmatch(r"(export|[A-Z_]+=\S*)", words[0]):
            words.pop(0)
        if words:
            check_command([word for word in words if not word.startswith(">")])


def check_command(words: list[str]) -> None:
    """Fail unless it is a command that there is, with options that it has."""
    program, *rest = words
    program = program.removeprefix(".venv/bin/").removeprefix("venv/bin/")
    if program in {"python", "python3"}:
        check_python(rest)
    elif program == "bash":
        assert (ROOT / rest[0]).exists()
    elif program == ".":
        assert rest == [".venv/bin/activate"]
    elif program in TOOLS:
        pinned = (ROOT / "requirements.txt").read_text()
        assert f"\n{TOOLS[program]}==" in pinned, program
    else:
        assert program in NOT_HERE | {"cd", "your-alarm", "curl"}, program


def check_python(words: list[str]) -> None:
    match words:
        case ["-m", "venv", _]:
            pass
        case ["-m", "tests.reliability", *options]:
            plan(options)
        case ["-m", "pytest", *options]:
            check_markers(options)
        case ["manage.py", name, *options]:
            assert name in get_commands()
            command = load_command_class(get_commands()[name], name)
            command.create_parser("manage.py", name).parse_args(options)
        case _:
            raise AssertionError(f"what is {words}?")


def check_markers(options: list[str]) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    markers = [line.partition(":")[0] for line in setup["tool:pytest"]["markers"].splitlines()]
    if "-m" in options:
        assert options[options.index("-m") + 1] in markers


# --- curl ---------------------------------------------------------------------------------------


def test_the_curl_lines_take_an_order_to_paid_and_refund_a_part(stripe_sandbox):
    """All lines of the README and of docs/after-paid.md, one after the other."""
    order = OrderFactory.create(pk=9)
    token = TokenFactory.create(user=order.customer)
    names = {
        "$TOKEN": token.key,
        "$STOREFRONT_KEY": issue_key(APIKeyScope.STOREFRONT),
        "$PAYMENTS_KEY": issue_key(APIKeyScope.PAYMENTS),
        "$REFUNDS_KEY": issue_key(APIKeyScope.REFUNDS),
        "sk_test_…": "sk_test_x",
    }
    lines = [line for line in LINES.values() if line.startswith("curl ")]
    assert len(lines) == 5
    for line in lines:
        for name, value in names.items():
            line = line.replace(name, value)
        intent = PaymentIntent.objects.first()
        if intent is not None:
            line = line.replace("pi_…", intent.stripe_id)
        assert send(line, stripe_sandbox) == 200, line

    assert str(OrderPayment.objects.get().status) == "partially_refunded"
    assert Refund.objects.get().amount == 1250


def send(line: str, stripe: StripeSandbox) -> int:
    """Do what curl would do; return the status of the answer."""
    _curl, *words = shlex.split(line)
    options: dict[str, list[str]] = {}
    urls = []
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            options.setdefault(word, []).append(words.pop(0))
        else:
            urls.append(word)
    (url,), (method,) = urls, options.pop("-X")
    headers = dict(header.split(": ", 1) for header in options.pop("-H", []))
    body = "&".join(options.pop("-d", []))
    assert options == {}
    if url.startswith("$STRIPE"):
        return stripe.handle(method, url.removeprefix("$STRIPE"), headers, body).status
    path = url.replace("$SHOP", BASE)
    content_type = headers.pop("Content-Type", "application/x-www-form-urlencoded" if body else "")
    response = Client().generic(method, path, body, content_type=content_type, headers=headers)
    return int(response.status_code)
