"""The floor: raw WSGI, one INSERT, and for an intent one request to Stripe, unchecked."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import psycopg

_database = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
_stripe = http.client.HTTPConnection(urlsplit(os.environ["STRIPE_API_BASE"]).netloc)
_INSERT = "INSERT INTO floor (body) VALUES (%s)"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Store the body; for an intent, ask Stripe first and return its answer."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
    answer = b"{}"
    if environ["PATH_INFO"].endswith("/payment-intent"):
        _stripe.request("POST", "/v1/payment_intents", "amount=11200&currency=usd")
        answer = _stripe.getresponse().read()
        body = answer
    _database.execute(_INSERT, [body.decode()])
    length = ("Content-Length", str(len(answer)))
    start_response("200 OK", [("Content-Type", "application/json"), length])
    return [answer]
