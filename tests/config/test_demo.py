"""``manage.py demo`` as its user runs it: a process, its output, its exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.core.management import CommandError, call_command

from config.demo.data import make_demo_data
from config.demo.http import Answer, Call
from config.demo.story import Stage, tell
from shop_payments.models import APIKey
from shop_payments.secrecy import Secret

ROOT = Path(__file__).parents[2]
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))
COMMAND = [sys.executable, "-W", "error", "manage.py", "demo", "--port", "0", "--sandbox-port", "0"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ours = ("DJANGO_", "STRIPE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.sqlite3'}"}


@pytest.mark.slow
def test_it_pays_an_order_and_serves_until_it_is_stopped(environment):
    pipe = subprocess.PIPE
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
    ) as serving:
        try:
            output = ""
            for line in serving.stdout or ():
                output += line
                if "Serving until Ctrl-C" in line:
                    break
            story, _, invitation = output.partition("Look around")
            check_the_calls(story)
            look_around(invitation)
            serving.send_signal(signal.SIGTERM)
            _, errors = serving.communicate(timeout=30)
        finally:
            serving.kill()
    assert (serving.returncode, errors) == (0, "")


def check_the_calls(story: str) -> None:
    found = re.findall(r"^curl .*?\n\n\d+ \w.*?\n(\{.*?^\})$", story, re.S | re.M)
    create, attach, confirm, read, settle = map(json.loads, found)
    data = create["data"]
    assert list(data) == "id client_secret amount currency status line_items".split()
    assert (data["amount"], data["currency"]) == ("112.00", "usd")
    statuses = ["requires_payment_method", "requires_confirmation", "succeeded"]
    assert [each["status"] for each in (data, attach, confirm)] == statuses
    assert attach["id"] == confirm["id"] == data["id"]
    assert read["data"]["payment_status"] == "paid"
    assert settle["message"] == "Order marked as paid successfully"
    assert settle["data"] == {**data, "status": "succeeded"}


def look_around(invitation: str) -> None:
    """Open the pages that the demo suggests while it serves."""
    shop = re.search(r"http://127\.0\.0\.1:\d+", invitation)
    assert shop is not None
    check_the_shop(shop[0])
    for path in ("/admin/", "/api/v1/shop/", "/api/docs/"):
        assert path in invitation
        with PAST_PROXIES.open(f"{shop[0]}{path}", timeout=10) as page:
            assert page.status == 200


def check_the_shop(shop: str) -> None:
    """Place an order, and see that its pay page opens. The browser tests pay one."""
    jar = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
    with browser.open(f"{shop}/", timeout=10) as page:
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())
    order = urlencode({"csrfmiddlewaretoken": token, "quantity": "3", "email": ""})
    with browser.open(f"{shop}/", order.encode(), timeout=10) as page:
        shown = page.read().decode()
    assert "168.00" in shown
    assert 'data-payment-state="unpaid"' in shown


def test_the_story_stops_at_an_answer_that_deviates_from_the_contract(db, monkeypatch):
    stage = Stage(
        shop="http://127.0.0.1:1",
        sandbox="http://127.0.0.1:1",
        data=make_demo_data(),
        stripe_key="sk_test_x",
        say=lambda text: None,
        headline=str,
    )
    monkeypatch.setattr(Call, "send", lambda call: Answer(409, {"message": "no"}))

    with pytest.raises(CommandError, match="Step 1 did not hold") as refusal:
        tell(stage)

    for words in ("the status is 409, not 200", "answer.message is 'no'", "answer.data is missing"):
        assert words in str(refusal.value)


def test_each_run_has_its_own_credentials(db):
    first, second = make_demo_data(), make_demo_data()

    assert first.token != second.token
    assert first.staff_password != second.staff_password
    keys = [APIKey.objects.find_by_secret(Secret(data.storefront_key)) for data in (first, second)]
    assert [key and key.is_revoked for key in keys] == [True, False]


def test_it_refuses_the_key_of_an_account_and_production(settings, monkeypatch):
    with pytest.raises(CommandError, match="it runs with DJANGO_DEBUG=1 only"):
        call_command("demo", "--exit")
    settings.DEBUG = True
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_of_an_account")
    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY is set") as refusal:
        call_command("demo", "--exit")

    assert "sk_test_of_an_account" not in str(refusal.value)
