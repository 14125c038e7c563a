"""Every snippet in the README and in docs is run by a test.

A Python or JSON snippet is taken from its page by :func:`snippet`, and run by a test below it. A
command line is checked by :func:`check_command`. Others have a mark, which ``ELSEWHERE`` explains.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from logging.config import DictConfigurator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import django
import httpx
import pytest
import stripe as stripe_sdk
from django.contrib.messages.storage.cookie import CookieStorage
from django.core import mail
from django.core.cache import CacheHandler
from django.core.management import get_commands, load_command_class
from django.db import connection, migrations
from django.template import RequestContext, Template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from shop_payments import services, signals
from shop_payments.admin.orders import OrderAdmin
from shop_payments.checkout.links import checkout_url
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
from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from shop_payments.services.record_staff_entry import EntryRequest
from shop_payments.sync.balance_transactions import fetch_fees
from shop_payments.testing import StripeSandbox
from shop_payments.users import find_users
from tests.benchmarks.__main__ import parser as benchmarks_parser
from tests.conftest import issue_key
from tests.curl import parse
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.reliability.__main__ import plan
from tests.support import BASE, Caller

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)


class Snippet(NamedTuple):
    """A fenced block of a page, and the comment in the line above."""

    page: str
    line: int
    language: str
    text: str
    comment: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: Path) -> Iterator[Snippet]:
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
    for match in FENCE.finditer(text):
        before = text[: match.start()].splitlines()
        comment = before[-1] if before and before[-1].startswith("<!--") else ""
        block = textwrap.dedent(match["text"])
        yield Snippet(name, len(before) + 1, match["language"], block, comment)


SNIPPETS = [each for page in PAGES for each in read(page) if each.language != "none"]  # a picture
HOSTSHOP = ROOT / "tests" / "hostshop"
FILES = [(HOSTSHOP / name).read_text(encoding="utf-8") for name in ("adapter.py", "admin.py")]


MARK = re.compile(r"<!-- (?P<kind>[\w ]+): ?(?P<name>.*?) -->")
OWN, TUTORIAL = "tests/test_own_project.py", "tests/e2e/test_tutorial.py"
STRANGER, EXTRA = "tests/testing/test_stranger.py", "tests/e2e/test_recipes.py"
OSCAR = "tests/e2e/test_oscar.py"
ELSEWHERE: dict[str, dict[str, list[str]]] = {
    "ci": {".ci/run": ["demo", "test"]},
    "own project": {
        OWN: ["install", "settings", "urls", "shop", "sandbox", "client", "pay"],
        TUTORIAL: [
            *("app", "models", "receivers", "apps", "delivery settings", "exports", "commands"),
            *("shipments", "lose", "second", "second paid", "sweep"),
        ],
    },
    "file": {
        STRANGER: [
            *("conftest.py", "test_checkout.py", "test_checkout_testcase.py", "test_settings.py"),
        ]
    },
    "recipe": {
        EXTRA: [
            *("jwt settings", "jwt urls", "cors settings"),
            *("celery app", "celery tasks", "celery settings"),
        ],
        OSCAR: [f"oscar {part}" for part in ("settings", "urls", "payments", "cancellation")],
    },
    "not run": {
        "docs/api.md": [
            "it needs the generated client; tests/e2e/test_generated_client.py takes a payment"
            " with one"
        ],
        "docs/checkout.md": ["nginx's configuration; the tests have no nginx"],
        "docs/sandbox.md": ["a header, not code; the browser tests of tests/e2e send one like it"],
    },
}
"""Marks above snippets: what runs the snippet, or the page on which it says why nothing does."""


def mark_of(snippet: Snippet) -> tuple[str, str] | None:
    match = MARK.fullmatch(snippet.comment)
    return (match["kind"], match["name"]) if match else None


def is_run_elsewhere(snippet: Snippet) -> bool:
    """It has a mark, it is a file of tests/hostshop, or its page has its own tests.

    docs/operations.md: tests/test_operations.py and tests/config/test_production.py.
    """
    is_of_a_file = snippet.text in FILES or snippet.page == "docs/operations.md"
    return is_of_a_file or mark_of(snippet) is not None


def test_each_mark_above_a_snippet_is_known():
    found = {mark for each in SNIPPETS if (mark := mark_of(each))}
    known = {
        (kind, name)
        for kind, places in ELSEWHERE.items()
        for names in places.values()
        for name in names
    }
    assert found == known
    assert all((ROOT / place).is_file() for places in ELSEWHERE.values() for place in places)


def test_all_code_is_fenced():
    """Code that is only indented has no language, and no test finds it."""
    indented = re.compile(r"^(?![-*\s]|\d+\.).+\n\n {4}\S.*", re.M)
    found = [indented.findall(text_without_code(page)) for page in PAGES]
    assert [each for each in found if each] == []


def text_without_code(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


RUN: set[Snippet] = set()


def snippet(page: str, words: str) -> str:
    """Return the only snippet of ``page`` in which these words stand, for a test that runs it."""
    (found,) = (each for each in SNIPPETS if each.page == page and words in each.text)
    RUN.add(found)
    return found.text


def test_every_snippet_is_run():
    assert {each.language for each in SNIPPETS} <= {
        *("python", "json", "html", "ini", "nginx"),
        *COMMANDS,
    }
    others = [each for each in SNIPPETS if each.language not in COMMANDS and each not in RUN]
    assert [str(each) for each in others if not is_run_elsewhere(each)] == []


# --- the scene ----------------------------------------------------------------------------------


class Recorded:
    """A model of the host's shop, which keeps its rows."""

    def __init__(self) -> None:
        self.objects, self.rows = self, dict[Any, Any]()

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
    before = [(each, [*each.receivers]) for each in (signals.order_paid, signals.review_needed)]
    yield
    for signal, receivers in before:
        signal.receivers[:] = receivers
        signal.sender_receivers_cache.clear()


