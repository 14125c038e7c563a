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
from django.core.management import CommandError, call_command

from config.demo.servers import serve_sandbox, serve_shop

ROOT = Path(__file__).parents[2]
PAST_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))
COMMAND = [sys.executable, "-W", "error", "manage.py", "demo", "--port", "0", "--sandbox-port", "0"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "STRIPE_"))
    }
    return {**clean, "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.sqlite3'}"}


@pytest.fixture
def serving(environment) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
    ) as process:
        yield process
        process.kill()


def run(command: str | list[str], environment: dict[str, str]) -> str:
    """Run a command that ends well and writes no error; return its output."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        shell=isinstance(command, str),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_it_pays_an_order_each_time_it_runs(environment):
    for _run in (1, 2):
        output = run([*COMMAND, "--exit"], environment)

        found = re.findall(r"^curl .*?\n\n\d+ \w.*?\n(\{.*?^\})$", output, re.S | re.M)
        create, attach, confirm, read, settle = map(json.loads, found)
        data = create["data"]
        assert list(data) == "id client_secret amount currency status line_items".split()
        assert (data["amount"], data["currency"]) == ("112.00", "usd")
        assert [each["status"] for each in (data, attach, confirm)] == [
            "requires_payment_method",
            "requires_confirmation",
            "succeeded",
        ]
        assert attach["id"] == confirm["id"] == data["id"]
        assert read["data"]["payment_status"] == "paid"
        assert settle == {
            "message": "Order marked as paid successfully",
            "data": {**data, "status": "succeeded"},
        }


def send_curl(line: str) -> tuple[int, Any]:
    """Do what a shown curl line does, without curl."""
    words = iter(shlex.split(line.replace("\\\n", "")))
    assert next(words) == "curl"
    method, url, headers = "GET", "", {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        else:
            url = word
    request = urllib.request.Request(url, headers=headers, method=method)
    with PAST_PROXIES.open(request, timeout=10) as response:
        return response.status, json.load(response)


@pytest.mark.slow
@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_the_invitation_can_be_followed_until_it_is_stopped(serving, environment, stop_signal):
    output = ""
    for line in serving.stdout:
        output += line
        if "Serving until Ctrl-C" in line:
            break
    if stop_signal == signal.SIGTERM:
        invitation = output.partition("Look around")[2]
        create, read = re.findall(r"^curl (?:.*\\\n)*.*$", invitation, re.M)
        [pay] = re.findall(r"^STRIPE_API_BASE=.* shop_payments_pay .*$", invitation, re.M)

        status, intent = send_curl(create)
        paid = json.loads(run(pay, environment))

        assert (status, send_curl(read)[0]) == (200, 200)
        assert (paid["id"], paid["status"]) == (intent["data"]["id"], "succeeded")
        shop = re.search(r"http://127\.0\.0\.1:\d+", invitation)
        assert shop is not None
        for path in ("/admin/login/", "/api/v1/shop/", "/api/docs/"):
            assert path.removesuffix("login/") in invitation
            with PAST_PROXIES.open(f"{shop[0]}{path}", timeout=10) as page:
                assert page.status == 200

    serving.send_signal(stop_signal)
    _, errors = serving.communicate(timeout=30)

    assert (serving.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("serve", "option"), [(serve_shop, "--port"), (serve_sandbox, "--sandbox-port")]
)
def test_it_names_the_port_that_is_taken(serve, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        words = rf"Cannot listen on port {port} .* Choose another one with {option}\."
        with pytest.raises(CommandError, match=words), serve(port):
            pass


def test_it_refuses_the_key_of_an_account(settings, monkeypatch):
    settings.DEBUG = True
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_of_an_account")

    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY is set") as refusal:
        call_command("demo", "--exit")

    assert "sk_test_of_an_account" not in str(refusal.value)


def test_it_does_not_run_in_production():
    with pytest.raises(CommandError, match="it runs with DJANGO_DEBUG=1 only"):
        call_command("demo", "--exit")
