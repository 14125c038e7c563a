"""What the answers of the demo's calls have to look like: docs/api.md as data.

A shape is a JSON value in which a type stands for any value of that type, a pattern for any string
that it matches, and a list for a list whose every element has the shape of its one element. A dict
has exactly these keys, an :class:`AtLeast` may have more.
"""

from __future__ import annotations

import re
from typing import Any

Shape = Any


class AtLeast(dict[str, Shape]):
    """A dict that may have other keys as well: Stripe adds some from time to time."""


INTENT_ID = re.compile(r"pi_\w+")
CLIENT_SECRET = re.compile(r"pi_\w+_secret_\w+")

LINE_ITEM: Shape = {
    "name": "Main product 2",
    "amount": 5600,
    "currency": "usd",
    "quantity": 2,
    "description": "",
}


def payment_intent_answer(
    *,
    message: str,
    status: str,
    intent_id: Shape = INTENT_ID,
    client_secret: Shape = CLIENT_SECRET,
) -> Shape:
    """The answer of ``POST payment-intent`` and of ``POST payment`` (sections 1 and 3)."""
    return {
        "message": message,
        "data": {
            "id": intent_id,
            "client_secret": client_secret,
            "amount": "112.00",
            "currency": "usd",
            "status": status,
            "line_items": [LINE_ITEM],
        },
    }


def stripe_intent(
    *, intent_id: str, client_secret: str, order_id: str, order_number: str, status: str
) -> Shape:
    """Stripe's own answer (section 2), less ``invoice``, which Stripe has removed since."""
    return AtLeast(
        id=intent_id,
        object="payment_intent",
        amount=11200,
        amount_capturable=0,
        amount_details=dict,
        amount_received=11200 if status == "succeeded" else 0,
        application=None,
        application_fee_amount=None,
        automatic_payment_methods=None,
        canceled_at=None,
        cancellation_reason=None,
        capture_method="automatic_async",
        client_secret=client_secret,
        confirmation_method="automatic",
        created=int,
        currency="usd",
        customer=None,
        description=f"Payment for Order #{order_number}",
        last_payment_error=None,
        latest_charge=re.compile(r"ch_\w+") if status == "succeeded" else None,
        livemode=False,
        metadata=AtLeast(
            line_items='[{"name":"Main product 2","amount":5600,"currency":"usd","quantity":2,'
            '"description":""}]',
            order_id=order_id,
            order_number=order_number,
        ),
        next_action=None,
        on_behalf_of=None,
        payment_method=re.compile(r"pm_\w+"),
        payment_method_configuration_details=None,
        payment_method_options={
            "card": AtLeast(
                installments=None,
                mandate_options=None,
                network=None,
                request_three_d_secure="automatic",
            )
        },
        payment_method_types=["card"],
        processing=None,
        receipt_email=re.compile(r"[^@\s]+@[^@\s]+"),
        review=None,
        setup_future_usage=None,
        shipping=None,
        source=None,
        statement_descriptor=None,
        statement_descriptor_suffix=None,
        status=status,
        transfer_data=None,
        transfer_group=None,
    )


def paid_order_answer(*, order_id: str, order_number: str, intent_id: str) -> Shape:
    """The answer of ``GET orders/{order_id}`` once the order is paid."""
    return {
        "message": "Order",
        "data": {
            "id": order_id,
            "number": order_number,
            "created_at": re.compile(r"\d{4}-\d\d-\d\dT\S+"),
            "amount": "112.00",
            "total": "112.00",
            "outstanding": "0.00",
            "waived": "0.00",
            "currency": "usd",
            "payable": False,
            "payment_status": "paid",
            "amount_refunded": "0.00",
            "dispute": "",
            "needs_review": False,
            "paid_at": re.compile(r"\d{4}-\d\d-\d\dT\S+"),
            "line_items": [LINE_ITEM],
            "payment_intent": {
                "id": intent_id,
                "status": "succeeded",
                "amount": 11200,
                "currency": "usd",
            },
            "payments": [
                {
                    "id": intent_id,
                    "amount_received": "112.00",
                    "currency": "usd",
                    "counts": True,
                    "charged_at": re.compile(r"\d{4}-\d\d-\d\dT\S+"),
                }
            ],
            "links": {"order": str, "payment_intent": str, "payment": str, "refunds": str},
        },
    }


def deviations(value: Any, shape: Shape, path: str = "answer") -> list[str]:
    """Say where ``value`` is not of ``shape``; nothing where it is.

    Client secrets are not quoted.
    """
    if isinstance(shape, dict):
        return _dict_deviations(value, shape, path)
    if isinstance(shape, list):
        return _list_deviations(value, shape, path)
    if _fits(value, shape):
        return []
    if path.endswith("client_secret"):
        return [f"{path} is not the one expected"]
    return [f"{path} is {value!r}, not {_describe(shape)}"]


def _fits(value: Any, shape: Shape) -> bool:
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if isinstance(shape, type):
        return type(value) is shape
    return type(value) is type(shape) and value == shape


def _describe(shape: Shape) -> str:
    if isinstance(shape, re.Pattern):
        return f"like {shape.pattern}"
    return f"of type {shape.__name__}" if isinstance(shape, type) else repr(shape)


def _dict_deviations(value: Any, shape: dict[str, Shape], path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is {value!r}, not an object"]
    extra = [] if isinstance(shape, AtLeast) else sorted(value.keys() - shape.keys())
    found = [f"{path}.{name} is missing" for name in shape if name not in value]
    found += [f"{path}.{name} should not be there" for name in extra]
    for name in shape.keys() & value.keys():
        found += deviations(value[name], shape[name], f"{path}.{name}")
    return found


def _list_deviations(value: Any, shape: list[Shape], path: str) -> list[str]:
    if not isinstance(value, list) or not value:
        return [f"{path} is {value!r}, not a list with elements"]
    [element] = shape
    return [
        deviation
        for position, item in enumerate(value)
        for deviation in deviations(item, element, f"{path}[{position}]")
    ]