def run(text: str, **names: Any) -> dict[str, Any]:
    exec(compile(text, "snippet", "exec"), names)
    return names


def status() -> str:
    return str(OrderPayment.objects.get().status)


def assert_same_shape(response: Any, text: str, *, but: tuple[str, ...]) -> None:
    """An answer is what a snippet shows, ``but`` for values that differ each time."""
    shown, found = json.loads(text), response.json()
    assert list(found["data"]) == list(shown["data"])
    found["data"] |= {name: shown["data"][name] for name in but}
    assert found == shown


# --- the README, docs/api.md, docs/settings.md ---------------------------------------------------

IN_PYTHON = snippet("README.md", "create_numbered")
THROTTLES = snippet("docs/settings.md", '"THROTTLE_RATES"')
CALL_1 = snippet("docs/api.md", '"client_secret": "pi_')
CALL_3 = snippet("docs/api.md", "Order marked as paid successfully")
REQUEST_IDS = snippet("docs/api.md", "RequestIDFilter")


def test_an_order_is_created_paid_and_delivered_once(stripe_sandbox, own_receivers):
    shipments = Recorded()
    names = run(IN_PYTHON, user=UserFactory.create(), Shipment=shipments)
    order = names["order"]
    assert (order.amount, order.currency) == (11200, "usd")
    assert not names["may_leave"](order)

    stripe_sandbox.pay(order)

    assert list(shipments.rows.values()) == [{"order": order}]
    assert names["may_leave"](order)


def test_throttles_are_set(configure):
    names = run(THROTTLES)
    configure(**names["SHOP_PAYMENTS"])
    assert get_config().THROTTLE_RATES["payment_intent_address"] == "20/min"
    assert get_config().THROTTLE_RATES["orders_user"] is None
    assert CacheHandler(names["CACHES"])["default"]


def test_log_lines_have_the_id_of_their_request():
    configurator = DictConfigurator(run(REQUEST_IDS)["LOGGING"])
    (added,) = configurator.config["filters"].values()
    record = logging.makeLogRecord({"msg": "hello"})
    configurator.configure_filter(dict(added)).filter(record)
    shown = configurator.configure_formatter(configurator.config["formatters"]["line"])
    assert shown.format(record).endswith("[-] None hello")


