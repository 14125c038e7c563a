"""Deliveries in the background: an endpoint that hangs delays no other."""

from __future__ import annotations

import socket
import threading
import time

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.sandbox.conftest import URL
from tests.sandbox.support import Api
from tests.threads import PATIENCE, Hold


def test_a_receiver_that_hangs_delays_no_other_which_gets_the_events_in_their_order(server):
    hanging, arrived, reached = Hold(), [], threading.Event()

    def deliver(url, body, headers):
        arrived.append(body)
        if len(arrived) == 20:
            reached.set()
        return 200

    def hang(url, body, headers):
        hanging.hold()
        return 200

    server.sandbox.add_webhook(URL, "whsec_x", deliver=hang)
    server.sandbox.add_webhook(URL, "whsec_x", deliver=deliver)
    api = Api(server.sandbox)
    for number in range(20):
        api.create(description=f"number {number}.")

    assert reached.wait(PATIENCE)
    pending = server.sandbox.pending_deliveries
    hanging.let_go.set()

    assert [b"number %d." % number in body for number, body in enumerate(arrived)] == [True] * 20
    assert len(pending) == 20  # all to the first receiver


def test_stopping_does_not_wait_for_a_receiver_that_never_answers(monkeypatch):
    monkeypatch.setattr("shop_payments.sandbox.server.STOP_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sandbox = Sandbox()
        sandbox.add_webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", "whsec_x")
        with SandboxServer(sandbox):
            Api(sandbox).create()
            connection, _ = silent.accept()
            began = time.monotonic()
        connection.close()

        assert time.monotonic() - began < 5
