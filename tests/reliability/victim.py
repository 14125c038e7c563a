"""A process whose children each do one thing, and are killed in the middle of it.

``python -m tests.reliability.victim FILE`` with ``tests.reliability.settings``. It takes jobs as
lines of JSON and answers each with one. A job is done by a forked child, with a connection of its
own, so that a death costs milliseconds. Receivers of the host's signals append to FILE.

A job's ``without`` names what is taken away from the app (see ``switches.py``).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import time_machine
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from django.test import override_settings

from tests.reliability import switches
from tests.reliability.boundaries import Boundaries
from tests.reliability.worker import serve


def _by_staff() -> Any:
    from shop_payments.ledger.facts import Origin
    from shop_payments.models import Source

    return Origin(source=Source.ADMIN)


def capture(order_id: int, **values: Any) -> None:
    from shop_payments.services.capture_payment import capture_payment

    capture_payment(order_id=order_id, origin=_by_staff(), **values)


def capture_a_part(order_id: int) -> None:
    capture(order_id, amount_decimal=Decimal("50.00"))


def capture_and_waive(order_id: int) -> None:
    capture(order_id, amount_decimal=Decimal("50.00"), waive_rest=True)


def cancel(order_id: int) -> None:
    from shop_payments.services.cancel_payment import cancel_payment

    cancel_payment(order_id=order_id, origin=_by_staff())


def cancel_order(order_id: int) -> None:
    """What a shop does that cancels an order: the payment goes with it, after the commit."""
    from shop_payments.models import Order
    from shop_payments.services.cancel_payment import cancel_payment_on_commit

    with transaction.atomic():
        Order.objects.filter(pk=order_id).update(status=Order.Status.CANCELLED)
        cancel_payment_on_commit(order_id=order_id, origin=_by_staff())


def reevaluate(order_id: int) -> None:
    """What a shop does that has changed an order."""
    from shop_payments.services import reevaluate_order

    reevaluate_order(order_id)


def waive(order_id: int) -> None:
    from shop_payments.services.record_staff_entry import EntryRequest, waive_amount

    request = EntryRequest(reason="an old customer", key="waived")
    waive_amount(order_id=order_id, request=request, origin=_by_staff())


def settle_outside(order_id: int) -> None:
    from shop_payments.models import PaymentIntent
    from shop_payments.services.record_staff_entry import EntryRequest, settle_outside_stripe

    intent = PaymentIntent.objects.get(order_payment__order=order_id)
    settle_outside_stripe(
        order_id=order_id,
        intent_id=intent.stripe_id,
        request=EntryRequest(amount_decimal=Decimal("56.00"), reason="in cash", key="settled"),
        origin=_by_staff(),
    )


def revoke(order_id: int) -> None:
    from shop_payments.models import StaffEntry
    from shop_payments.services.record_staff_entry import revoke_staff_entry

    entry = StaffEntry.objects.get(order_payment__order=order_id)
    revoke_staff_entry(entry_pk=entry.pk, reason="a mistake", user=None, origin=_by_staff())


def sweep(order_id: int) -> None:
    """What runs by itself; that it finds work for a person is no failure."""
    try:
        call_command("shop_payments_reconcile", stdout=sys.stderr)
    except CommandError as error:
        _title, *problems = str(error).splitlines()
        if not problems or any("new review item" not in line for line in problems):
            raise


SERVICES: dict[str, Callable[[int], None]] = {
    each.__name__: each
    for each in (
        capture,
        capture_a_part,
        capture_and_waive,
        cancel,
        cancel_order,
        reevaluate,
        revoke,
        settle_outside,
        sweep,
        waive,
    )
}


def tell_a_file(path: str, boundaries: Boundaries) -> None:
    """Append a line for every signal; one small write to a file so opened is never torn."""
    from shop_payments.ledger.facts import SIGNALS

    record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for kind, signal in SIGNALS.items():

        def receiver(*, fact_id: Any, kind: str = kind, **kwargs: Any) -> None:
            os.write(record, f"{kind} {fact_id}\n".encode())

        signal.connect(boundaries.around(f"receiver of {kind}", receiver), weak=False)


def do(job: dict[str, Any], boundaries: Boundaries, application: Any, record: str) -> Any:
    """Do the job, ``later`` seconds from now."""
    boundaries.watch_database()
    boundaries.watch_http()
    tell_a_file(record, boundaries)
    switches.throw(job["without"])
    now = datetime.now(UTC)
    with (
        override_settings(SHOP_PAYMENTS={**settings.SHOP_PAYMENTS, **job["settings"]}),
        time_machine.travel(now + timedelta(seconds=job["later"]), tick=True),
    ):
        if job["service"]:
            SERVICES[job["service"]](job["order"])
            return {"status": 200, "body": ""}
        return serve(application, {"id": "", **job["call"]})


def in_a_child(job: dict[str, Any], application: Any, record: str) -> dict[str, Any]:
    """Fork, do the job there, and return what the child said before its end."""
    hear, speak = os.pipe()
    child = os.fork()
    if child:
        os.close(speak)
        with os.fdopen(hear) as said:
            words = said.read()
        _, status = os.waitpid(child, 0)
        return {**json.loads(words), "signal": os.WTERMSIG(status)}

    def say(**values: Any) -> None:
        with os.fdopen(os.dup(speak), "w") as pipe:
            pipe.write(json.dumps(values))

    try:
        os.close(hear)
        boundaries = Boundaries(kill_at=job["kill_at"], last_words=lambda at: say(killed=at))
        answer = do(job, boundaries, application, record)
        say(status=answer["status"], body=answer["body"], passed=boundaries.passed)
    except BaseException as error:
        traceback.print_exc()
        say(error=type(error).__name__)
    finally:
        os._exit(0)


def main(record: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what anything else prints is no answer
    application = get_wsgi_application()
    first = {"id": "", "method": "GET", "path": "/api/v1/shop", "headers": {}, "body": ""}
    serve(application, first)  # imports what there is to import
    connections.close_all()  # a connection cannot be shared with a child
    for line in sys.stdin:
        answers.write(json.dumps(in_a_child(json.loads(line), application, record)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