def test_the_answers_of_calls_1_and_3_have_this_shape(
    storefront, payment_system, order, stripe_sandbox
):
    assert_same_shape(storefront.payment_intent(order), CALL_1, but=("id", "client_secret"))
    stripe_sandbox.pay(order)
    shown, found = json.loads(CALL_3), payment_system.payment(order).json()
    assert found["message"] == shown["message"]
    assert found["data"]["status"] == shown["data"]["status"]


# --- docs/checkout.md ---------------------------------------------------------------------------

CHECKOUT = "docs/checkout.md"
MOUNTED = snippet(CHECKOUT, "urlpatterns")
SENT_TO_PAY = snippet(CHECKOUT, "redirect(")
CONTINUE = snippet(CHECKOUT, "def continue_url")
LINK = snippet(CHECKOUT, "expires_in")
TAG = snippet(CHECKOUT, "{% shop_payments_checkout order %}")
BLOCK = snippet(CHECKOUT, "{% block heading %}")
POLICIES = [snippet(CHECKOUT, "SECURE_CSP"), snippet(CHECKOUT, "CONTENT_SECURITY_POLICY")]


class SettingsWithPages:
    """A URL configuration that is made of a snippet."""


def test_the_checkout_is_mounted_and_linked(order, rf, settings):
    settings.ROOT_URLCONF = SettingsWithPages
    SettingsWithPages.urlpatterns = run(MOUNTED, urlpatterns=[])["urlpatterns"]  # type: ignore[attr-defined]

    assert run(SENT_TO_PAY, order=order)["response"].url == f"/checkout/{order.pk}/"
    link = run(LINK, order=order, request=rf.get("/"))["link"]
    assert link.startswith(f"http://testserver/checkout/{order.pk}/?token=")
    assert run(CONTINUE)["continue_url"](None, order) == f"/orders/{order.pk}/"


def test_the_form_is_on_a_page_and_a_block_is_replaced(order, rf, settings, tmp_path):
    request = rf.get("/")
    shown = Template(TAG).render(RequestContext(request, {"order": order}))
    assert f"/checkout/{order.pk}/?token=" in shown
    assert "Main product 2" in shown

    override = tmp_path / "shop_payments" / "checkout" / "pay.html"
    override.parent.mkdir(parents=True)
    override.write_text(BLOCK)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    page = Client().get(checkout_url(order)).content.decode()
    assert "<h1>Pay at Example's</h1>" in page
    assert "Main product 2" in page


def test_the_policies_allow_stripe():
    for text in POLICIES:
        names = run(text, SHOP_PAYMENTS={})
        policy = names.get("SECURE_CSP") or names["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]
        assert policy["script-src"][:2] == ["'self'", "https://js.stripe.com"]


# --- docs/recipes.md ----------------------------------------------------------------------------

RECIPES = "docs/recipes.md"
BEARER = snippet(RECIPES, 'keyword = "Bearer"')
ITS_CLASS = snippet(RECIPES, "myshop.authentication.BearerTokenAuthentication")
NEW_TOKEN = snippet(RECIPES, "Token.objects.get_or_create")
STOP = snippet(RECIPES, "def stop_payment")
PLACED = snippet(RECIPES, "class PlaceWhenPaid")
ORDER_TOKEN = snippet(RECIPES, "create_order_token(order)")


def test_customers_have_bearer_tokens(order, stripe_sandbox, settings, monkeypatch):
    module = ModuleType("myshop.authentication")
    vars(module).update(run(BEARER))
    for name in ("myshop", "myshop.authentication"):
        monkeypatch.setitem(sys.modules, name, module)
    settings.REST_FRAMEWORK = run(ITS_CLASS)["REST_FRAMEWORK"]

    token = run(NEW_TOKEN, user=order.customer)["token"]

    customer = Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT))
    assert customer.payment_intent(order).status_code == 200


def test_a_view_of_the_shop_stops_a_payment(storefront, order, stripe_sandbox, rf):
    stop_payment = run(STOP)["stop_payment"]
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    request = rf.post("/")
    request.user, request._messages = order.customer, CookieStorage(request)

    assert stop_payment(request, order.pk).url == f"/orders/{order.pk}/"
    assert stripe_sandbox.payment_intent(intent_id)["status"] == "canceled"

    stripe_sandbox.pay(order)
    stop_payment(request, order.pk)
    (error,) = request._messages
    assert str(error) == "The order has been paid. Refund it instead."


