"""Other clients use the sandbox: Stripe's command line and curl. CI installs these programs.

The gateway is the test of stripe-python: `tests/gateway`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.sandbox.sdk_types import answer_problems
from tests.sandbox.support import KEY, Receiver

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "sandbox.md"
NOT_COVERED = "payment_intent.partially_funded"

pytestmark = pytest.mark.clients


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """With an older version: triggers send `payment_method_types`, removed in 2026-09-30."""
    with SandboxServer(Sandbox(api_version="2025-03-31.basil")) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> Sandbox:
    return server.sandbox


def run(program: str, package: str, *arguments: str, **environment: str) -> Any:
    """Run another client and return the process; skip the test if it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {package}")
    return subprocess.run(
        [path, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def stripe_cli(server, tmp_path) -> Callable[..., Any]:
    package = "Stripe's command line (npm install -g @stripe/cli)"
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    home |= {"STRIPE_CLI_TELEMETRY_OPTOUT": "1", "STRIPE_NO_AUTO_UPDATE": "1"}
    options = ("--api-base", server.url, "--api-key", KEY)
    return lambda *arguments: run("stripe", package, *arguments, *options, **home)


def test_all_triggers_of_stripes_command_line_but_one_work(stripe_cli, sandbox):
    words = stripe_cli("trigger", "--help").stdout.split()
    offered = {word for word in words if word.startswith(("payment_intent.", "charge."))}
    assert offered > {"charge.dispute.created", NOT_COVERED}
    assert len(offered) > 15

    for event in offered - {NOT_COVERED}:
        triggered = stripe_cli("trigger", event)
        assert triggered.returncode == 0, f"{event}: {triggered.stderr}"
        assert event in {each["type"] for each in sandbox.events}
    refused = stripe_cli("trigger", NOT_COVERED)

    assert refused.returncode != 0
    assert "The sandbox does not cover POST /v1/customers" in refused.stderr
    assert f"`trigger {NOT_COVERED}`" in " ".join(DOCUMENTATION.read_text().split())


def test_stripes_command_line_sends_an_event_again(stripe_cli, sandbox):
    receiver = Receiver()
    endpoint = sandbox.add_webhook("http://127.0.0.1/", "whsec_test", deliver=receiver)
    stripe_cli("trigger", "payment_intent.created")
    sandbox.deliver_due()
    (event,) = sandbox.events

    sent = stripe_cli("events", "resend", event["id"], "--webhook-endpoint", endpoint.id)
    sandbox.deliver_due()

    assert json.loads(sent.stdout)["id"] == event["id"], sent.stderr
    assert [each["id"] for each in receiver.events] == [event["id"]] * 2


def test_curl_makes_a_payment_as_the_documentation_shows_it(server):
    def curl(path: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        options = ("-q", "-s", "-w", "\n%{http_code}", f"{server.url}/v1/payment_intents{path}")
        body, _, status = run("curl", "curl", *options, *arguments).stdout.rpartition("\n")
        values = json.loads(body)
        assert answer_problems(values) == []
        return int(status), values

    user = ("-u", f"{KEY}:")
    order = "amount=1000&currency=usd&allowed_payment_method_types[]=card"
    _, intent = curl("", *user, "-d", order)
    path = f"/{intent['id']}"
    curl(path, *user, "-d", "payment_method=pm_card_visa")
    status, paid = curl(f"{path}/confirm", *user, "-X", "POST")

    assert (status, paid["status"]) == (200, "succeeded")
    assert curl(path, "-H", f"Authorization: Bearer {KEY}") == (200, paid)
    assert curl("?limit=1", *user)[1]["data"] == [paid]
    assert curl("")[0] == 401
    assert curl("", *user, "-H", "Content-Type: application/json", "-d", "{}")[0] == 400
