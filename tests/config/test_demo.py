"""``manage.py demo`` as its user runs it: a process, its output, its exit status."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ANY_PORT = ("--port", "0", "--sandbox-port", "0")

# The keys of payment-api.txt, written down once more, so that nothing here believes config.demo.
INTENT_KEYS = "id client_secret amount currency status line_items".split()
STRIPE_KEYS = """
    id object amount amount_capturable amount_details amount_received application
    application_fee_amount automatic_payment_methods canceled_at cancellation_reason
    capture_method client_secret confirmation_method created currency customer description
    last_payment_error latest_charge livemode metadata next_action on_behalf_of payment_method
    payment_method_configuration_details payment_method_options payment_method_types processing
    receipt_email review setup_future_usage shipping source statement_descriptor
    statement_descriptor_suffix status transfer_data transfer_group
""".split()
LINE_ITEM = {
    "name": "Main product 2",
    "amount": 5600,
    "currency": "usd",
    "quantity": 2,
    "description": "",
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "STRIPE_"))
    }
    return {**clean, "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.sqlite3'}"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "manage.py", "demo", *arguments]


def run_demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def serving(environment) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*ANY_PORT),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def read_until(process, end: str) -> str:
    lines = []
    for line in process.stdout:
        lines.append(line)
        if end in line:
            break
    return "".join(lines)


def exchanges(output: str) -> list[tuple[str, str, Any]]:
    """The calls that were shown: curl line, status line, JSON."""
    found = re.findall(r"^(curl .*?)\n\n(\d+ \w.*?)\n(\{.*?^\})$", output, re.S | re.M)
    return [(curl, status, json.loads(body)) for curl, status, body in found]


@pytest.mark.slow
def test_it_pays_an_order_each_time_it_runs(environment):
    for _run in (1, 2):
        finished = run_demo(environment, "--exit", *ANY_PORT)

        assert (finished.returncode, finished.stderr) == (0, "")
        create, attach, confirm, read, settle = exchanges(finished.stdout)
        assert_is_contract_1(create[2])
        intent_id = create[2]["data"]["id"]
        assert_is_contract_2(attach[2], intent_id, status="requires_confirmation")
        assert_is_contract_2(confirm[2], intent_id, status="succeeded")
        assert read[2]["data"]["payment_status"] == "paid"
        assert settle[2] == {
            "message": "Order marked as paid successfully",
            "data": {**create[2]["data"], "status": "succeeded"},
        }


def assert_is_contract_1(answer):
    assert answer["message"] == "Payment intent created successfully"
    data = answer["data"]
    assert list(data) == INTENT_KEYS
    assert re.fullmatch(r"pi_[A-Za-z0-9]{24}", data["id"])
    assert re.fullmatch(rf"{data['id']}_secret_[A-Za-z0-9]{{25}}", data["client_secret"])
    assert (data["amount"], data["currency"]) == ("112.00", "usd")
    assert data["status"] == "requires_payment_method"
    assert data["line_items"] == [LINE_ITEM]


def assert_is_contract_2(answer, intent_id, *, status):
    assert set(STRIPE_KEYS) <= set(answer)
    assert (answer["id"], answer["status"], answer["amount"]) == (intent_id, status, 11200)
    assert answer["livemode"] is False
    assert answer["payment_method_types"] == ["card"]
    assert re.fullmatch(r"pm_[A-Za-z0-9]{24}", answer["payment_method"])
    number = answer["metadata"]["order_number"]
    assert re.fullmatch(r"ORD-\d{8}-[0-9A-Z]{4,}", number)
    assert answer["description"] == f"Payment for Order #{number}"
    assert json.loads(answer["metadata"]["line_items"]) == [LINE_ITEM]


def send_curl(line: str) -> tuple[int, Any]:
    """Do what a shown curl line does, without curl."""
    words = iter(shlex.split(line.replace("\\\n", "")))
    assert next(words) == "curl"
    method, url, headers, form = "GET", "", {}, []
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            form.append(next(words))
        else:
            url = word
    body = "&".join(form).encode() or None
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with PAST_PROXIES.open(request, timeout=10) as response:
        return response.status, json.load(response)


@pytest.mark.slow
def test_the_invitation_can_be_followed(serving, environment):
    output = read_until(serving, "Serving until Ctrl-C")
    invitation = output.partition("Look around")[2]
    create, read = re.findall(r"^curl (?:.*\\\n)*.*$", invitation, re.M)
    [pay] = re.findall(r"^STRIPE_API_BASE=.* shop_payments_pay .*$", invitation, re.M)

    status, intent = send_curl(create)
    paid = subprocess.run(
        pay, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert status == 200
    assert (paid.returncode, paid.stderr) == (0, "")
    assert json.loads(paid.stdout)["id"] == intent["data"]["id"]
    assert json.loads(paid.stdout)["status"] == "succeeded"
    assert send_curl(read)[0] == 200
    shop = re.search(r"http://127\.0\.0\.1:\d+", invitation)
    assert shop is not None
    for path in ("/admin/login/", "/api/v1/shop/", "/api/docs/"):
        assert path.removesuffix("login/") in invitation
        with PAST_PROXIES.open(f"{shop[0]}{path}", timeout=10) as page:
            assert page.status == 200


@pytest.mark.slow
@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_told_to_stop(serving, stop_signal):
    read_until(serving, "Serving until Ctrl-C")

    serving.send_signal(stop_signal)
    _, errors = serving.communicate(timeout=30)

    assert (serving.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("option", "other"), [("--port", "--sandbox-port"), ("--sandbox-port", "--port")]
)
def test_it_names_the_port_that_is_taken(environment, option, other):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        finished = run_demo(environment, "--exit", option, port, other, "0")

    assert finished.returncode == 1
    assert f"Cannot listen on port {port}" in finished.stderr
    assert f"Choose another one with {option}." in finished.stderr


@pytest.mark.parametrize("key", ["sk_test_of_an_account", "sk_live_of_an_account"])
def test_it_keeps_away_from_the_key_of_an_account(environment, key):
    finished = run_demo({**environment, "STRIPE_SECRET_KEY": key}, "--exit", *ANY_PORT)

    assert finished.returncode == 1
    assert "STRIPE_SECRET_KEY is set" in finished.stderr
    assert key not in finished.stderr


def test_it_does_not_run_in_production(environment):
    production = {
        "DJANGO_DEBUG": "0",
        "DJANGO_SECRET_KEY": "x" * 50,
        "STRIPE_SECRET_KEY": "sk_test_x",
        "STRIPE_PUBLISHABLE_KEY": "pk_test_x",
        "STRIPE_WEBHOOK_SECRET": "whsec_x",
    }
    finished = run_demo({**environment, **production}, "--exit", *ANY_PORT)

    assert finished.returncode == 1
    assert "it runs with DJANGO_DEBUG=1 only" in finished.stderr
