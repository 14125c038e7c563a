"""Whatever is sent, something of Stripe's comes back: requests put together by chance."""

from __future__ import annotations

import json
from random import Random
from urllib.parse import quote

import pytest

from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.resources.base import Route
from shop_payments.sandbox.routes import ROUTES
from tests.sandbox.support import CARD, KEY, ORDER, PUBLISHABLE_KEY

REQUESTS = 3000
ENDPOINT = {"url": "http://127.0.0.1:9/", "enabled_events[]": "*"}
SOUND = {
    ("POST", "/v1/payment_intents"): ORDER,
    ("POST", "/v1/webhook_endpoints"): ENDPOINT,
    ("POST", "/v1/payment_methods"): {"type": "card", "card[number]": "4242424242424242"},
}
STRANGE_NAMES = ["", "[", "a[", "]", "metadata[]", "expand[x]", "card[number][x]", "__class__"]
_VALUES = """
1 100 -1 1e3 usd card true false * pm_card_visa pm_card_chargeDeclined pm_card_sepaDebit automatic
manual payment_method latest_charge data data.payment_method .. payment_intent.created a@b.c never
http://[ http://127.0.0.1/ https://shop.example/ 2025-03-31.basil one_off 4000000000009995 ² 💥
"""
VALUES = [*_VALUES.split(), "", "\x00", "x" * 6000, "9" * 40]


def names(route: Route) -> list[str]:
    return [*route.schema, *STRANGE_NAMES, *CARD]


def form(random: Random, route: Route) -> str:
    """Return some of what makes sense for the route, and some of what does not."""
    pairs = list(SOUND.get((route.method, route.path), {}).items()) if random.random() < 0.8 else []
    for _ in range(random.choice([0, 0, 1, 1, 2, 4])):
        name = random.choice(names(route)) + random.choice(["", "", "[]", "[k]", "[0]"])
        pairs.append((name, random.choice(VALUES)))
    encoded = "&".join(f"{quote(name, safe='[]')}={quote(value)}" for name, value in pairs)
    return encoded + random.choice(["", "", "", "", "&x=%ff"])


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_sent_stripe_answers(seed: int) -> None:
    random = Random(seed)
    sandbox = Sandbox(seed=seed)
    ids = ["x", "%2f", "%00"]
    statuses = set()
    for _ in range(REQUESTS):
        route = random.choice(ROUTES)
        path = route.path.replace("{id}", random.choice(ids))
        sent = form(random, route)
        key = random.choice([KEY, KEY, KEY, PUBLISHABLE_KEY, "sk_live_x"])
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": random.choice("abcdefgh")}

        if route.method == "GET":
            response = sandbox.handle("GET", f"{path}?{sent}", headers)
        else:
            response = sandbox.handle(route.method, path, headers, sent)

        statuses.add(response.status)
        body = json.loads(response.body)
        if response.status == 200:
            assert key != "sk_live_x"
            ids.append(body.get("id", "x"))
        else:
            assert response.status in (400, 401, 402, 403, 404), body
            assert body["error"]["message"]
            assert body["error"]["type"].endswith("_error")
    assert statuses >= {200, 400, 401, 403, 404}
