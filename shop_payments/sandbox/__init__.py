"""A local stand-in for Stripe's API, for development and tests.

It answers in Stripe's wire format what `docs/sandbox.md` lists, and refuses everything else with an
error that names it. It keeps its state in memory, uses only the standard library, and is not
imported by the app.
"""

from .account.fault_notation import fault_from_words
from .account.faults import Fault, SandboxConnectionDropped
from .account.outbox import Delivery, WebhookEndpoint
from .api import LoggedRequest
from .sandbox import Sandbox
from .server import SandboxServer
from .wire.messages import SandboxResponse
from .wire.versions import DEFAULT_VERSION

__all__ = [
    "DEFAULT_VERSION",
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