def test_a_basket_is_placed_when_it_is_paid(order, stripe_sandbox, configure, monkeypatch):
    placed = Recorded()
    adapter = run(PLACED, PlacedOrder=placed)["PlaceWhenPaid"]
    monkeypatch.setattr(sys.modules[__name__], "PlaceWhenPaid", adapter, raising=False)
    configure(ORDER_ADAPTER=f"{__name__}.PlaceWhenPaid")
    stripe_sandbox.pay(order)
    assert list(placed.rows.values()) == [{"basket": order}]


def test_a_guest_pays_with_an_order_token(stripe_sandbox):
    token = run(ORDER_TOKEN, order=OrderFactory.create(pk=9))["token"]
    key = issue_key(APIKeyScope.STOREFRONT)
    names = {"$ORDER_TOKEN": token, "$STOREFRONT_KEY": key}
    assert send_all(RECIPES, names, stripe_sandbox) == [200, 200]


# --- docs/retention.md --------------------------------------------------------------------------

DELETED = snippet("docs/retention.md", "import Origin, Source, delete_payment")


def test_an_order_that_was_never_paid_is_deleted(storefront, order, stripe_sandbox):
    storefront.payment_intent(order)
    run(DELETED, order=order)
    assert not Order.objects.exists()


# --- docs/after-paid.md -------------------------------------------------------------------------

AFTER = "docs/after-paid.md"
REFUNDED = snippet(AFTER, '"stripe_id": "re_')
REFUND = snippet(AFTER, "refund_payment(order_id")
CAPTURES = snippet(AFTER, "capture_payment(order_id=order.pk, origin=origin)")
FEES = snippet(AFTER, ".totals()")
RECEIPT = snippet(AFTER, "def send_receipt")
ALERT = snippet(AFTER, "def alert_staff")


def test_a_refund_is_made(office, paid):
    body = {"amount": "12.50", "kind": "goods", "reason": "requested_by_customer"}
    response = office.refund(paid, body)
    created_at = response.json()["data"]["created_at"]
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}(\.\d+)?Z", created_at)
    assert_same_shape(response, REFUNDED, but=("id", "stripe_id", "payment_intent", "created_at"))

    assert [refund.amount for refund in run(REFUND, order=paid)["refunds"]] == [1250]


@pytest.fixture
def captured(configure: Any, stripe_sandbox: StripeSandbox) -> Callable[[str], list[Any]]:
    """Run a snippet with one of its calls of ``capture_payment`` each; return what it did."""
    configure(CAPTURE_METHOD="manual")

    def capture(text: str) -> list[Any]:
        lines = text.splitlines()
        calls = [line for line in lines if line.startswith("capture_payment")]
        for call in calls:
            stripe_sandbox.pay(order := OrderFactory.create())
            run("\n".join([*(line for line in lines if line not in calls), call]), order=order)
        values = ("amount_received", "amount_waived", "status")
        return list(OrderPayment.objects.order_by("pk").values_list(*values))

    return capture


def test_payments_are_captured(captured):
    whole, part = (11200, 0, "paid"), (10000, 1200, "paid")
    assert captured(CAPTURES) == [whole, part]
    assert [status for *_amounts, status in captured(PART)[2:]] == ["partially_paid", "paid"]


def test_fees_are_added_up(stripe_sandbox):
    stripe_sandbox.pay(OrderFactory.create(pk=9))
    fetch_fees(since=timezone.now() - timedelta(days=1))
    *statements, expression, comment = FEES.strip().splitlines()
    names = run("\n".join(statements))
    assert eval(expression, names) == eval(comment.removeprefix("# "))


