"""Other SDKs and their versions take payments from the sandbox: `python -m tests.sandbox.sdks`.

Installs stripe-python, stripe-node and dj-stripe from PyPI and npm into a temporary directory, and
takes a payment, a decline and a refund with each. Ends with 1 if one of them failed. It is not part
of CI. `python -m tests.sandbox.sdks node` runs those whose name contains the word.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shop_payments.sandbox import Sandbox, SandboxServer

ACCOUNT_VERSION = "2022-11-15"
"""For stripe-python 5, which names no version. Newer SDKs name their own."""

PYTHON = """
import sys
import stripe

stripe.api_key, stripe.api_base = "sk_test_sandbox", sys.argv[1]
CardError = getattr(stripe, "CardError", None) or stripe.error.CardError


def pay(card):
    intent = stripe.PaymentIntent.create(amount=1000, currency="usd")
    return stripe.PaymentIntent.confirm(
        intent.id, payment_method=card, return_url="https://shop.example/"
    )


try:
    pay("pm_card_chargeDeclined")
except CardError as error:
    assert error.code == "card_declined", error
else:
    raise AssertionError("it was not declined")
paid = pay("pm_card_visa")
assert paid.status == "succeeded", paid
refund = stripe.Refund.create(payment_intent=paid.id, amount=300)
assert refund.status == "succeeded", refund
charge = stripe.PaymentIntent.retrieve(paid.id, expand=["latest_charge"]).latest_charge
assert charge.amount_refunded == 300, charge
assert paid.id in [each.id for each in stripe.PaymentIntent.list(limit=5).auto_paging_iter()]
print(paid.last_response.headers["stripe-version"])
"""

NODE = """
const {port} = new URL(process.argv[2]);
const Stripe = require("stripe");
const stripe = new Stripe("sk_test_sandbox", {host: "127.0.0.1", port, protocol: "http"});

async function pay(card) {
    const intent = await stripe.paymentIntents.create({amount: 1000, currency: "usd"});
    return stripe.paymentIntents.confirm(
        intent.id, {payment_method: card, return_url: "https://shop.example/"},
    );
}

function check(condition, found) {
    if (!condition) throw new Error(JSON.stringify(found));
}

(async () => {
    const declined = await pay("pm_card_chargeDeclined").catch((error) => error);
    check(declined.code === "card_declined", declined);
    const paid = await pay("pm_card_visa");
    check(paid.status === "succeeded", paid);
    const refund = await stripe.refunds.create({payment_intent: paid.id, amount: 300});
    check(refund.status === "succeeded", refund);
    const again = await stripe.paymentIntents.retrieve(paid.id, {expand: ["latest_charge"]});
    check(again.latest_charge.amount_refunded === 300, again);
    console.log(paid.lastResponse.apiVersion);
})().catch((error) => { console.error(error); process.exit(1); });
"""

DJSTRIPE = """
import sys
import django
from django.conf import settings

KEY = "sk_test_" + "sandbox" * 4  # dj-stripe wants it as long as a real one

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djstripe"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    STRIPE_TEST_SECRET_KEY=KEY,
    STRIPE_LIVE_MODE=False,
    STRIPE_API_HOST=sys.argv[1],
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
import stripe
from djstripe import models

stripe.api_key, stripe.api_base = KEY, sys.argv[1]
key = models.APIKey.objects.get_or_create_by_api_key(KEY)[0]
key.refresh_account()
assert key.djstripe_owner_account.id.startswith("acct_")
intent = stripe.PaymentIntent.create(amount=1000, currency="usd")
paid = stripe.PaymentIntent.confirm(
    intent.id, payment_method="pm_card_visa", return_url="https://shop.example/"
)
row = models.PaymentIntent.sync_from_stripe_data(paid, api_key=KEY)
assert row.stripe_data["status"] == "succeeded", row.stripe_data
refund = stripe.Refund.create(payment_intent=paid.id)
row = models.Refund.sync_from_stripe_data(refund, api_key=KEY)
assert row.stripe_data["status"] == "succeeded", row.stripe_data
print(paid.last_response.headers["stripe-version"])
"""


class Client(NamedTuple):
    """An SDK in one version."""

    name: str
    install: list[str]
    script: str
    suffix: str


def clients() -> Iterator[Client]:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for major in (5, 9, 11, 13, 15, 16):
        wanted = f"stripe>={major},<{major + 1}"
        yield Client(f"stripe-python {major}", [*pip, "--target", ".", wanted], PYTHON, ".py")
    for major in range(12, 24):
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"stripe@{major}"]
        yield Client(f"stripe-node {major}", npm, NODE, ".cjs")
    djstripe = [*pip, "--target", ".", "dj-stripe>=2.11,<2.12", "Django>=5.2,<6"]
    yield Client("dj-stripe 2.11", djstripe, DJSTRIPE, ".py")


def run(client: Client, url: str) -> subprocess.CompletedProcess[str]:
    """Install an SDK, and run its script."""
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        script = where / f"take_a_payment{client.suffix}"
        script.write_text(client.script)
        installed = subprocess.run(client.install, cwd=where, capture_output=True, text=True)
        if installed.returncode:
            return installed
        program = [sys.executable] if client.suffix == ".py" else ["node"]
        command = [*program, script.name, url]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": directory}
        return subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, timeout=120
        )


def main(words: list[str]) -> int:
    failed = 0
    with SandboxServer(Sandbox(api_version=ACCOUNT_VERSION)) as server:
        for client in clients():
            if words and not any(word in client.name for word in words):
                continue
            done = run(client, server.url)
            failed += bool(done.returncode)
            version = done.stdout.strip()
            outcome = done.stderr if done.returncode else f"{version} works"
            sys.stdout.write(f"{client.name}: {outcome}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
