"""A Stripe on your machine, for development and tests.

It speaks Stripe's wire format for what `docs/sandbox.md` lists and refuses the rest by name. State
is in memory; only the standard library is used; nothing of the app imports it.
"""

from .account.fault_notation import fault_from_words
from .account.faults import Fault, SandboxConnectionDropped
from .account.outbox import Delivery, WebhookEndpoint
from .api import LoggedRequest
from .sandbox import Sandbox
from .server import SandboxServer
from .wire.messages import SandboxResponse

__all__ = [
    "Delivery",
    "Fault",
    "LoggedRequest",
    "Sandbox",
    "SandboxConnectionDropped",
    "SandboxResponse",
    "SandboxServer",
    "WebhookEndpoint",
    "fault_from_words",
]