def test_a_receipt_is_sent_once_and_staff_are_alerted(
    order, stripe_sandbox, own_receivers, settings
):
    # Names beside the addresses: Django 5.2 wants them, later versions do not.
    ada = "ada@example.com"
    settings.MANAGERS = [("Ada", ada)] if django.VERSION < (6, 0) else [ada]
    _names = run(RECEIPT, Receipt=Recorded()), run(ALERT)
    stripe_sandbox.pay(order)
    stripe_sandbox.dispute(order)

    receipt, alert = mail.outbox
    assert (receipt.subject, receipt.to) == (f"Your order {order.number}", [order.email])
    assert f"Order {order.pk} needs review" in alert.subject


# --- docs/deposits-and-changed-orders.md --------------------------------------------------------

DEPOSITS = "docs/deposits-and-changed-orders.md"
ADAPTER_OF_DEPOSITS = snippet(DEPOSITS, "class DepositAdapter")
ITS_SETTINGS = snippet(DEPOSITS, "myshop.adapter.DepositAdapter")
REEVALUATE = snippet(DEPOSITS, "services.reevaluate_order(order.pk)")
HAND_OVER = snippet(DEPOSITS, "def hand_over")
PART = snippet(DEPOSITS, 'amount_decimal=Decimal("80.00"), origin=origin')
WAIVE = snippet(DEPOSITS, "import EntryRequest, waive_amount")
SETTLE = snippet(DEPOSITS, "import settle_outside_stripe")
ITS_TEST = snippet("docs/testing-your-shop.md", "def test_the_rest_is_paid_after_the_deposit")


