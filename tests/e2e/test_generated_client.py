"""A client that is generated from docs/openapi.yaml takes a payment, over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shop_payments.models import APIKeyScope, OrderPayment
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.generated_docs import OPENAPI

pytestmark = [
    pytest.mark.clients,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "RECIPE_PACKAGES" not in os.environ, reason="needs RECIPE_PACKAGES=DIRECTORY"
    ),
]

CLIENT = """
import json
import sys

import httpx
from shop_payments_client import AuthenticatedClient, Client
from shop_payments_client.api.payments import (
    shop_orders_list,
    shop_orders_retrieve,
    shop_payment_intent_create,
    shop_payment_settle,
    shop_refund_create,
)
from shop_payments_client.models import (
    ShopInvalidRequestError,
    ShopOrderAlreadyPaidError,
    ShopPaymentNotCompletedError,
    ShopPaymentStatusEnum,
    ShopRefund,
    ShopRefundRequest,
)

shop, stripe, order = sys.argv[1:4]
token, storefront_key, payments_key, refunds_key = sys.argv[4:]

customer = AuthenticatedClient(base_url=shop, token=token, headers={"X-API-Key": storefront_key})
payment_system = Client(base_url=shop, headers={"X-API-Key": payments_key})
accounting = Client(base_url=shop, headers={"X-API-Key": refunds_key})

intent = shop_payment_intent_create.sync(order, client=customer).data
early = shop_payment_settle.sync(order, client=payment_system)
assert isinstance(early, ShopPaymentNotCompletedError), early
assert early.data.status == "requires_payment_method"

# What the customer's browser does with Stripe.js.
secret = {"Authorization": "Bearer sk_test_of_the_tests"}
path = f"{stripe}/v1/payment_intents/{intent.id}/confirm"
httpx.post(path, headers=secret, data={"payment_method": "pm_card_visa"}).raise_for_status()

paid = shop_payment_settle.sync(order, client=payment_system)
assert paid.data.status == "succeeded", paid
again = shop_payment_intent_create.sync(order, client=customer)
assert isinstance(again, ShopOrderAlreadyPaidError), again

refund = shop_refund_create.sync(
    order, client=accounting, body=ShopRefundRequest(amount="12.50"), idempotency_key="one"
)
assert isinstance(refund.data, ShopRefund), refund

# Pages of orders with a filter.
found, query = [], {"payment_status": ShopPaymentStatusEnum.PARTIALLY_REFUNDED}
while True:
    page = shop_orders_list.sync(client=customer, **query).data
    found += [each.id for each in page.results]
    if page.next_ is None:
        break
    query["cursor"] = httpx.URL(page.next_).params["cursor"]
shown = shop_orders_retrieve.sync(order, client=customer).data
moment = shown.created_at
ranges = [
    shop_orders_list.sync(client=customer, number=shown.number, **{end: value}).data.results
    for value in (moment, moment.date())
    for end in ("created_from", "created_before")
]

# An error, with the id of the request.
refused = shop_orders_list.sync_detailed(client=customer, cursor="x", x_request_id="client-7")
assert isinstance(refused.parsed, ShopInvalidRequestError), refused

print(json.dumps({
    "amount": intent.amount,
    "refunded": refund.data.amount,
    "found": found,
    "ranges": [len(each) for each in ranges],
    "status": shown.payment_status,
    "errors": refused.parsed.errors.to_dict(),
    "request_id": refused.headers["X-Request-ID"],
    "code": again.code,
}))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where a generated client is found, with what it needs."""
    packages = os.environ["RECIPE_PACKAGES"]
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")  # nothing to format
    made = tmp_path / "client"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([str(made), packages]),
    }


def run(*arguments: str, **how: Any) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, **how
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def test_a_generated_client_takes_a_payment(shop, sandbox, order, environment, configure, tmp_path):
    configure(PAGE_SIZE=1)
    for _another in range(2):
        OrderFactory.create(customer=order.customer)
    where = {"env": environment, "cwd": tmp_path}
    generate = ["-m", "openapi_python_client", "generate", "--config", "config.yaml"]
    said = run(*generate, "--path", str(OPENAPI), "--output-path", "client", **where)
    assert "warning" not in said.lower(), said
    keys = [issue_key(scope) for scope in APIKeyScope]
    token = TokenFactory.create(user=order.customer).key

    printed = run("-c", CLIENT, shop, sandbox.url, str(order.pk), token, *keys, **where)

    assert json.loads(printed) == {
        "amount": "112.00",
        "refunded": "12.50",
        "found": [str(order.pk)],
        "ranges": [1, 0, 1, 0],
        "status": "partially_refunded",
        "errors": {
            "cursor": ["The cursor is not valid. Begin again at the first page, without a cursor."]
        },
        "request_id": "client-7",
        "code": "order_already_paid",
    }
    assert OrderPayment.objects.get().amount_refunded == 1250
