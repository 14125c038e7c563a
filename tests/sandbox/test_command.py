from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from shop_payments.sandbox import Sandbox, fault_from_words

ROOT = Path(__file__).parents[2]
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


def command(*arguments: str) -> list[str]:
    """Return the command line; no project and no database are there, and none is needed."""
    return [sys.executable, "-W", "error", "-c", MANAGE, *arguments]


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command("--port", "0"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def read_until(process: subprocess.Popen[str], end: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if end in line:
            break
    return "".join(lines)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_told_to_stop(
    running: subprocess.Popen[str], stop_signal: signal.Signals
) -> None:
    banner = read_until(running, "Stop with Ctrl-C")
    found = re.search(r"STRIPE_API_BASE=(http://127\.0\.0\.1:\d+)", banner)
    assert found is not None
    assert "STRIPE_SECRET_KEY=sk_test_sandbox" in banner
    request = urllib.request.Request(
        f"{found[1]}/v1/payment_intents", headers={"Authorization": "Bearer sk_test_sandbox"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200

    running.send_signal(stop_signal)
    _, errors = running.communicate(timeout=10)

    assert (running.returncode, errors) == (0, "")


@pytest.mark.parametrize("arguments", [["--port", "8_000"], ["--port", "+1"], ["--seed", "+7"]])
def test_a_number_is_digits_alone(arguments: list[str]) -> None:
    finished = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )

    assert finished.returncode == 2
    assert "a whole number from 0 to" in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--webhook-url", "http://127.0.0.1:8000/webhooks"], "go together"),
        (["--webhook-secret", "whsec_x"], "go together"),
        (
            ["--webhook-url", "https://example.com/", "--webhook-secret", "whsec_x"],
            "this machine only",
        ),
        (
            ["--webhook-url", "http://127.0.0.1:http/", "--webhook-secret", "whsec_x"],
            "Port could not be cast",
        ),
        (["--webhook-url", "http://127.0.0.1/", "--webhook-secret", ""], "has a secret"),
        (["--port", "99999"], "port must be 0-65535. Choose another one with --port."),
        (["--fault", "drop_after path=v1/refunds"], "path begins with /"),
        (["--fault", "webhook_lost type=paid"], "no event of the type 'paid'"),
        (["--fault", "gremlin"], "--fault: Fault 'gremlin': the kinds are latency, "),
        (["--fault", "error status=418"], "it takes status 409, 429"),
        (["--fault", "drop_after rate=often"], "rate=often: 'often' is not a number"),
        (["--fault", "drop_after wen=now"], "A fault has no 'wen'"),
    ],
)
def test_it_says_what_is_wrong(arguments: list[str], message: str) -> None:
    finished = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )

    assert finished.returncode == 1
    assert finished.stderr.startswith("CommandError: ")
    assert message in finished.stderr
    assert "whsec_x" not in finished.stderr


def test_it_runs_with_faults_and_a_seed() -> None:
    faults = ["error status=429", "drop_after path=/v1/payment_intents/*/confirm rate=0.1"]
    options = [word for fault in faults for word in ("--fault", fault)]
    twin = Sandbox(seed=7)
    for fault in faults:
        twin.inject(fault_from_words(fault))

    with subprocess.Popen(
        command("--port", "0", "--seed", "7", *options), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        banner = read_until(process, "Stop with Ctrl-C")
        found = re.search(r"STRIPE_API_BASE=(http://127\.0\.0\.1:\d+)", banner)
        assert found is not None
        answers = [create_intent(found[1]) for _ in range(2)]
        process.kill()

    assert [f"Fault: {fault}" in banner for fault in faults] == [True, True]
    assert [status for status, _ in answers] == [429, 200]
    expected = [twin.handle("POST", INTENTS, HEADERS, FORM) for _ in range(2)]
    assert answers[1][1] == json.loads(expected[1].body)["id"]


INTENTS = "/v1/payment_intents"
HEADERS = {"Authorization": "Bearer sk_test_sandbox"}
FORM = "amount=1000&currency=usd"


def create_intent(base: str) -> tuple[int, str]:
    """Return the status and the id, if there is one."""
    request = urllib.request.Request(base + INTENTS, data=FORM.encode(), headers=HEADERS)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)["id"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_the_intent_that_it_suggests_can_be_paid(running: subprocess.Popen[str]) -> None:
    """Found: with what Stripe takes as automatic, confirming wants a return_url."""
    banner = read_until(running, "Stop with Ctrl-C")
    (line,) = re.findall(r"^ +curl ((?:.*\\\n)*.*)$", banner, re.M)
    url, *options = shlex.split(line)
    form = "&".join(word for flag, word in pairwise(options) if flag == "-d")

    intent = post(url, form)
    paid = post(f"{url}/{intent['id']}/confirm", "payment_method=pm_card_visa")

    assert paid["status"] == "succeeded"


def post(url: str, form: str) -> dict[str, str]:
    request = urllib.request.Request(url, data=form.encode(), headers=HEADERS)
    with urllib.request.urlopen(request) as answer:
        found: dict[str, str] = json.load(answer)
        return found


def test_it_names_the_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        finished = subprocess.run(
            command("--port", port),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    assert finished.returncode == 1
    assert f"Cannot listen on port {port}" in finished.stderr
    assert "--port" in finished.stderr