@pytest.fixture
def deposits(configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the adapter of the page."""
    adapter = run(ADAPTER_OF_DEPOSITS, __name__=__name__)["DepositAdapter"]
    monkeypatch.setattr(sys.modules[__name__], "DepositAdapter", adapter, raising=False)
    configure(ORDER_ADAPTER=f"{__name__}.DepositAdapter")


def test_a_deposit_is_asked_for(order, stripe_sandbox, deposits):
    stripe_sandbox.pay(order)
    assert OrderPayment.objects.get().amount_received == 3360
    assert {*run(ITS_SETTINGS)["SHOP_PAYMENTS"]} <= {each.name for each in fields(Config)}


def test_the_test_of_a_deposit(order, stripe_sandbox, deposits):
    run(ITS_TEST, OrderPayment=OrderPayment)["test_the_rest_is_paid_after_the_deposit"](
        order, stripe_sandbox
    )


def test_a_changed_order_is_evaluated_again_and_not_handed_over(paid, monkeypatch):
    cancelled = property(lambda order: order.status == Order.Status.CANCELLED)
    monkeypatch.setattr(Order, "is_cancelled", cancelled, raising=False)
    hand_over = run(HAND_OVER, Order=Order)["hand_over"]
    assert hand_over(paid.pk) is True
    paid.lines.update(quantity=3)
    assert hand_over(paid.pk) is False
    run(REEVALUATE, order=paid)
    assert status() == "partially_paid"


def test_a_rest_is_waived_and_a_payment_is_settled_outside_stripe(paid):
    names: dict[str, Any] = {
        "Decimal": Decimal,
        "EntryRequest": EntryRequest,
        "Origin": Origin,
        "Source": Source,
    }
    request = SimpleNamespace(user=UserFactory.create(is_staff=True))
    names |= {"origin": Origin(source=Source.ADMIN, actor="staff"), "request": request}
    paid.lines.create(name="Express", unit_amount=5000, quantity=1)
    services.reevaluate_order(paid.pk)
    run(WAIVE, order=paid, **names)
    assert OrderPayment.objects.get().amount_waived == 5000

    run(SETTLE.replace("pi_…", PaymentIntent.objects.get().stripe_id), order=paid, **names)
    assert StaffEntry.objects.latest("pk").kind == StaffEntry.Kind.SETTLEMENT


# --- docs/own-order-model.md, docs/performance.md, docs/sandbox.md, docs/testing-your-shop.md ----

OWN_MODEL = snippet("docs/own-order-model.md", 'SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"')
MIGRATION = snippet("docs/own-order-model.md", "class Migration")
PANEL_IN_ITS_PLACE = snippet("docs/own-order-model.md", "order_panel.html")
INDEXES_OF_USERS = snippet("docs/performance.md", "text_pattern_ops")
ALONE = snippet("docs/sandbox.md", "Sandbox(clock=my_clock, seed=1)")
STAND_IN = snippet("docs/sandbox.md", "<script src=")
INJECT = snippet("docs/sandbox.md", "sandbox.inject(Fault(")
REST_CLIENT = snippet("docs/testing-your-shop.md", "stripe_sandbox.pay(data)")


def test_the_settings_and_the_migration_of_an_own_order_model():
    names, theirs = run(OWN_MODEL), importlib.import_module("tests.hostshop.settings")
    assert names["SHOP_PAYMENTS_ORDER_MODEL"] == theirs.SHOP_PAYMENTS_ORDER_MODEL
    adapter = theirs.SHOP_PAYMENTS["ORDER_ADAPTER"].removeprefix("tests.")
    assert names["SHOP_PAYMENTS"] == {"ORDER_ADAPTER": adapter}

    migration = run(MIGRATION, migrations=migrations)["Migration"]
    theirs = importlib.import_module("tests.hostshop.migrations.0002_order").Migration
    assert migration.run_before == theirs.run_before
    assert {*migration.dependencies} <= {*theirs.dependencies}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="indexes of PostgreSQL")
def test_users_are_found_by_indexes():
    operations = run(INDEXES_OF_USERS)["Migration"].operations
    with connection.cursor() as cursor:
        for operation in operations:  # a test runs in a transaction
            cursor.execute(operation.sql.replace(" CONCURRENTLY", ""))
        cursor.execute("SET LOCAL enable_seqscan = off")
        with CaptureQueriesContext(connection) as queries:
            find_users("anna family")
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        plan = str(cursor.fetchall())
    assert len({*re.findall(r"user_\w+_begins", plan)}) == len(operations) == 4
    assert "Seq Scan" not in plan


def test_the_panel_is_included_in_a_template(paid, admin_client, monkeypatch, settings, tmp_path):
    monkeypatch.setattr(OrderAdmin, "payment_panel_on_top", False)
    (tmp_path / "own.html").write_text(PANEL_IN_ITS_PLACE)
    monkeypatch.setattr(OrderAdmin, "change_form_template", "own.html")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    page = admin_client.get(f"/admin/shop_payments/order/{paid.pk}/change/").content.decode()
    assert page.index("</fieldset>") < page.index("shop-payments-panel")


def test_the_sandbox_is_used_alone():
    headers = {"Authorization": "Bearer sk_test_x"}
    names = run(ALONE, my_clock=time.time, headers=headers, stripe=stripe_sdk)
    assert names["response"].status == 200
    run(INJECT, sandbox=Sandbox(), Fault=Fault)


def test_the_sandbox_serves_its_script():
    (path,) = re.findall(r'src="http://127\.0\.0\.1:12111(/.*?)"', STAND_IN)
    with SandboxServer(Sandbox()) as server:
        answer = httpx.get(f"{server.url}{path}", trust_env=False)
    assert answer.status_code == 200
    assert "javascript" in answer.headers["Content-Type"]


def test_the_test_of_a_rest_client(client, storefront, order, stripe_sandbox):
    names = {"client": client, "order": order, "headers": storefront.headers}
    run(REST_CLIENT, stripe_sandbox=stripe_sandbox, **names)
    assert status() == "paid"


# --- command lines ------------------------------------------------------------------------------

COMMANDS = ("sh", "cron", "console", "bash", "text", "")
LINES = {
    f"{each}+{number}": line
    for each in SNIPPETS
    if each.language in COMMANDS and (mark_of(each) or ("", ""))[0] != "not run"
    for number, line in enumerate(each.text.replace("\\\n", " ").splitlines())
    if line.strip()
}
OTHERS = {
    *(".", "apt", "bash", "cd", "curl", "django-admin", "git", "gunicorn", "lint-imports"),
    *(
        "mkdir",
        "mypy",
        "openapi-python-client",
        "pg_dump",
        "pg_restore",
        "pip",
        "pre-commit",
        "ruff",
        "set",
        "stripe",
    ),
    *("createdb", "createuser", "systemctl", "useradd"),
}
"""Commands that are not looked at."""


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_command_is_one_that_there_is(line):
    line = re.sub(r"^([\d*/]+ +){5}|\s# .*$|\[-.*\]", "", line)  # when, why, and what else
    line = re.sub(r"^export \w+=\$\((.*)\)$", r"\1", line)
    for command in re.split(r"&&|\|\||;", line):
        words = shlex.split(command)
        while words and re.fullmatch(r"(export|[A-Z_]+=.*)", words[0]):
            words.pop(0)
        if words[:1] == ["runuser"]:
            words = words[words.index("--") + 1 :]
        if words:
            check_command([word for word in words if not word.startswith(">")])


def check_command(words: list[str]) -> None:
    """Fail unless it is a command that there is, with options that it has."""
    program = re.sub(r"^(build/docs-)?\.?venv/bin/", "", words[0])
    if program in {"python", "python3"}:
        check_python(words[1:])
    else:
        assert program in {*OTHERS, "your-alarm"}, program


def check_python(words: list[str]) -> None:
    match words:
        case ["-m", "venv", _]:
            pass
        case ["-m", "tests.reliability", *options]:
            plan(options)
        case ["-m", "tests.benchmarks", *options]:
            benchmarks_parser().parse_args(options)
        case ["-m", "tests.translations"]:
            pass
        case ["-m", "pytest" | "sphinx", *_]:
            pass
        case ["manage.py", name, *options]:
            assert name in get_commands()
            command = load_command_class(get_commands()[name], name)
            command.create_parser("manage.py", name).parse_args(options)
        case _:
            raise AssertionError(f"what is {words}?")


# --- curl ---------------------------------------------------------------------------------------


def test_the_curl_lines_take_an_order_to_paid_and_refund_a_part(stripe_sandbox):
    """All lines of docs/api.md and docs/after-paid.md, one after the other."""
    order = OrderFactory.create(pk=9)
    names = {
        "$TOKEN": TokenFactory.create(user=order.customer).key,
        **{f"${scope.name}_KEY": issue_key(scope) for scope in APIKeyScope},
        "sk_test_…": "sk_test_x",
    }
    assert send_all("docs/api.md", names, stripe_sandbox) == [200] * 6
    assert send_all("docs/after-paid.md", names, stripe_sandbox) == [200]

    assert status() == "partially_refunded"
    assert Refund.objects.get().amount == 1250


def test_the_curl_lines_of_the_sandbox_drive_it():
    with SandboxServer(Sandbox()) as server, httpx.Client(trust_env=False) as client:
        names = {"$STRIPE_API_BASE": server.url, "$STRIPE_SECRET_KEY": "sk_test_x"}
        for line in curl_lines("docs/sandbox.md"):
            answer = client.send(parse(line, names))
            assert answer.status_code == 200, answer.text
            names.setdefault("pi_…", answer.json().get("id", ""))
        state = client.get(f"{server.url}/_sandbox").json()
    assert "payment_intent.succeeded" in {each["type"] for each in server.sandbox.events}
    assert [each["kind"] for each in state["faults"]] == ["drop_after"]


def curl_lines(page: str) -> list[str]:
    return [
        line
        for place, line in LINES.items()
        if place.startswith(f"{page}:") and line.startswith("curl ")
    ]


def send_all(page: str, names: dict[str, str], stripe: StripeSandbox) -> list[int]:
    """Do what the page's curl lines do; return the statuses of the answers."""
    statuses = []
    names = {"$STRIPE/": "http://stripe/", "$SHOP": f"http://testserver{BASE}", **names}
    for line in curl_lines(page):
        if intent := PaymentIntent.objects.first():
            names["pi_…"] = intent.stripe_id
        request = parse(line, names)
        headers, body = {**request.headers}, request.content.decode()
        path = request.url.raw_path.decode()
        if request.url.host == "stripe":
            answer = stripe.handle(request.method, path, headers, body)
            statuses.append(answer.status)
        else:
            content_type = headers.pop("content-type", "")
            response = Client().generic(
                request.method, path, body, content_type=content_type, headers=headers
            )
            statuses.append(response.status_code)
    return statuses
