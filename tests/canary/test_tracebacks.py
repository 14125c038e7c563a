"""No repr, no exception and no frame of a traceback shows a secret."""

from __future__ import annotations

from pprint import pformat
from typing import Any

import pytest

from shop_payments.conf import get_config
from shop_payments.gateway import get_gateway, read_event
from shop_payments.models import APIKey, PaymentIntent, Refund, WebhookEvent
from shop_payments.sandbox import Sandbox
from tests.admin.support import add
from tests.canary.detector import WEBHOOK_SECRETS
from tests.canary.reports import FrameAudit, logging_off, report, run
from tests.canary.scene import (
    CREATE_KEY,
    KEY_FORM,
    run_the_flow,
    run_what_comes_after,
)
from tests.support import Caller, event_body, sign


def test_nothing_shows_itself(scene, canary):
    scene.ask()
    scene.pay()
    scene.settle()
    scene.refund()
    (intent,) = scene.stripe._books.payment_intents.values()
    gateway = get_gateway()
    result = gateway.retrieve_payment_intent(intent["id"])
    body = event_body(intent)
    event = read_event(body, sign(body, secret=WEBHOOK_SECRETS[0]))
    models = (APIKey, PaymentIntent, WebhookEvent, Refund)
    rows = [row for model in models for row in model.objects.all()]

    for each in (result, event, get_config(), gateway, result.client_secret, *rows):
        canary.look_at(f"a {type(each).__name__}", f"{each!r} {each} {pformat([each])}")
    for shown in (vars(result), vars(event), vars(gateway)):
        canary.look_at("the fields of a result", repr(shown))

    canary.assert_silent()


class Unforeseen:
    """A Stripe in whose answer stripe-python fails in a way that nobody has foreseen."""

    def __init__(self, stripe: Sandbox, error: BaseException) -> None:
        self._stripe, self._error = stripe, error

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        answer = self._stripe.handle(method, url, headers, body)
        raise self._error from ValueError(answer.body)


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), SystemExit(1)])
def test_no_error_that_nobody_foresaw_does(scene, canary, stripe, configure, error):
    scene.ask()
    (intent,) = stripe._books.payment_intents.values()
    configure(STRIPE_API_BASE="", STRIPE_TRANSPORT=Unforeseen(stripe, error))

    with pytest.raises(type(error)) as caught:
        get_gateway().retrieve_payment_intent(intent["id"])

    assert "stripe/_api_requestor.py" in "".join(error.__notes__)
    with logging_off():  # without the frame of this test
        report(canary, (type(error), error, caught.tb.tb_next))
    canary.assert_silent()


# --- frames: an exception might come out of any call --------------------------------------------


@pytest.fixture
def audit(canary):
    audit = FrameAudit(canary)
    yield audit
    assert not audit.found, "\n".join(sorted(audit.found))


@pytest.mark.slow
def test_no_frame_shows_one_while_customers_pay(scene, audit):
    with audit.watching():
        run_the_flow(scene)
        run_what_comes_after(scene)

    gateway = {f"/gateway/{name}.py" for name in ("client", "building", "webhooks")}
    services = {f"/services/{name}.py" for name in ("receive_event", "refund_payment")}
    sync = {f"/sync/{name}.py" for name in ("payment_intents", "refunds")}
    assert gateway | services | sync | {"/api/views.py", "/outbox/sender.py"} <= audit.seen
    assert {"read_event", "parse_config", "_client", "_digest", "secret_of"} <= audit.sealed


@pytest.mark.slow
def test_no_frame_shows_one_while_staff_work(scene, canary, audit, new_secret):
    scene.ask()
    scene.pay("pm_card_createDispute")
    scene.settle()
    scene.dispute_and_owe()
    prefix = scene.storefront.headers["X-API-Key"].split("_")[1]

    with audit.watching():
        scene.staff.post(add(APIKey), KEY_FORM)
        Caller(client=scene.staff).post(
            f"orders/{scene.order.pk}/payment-intent", Accept="text/html"
        )
        statuses = scene.waive_the_rest() + scene.act_as_staff()
        scene.walk_the_admin(newest=2)
        APIKey.objects.exclude(prefix=prefix).delete()
        for arguments in (
            CREATE_KEY,
            ("shop_payments_api_key", "list"),
            ("shop_payments_api_key", "revoke", prefix),
            ("shop_payments_pay", scene.order.number, "--confirm"),
            ("shop_payments_purge", "--older-than", "90"),
        ):
            run(scene.canary, *arguments)

    assert {*statuses} <= {200, 302}
    canary.assert_silent()
    seen = {f"/admin/{name}.py" for name in ("api_keys", "actions", "review", "entry_actions")}
    seen |= {f"/services/{name}.py" for name in ("refund_payment", "record_staff_entry")}
    commands = ("shop_payments_api_key", "shop_payments_pay", "shop_payments_purge")
    assert seen | {f"/management/commands/{name}.py" for name in commands} <= audit.seen
