"""Every command is run over a shop full of secrets, and says none of them."""

from __future__ import annotations

import pkgutil

from shop_payments.management import commands
from shop_payments.models import WebhookEvent
from tests.canary.detector import WEBHOOK_SECRETS
from tests.canary.reports import run
from tests.canary.scene import COMMANDS_AFTER_PAID, run_the_flow


def test_no_command_says_one(scene, canary):
    run_the_flow(scene)
    events = WebhookEvent.objects.values_list("event_id", flat=True)
    calls = [
        *COMMANDS_AFTER_PAID,
        *(("shop_payments_events", "show", event) for event in events),
        ("shop_payments_events", "replay", *events),
        ("shop_payments_reconcile", "--dry-run"),
        ("shop_payments_api_key", "list"),
        ("shop_payments_order", str(scene.order.pk)),
        ("shop_payments_pay", scene.order.number, "--confirm"),
        ("shop_payments_purge", "--older-than", "31"),
        ("shop_payments_sandbox", "--webhook-secret", WEBHOOK_SECRETS[0]),
    ]

    said = {}
    for arguments in calls:
        said[arguments] = run(canary, *arguments)
        canary.look_at(f"what {arguments[:2]} writes", said[arguments])

    assert {arguments[0] for arguments in calls} == {
        module.name for module in pkgutil.iter_modules(commands.__path__)
    }
    assert any('"metadata": {' in text for text in said.values()), "an event with all it says"
    canary.assert_silent()
