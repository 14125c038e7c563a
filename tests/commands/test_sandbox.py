"""`manage.py shop_payments_sandbox`, which needs no project and no database."""

from __future__ import annotations

import json
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command

from shop_payments.sandbox import Sandbox, fault_from_words
from tests.generated_docs import ROOT

MANAGE = """
import sys
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=[])
django.setup()
from django.core.management import load_command_class
command = load_command_class("shop_payments", "shop_payments_sandbox")
command.run_from_argv(["manage.py", "shop_payments_sandbox", *sys.argv[1:]])
"""
HEADERS = {"Authorization": "Bearer sk_test_sandbox"}
INTENTS, FORM = "/v1/payment_intents", "amount=1000&currency=usd"


@contextmanager
def running(*arguments: str):
    """Start it; yield the process, its first lines and its address."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", MANAGE, "--port", "0", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        banner = ""
        assert process.stdout
        while "Stop with Ctrl-C" not in banner and (line := process.stdout.readline()):
            banner += line
        found = re.search(r"STRIPE_API_BASE=(http://127\.0\.0\.1:\d+)", banner)
        assert found
        try:
            yield process, banner, found[1]
        finally:
            process.kill()


def post(url: str, form: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(url, data=form.encode(), headers=HEADERS)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def stop(process: subprocess.Popen[str], stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


def test_it_serves_until_it_is_stopped_and_suggests_an_intent_that_can_be_paid():
    """Found: with what Stripe takes as automatic, confirming wants a return_url."""
    with running() as (process, banner, _base):
        assert "STRIPE_SECRET_KEY=sk_test_sandbox" in banner
        (line,) = re.findall(r"^ +curl ((?:.*\\\n)*.*)$", banner, re.M)
        url, *options = shlex.split(line)
        form = "&".join(word for flag, word in pairwise(options) if flag == "-d")
        _, intent = post(url, form)
        _, paid = post(f"{url}/{intent['id']}/confirm", "payment_method=pm_card_visa")
        assert paid["status"] == "succeeded"
        stop(process, signal.SIGINT)


def test_it_runs_with_faults_and_a_seed():
    faults = ["error status=429", "drop_after path=/v1/payment_intents/*/confirm rate=0.1"]
    options = [word for fault in faults for word in ("--fault", fault)]
    twin = Sandbox(seed=7)
    for fault in faults:
        twin.inject(fault_from_words(fault))
    with running("--seed", "7", "--api-version", "2022-08-01", *options) as (process, banner, base):
        answers = [post(base + INTENTS, FORM) for _ in range(2)]
        stop(process, signal.SIGTERM)
    assert [f"Fault: {fault}" in banner for fault in faults] == [True, True]
    assert [status for status, _ in answers] == [429, 200]
    expected = [twin.handle("POST", INTENTS, HEADERS, FORM) for _ in range(2)]
    assert answers[1][1]["id"] == json.loads(expected[1].body)["id"]
    assert "charges" in answers[1][1]


def test_it_prints_failed_deliveries():
    """Found: a wrong webhook secret was visible nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/hook"
    with running("--webhook-url", url, "--webhook-secret", "whsec_x") as (process, _, base):
        post(base + INTENTS, FORM)
        assert process.stdout
        assert select.select([process.stdout], [], [], 10)[0], "nothing was printed"
        line = process.stdout.readline()
        stop(process, signal.SIGINT)
    assert re.fullmatch(
        rf"Delivery failed: event=evt_\w+ type=payment_intent.created url={url} status=none "
        r"next_try=1s\n",
        line,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--webhook-secret", "whsec_x"], "go together"),
        (["--api-version", "2018-11-08"], "only Stripe's since 2019-02-11"),
        (
            ["--webhook-url", "https://example.com/", "--webhook-secret", "whsec_x"],
            "this machine only",
        ),
        (["--port", "99999"], "port must be 0-65535. Choose another one with --port."),
        (["--fault", "gremlin"], "--fault: Fault 'gremlin': the kinds are latency, "),
    ],
)
def test_it_says_what_is_wrong(arguments, message):
    with pytest.raises(CommandError) as refusal:
        call_command("shop_payments_sandbox", *arguments)
    assert message in str(refusal.value)
    assert "whsec_x" not in str(refusal.value)


def test_it_names_the_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Cannot listen on port {port}.*--port"):
            call_command("shop_payments_sandbox", "--port", str(port))
