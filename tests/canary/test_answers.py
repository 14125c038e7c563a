"""Whatever Stripe answers or sends, and whatever callers send, is not repeated."""

from __future__ import annotations

import json

import pytest

from tests.canary.detector import Witness
from tests.canary.mangled import MANGLED, Mangler, spill
from tests.canary.reports import reports_of
from tests.canary.scene import reachable_through, run_the_flow
from tests.support import event_body, post_webhook


@pytest.mark.parametrize("name", MANGLED)
def test_no_answer_of_stripes_does(scene, canary, stripe, configure, name):
    mangler = Mangler(stripe, MANGLED[name])
    configure(**reachable_through(mangler))

    statuses = run_the_flow(scene, mangler.arm)

    if name == "secrets everywhere":
        scene.walk_the_admin()
    assert 500 not in statuses
    reports_of(canary)
    canary.assert_silent()


@pytest.mark.parametrize("name", MANGLED)
def test_no_event_of_stripes_does(scene, canary, stripe, name):
    scene.ask()
    (intent,) = stripe._books.payment_intents.values()
    mangled = MANGLED[name](intent)
    content = mangled[1] if isinstance(mangled, tuple) else mangled
    bodies = [
        event_body({}, type="payment_intent.succeeded", data={"object": content}),
        event_body({}, type=spill(intent), data={"object": content}),
        event_body(intent, api_version=spill(intent), request={"id": spill(intent)}),
        event_body({**intent, "status": "succeeded"}, id=spill(intent)),
        event_body(intent, created=spill(intent)),
        json.dumps(content).encode(),
    ]

    statuses = {scene.send(body).status_code for body in bodies}
    unsigned = post_webhook(bodies[0], f"t=1,v1={spill(intent)}", client=Witness(canary))

    assert statuses <= {200, 400, 503}
    assert unsigned.status_code == 400
    if name == "secrets everywhere":
        scene.walk_the_admin()
    reports_of(canary)
    canary.assert_silent()


def test_no_bad_key_or_token_of_a_caller_does(scene, canary):
    key = canary.learn("a key that was mistyped", f"x{scene.storefront.headers['X-API-Key']}")
    callers = [
        {"Authorization": f"Bearer {key}"},
        {"X-API-Key": key},
        {"X-API-Key": key.replace("xspk", "spk") + "x"},
        {"X-API-Key": scene.storefront.headers["Authorization"]},
        {"Authorization": f"Bearer {scene.storefront.headers['X-API-Key']}"},
    ]

    for headers in callers:
        assert scene.storefront.get("orders", **headers).status_code in {200, 401}
        response = scene.storefront.post(f"orders/{scene.order.pk}/payment-intent", **headers)
        assert response.status_code == 401

    canary.assert_silent()


def test_a_secret_in_a_body_is_not_repeated(scene, canary):
    scene.ask()
    (secret,) = canary.client_secrets().values()

    for body in ({"client_secret": secret}, [secret], secret):
        assert scene.storefront.payment_intent(scene.order, body).status_code == 400

    canary.assert_silent()
