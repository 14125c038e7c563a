"""No request stops the sandbox."""

from __future__ import annotations

import os

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.sandbox import malformed
from tests.sandbox.support import Api

NUMBER = int(os.environ.get("SANDBOX_MALFORMED", "300"))
"""How many requests; `SANDBOX_MALFORMED=10000` takes a few minutes."""


def test_malformed_requests_are_answered_and_print_nothing(capfd):
    with SandboxServer(Sandbox()) as server:
        found = malformed.answers(server, 17, NUMBER)
        server.sandbox.clear_faults()
        still_works = Api(server.sandbox).pay()

    assert (found["hang"], found["500"]) == (0, 0), found
    assert found["closed"] < NUMBER / 10, found
    assert still_works["status"] == "succeeded"
    assert capfd.readouterr() == ("", "")
