"""Schemathesis makes calls from docs/openapi.yaml, alone and in a row, and checks each answer.

``FIGURES=full`` makes at least 10,000 calls.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from shop_payments.models import APIKey, APIKeyScope, OrderPayment, Refund
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.generated_docs import OPENAPI
from tests.support import WEBHOOK_SECRET

pytestmark = [
    pytest.mark.clients,
    pytest.mark.figures,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "RECIPE_PACKAGES" not in os.environ, reason="needs RECIPE_PACKAGES=DIRECTORY"
    ),
]

IS_FULL = os.environ.get("FIGURES") == "full"
EXAMPLES = 750 if IS_FULL else 5
"""Calls of each operation, and as many rows of calls."""

CALLS = 10_000 if IS_FULL else 200
"""Calls that a run makes at least."""

CONFIG = """
hooks = "hooks"

[generation]
# The keys and tokens of the command line, and those of nobody.
with-security-parameters = false

[[operations]]
include-path-regex = "/orders$"
# A cursor comes from another page, and a range must not end before it begins.
checks.positive_data_acceptance.expected-statuses = [200, 400]

[[operations]]
include-path-regex = "/webhooks/stripe$"
# A body may have the keys of an event, and not be one.
checks.positive_data_acceptance.expected-statuses = [200, 400]

[[operations]]
include-path-regex = "/refunds$"
# An amount may be one that the currency cannot represent.
checks.positive_data_acceptance.expected-statuses = [200, 400, 404, 409, 422]
"""

HOOKS = '''
import json
import os
import time
import urllib.request
from itertools import cycle

import schemathesis
from stripe import WebhookSignature


CARDS = cycle(["pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", ""])


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sign the webhooks, as Stripe does."""
    if case.path.endswith("/webhooks/stripe") and isinstance(case.body, dict) and case.body:
        moment = int(time.time())
        signed = f"{moment}.{json.dumps(case.body)}"
        signature = WebhookSignature._compute_signature(signed, os.environ["WEBHOOK_SECRET"])
        case.headers["Stripe-Signature"] = f"t={moment},v1={signature}"


@schemathesis.hook
def after_call(context, case, response):
    """Try to pay three intents of four, as a customer's browser does."""
    if response.status_code == 200 and case.method == "POST" and case.path.endswith("-intent"):
        intent = response.json()["data"]["id"]
        if card := next(CARDS):
            url = f"{os.environ['STRIPE']}/v1/payment_intents/{intent}/confirm"
            body = f"payment_method={card}".encode()
            secret = {"Authorization": "Bearer sk_test_of_the_tests"}
            try:
                urllib.request.urlopen(urllib.request.Request(url, body, secret))
            except urllib.error.HTTPError as error:
                assert error.code in (400, 402), error
'''


def test_every_answer_is_what_the_schema_says(shop, sandbox, tmp_path, figure):
    customer = UserFactory.create()
    OrderFactory.create_batch(EXAMPLES, customer=customer)
    _key, secret = APIKey.objects.issue(label="All", scopes=[*APIKeyScope])
    token = TokenFactory.create(user=customer).key
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    (tmp_path / "hooks.py").write_text(HOOKS)
    packages = os.environ["RECIPE_PACKAGES"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(OPENAPI), "--url", shop]
    command += ["--seed", "1", "--max-examples", str(EXAMPLES)]
    command += ["-H", f"Authorization: Bearer {token}", "-H", f"X-API-Key: {secret.reveal()}"]
    environment = {
        **os.environ,
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), packages]),
        "STRIPE": sandbox.url,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
    }

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    counted = re.search(r"(\d[\d,]*) generated, (\d[\d,]*) passed", said)
    assert counted, said
    made, passed = (int(number.replace(",", "")) for number in counted.groups())
    assert made == passed >= CALLS, said
    paid = OrderPayment.objects.filter(amount_received__gt=0).count()
    refunds = Refund.objects.filter(status="succeeded").count()
    assert paid
    assert refunds or not IS_FULL, "a short run may leave out refunds of paid orders"
    figure(f"{made} calls from the OpenAPI schema: {paid} orders paid, {refunds} refunds, 0 wrong")
