"""What the parts of a sweep share: what is wanted, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import OperationalError

from shop_payments.exceptions import GatewayUnavailable, ShopPaymentsError
from shop_payments.models import Source
from shop_payments.services.history import Origin

logger = logging.getLogger("shop_payments")

_ORIGIN = Origin(source=Source.RECONCILE, actor="shop_payments_reconcile")

PATIENCE = 3
"""After so many calls without an answer, the rest of a part is left to the next sweep."""


@dataclass
class Report:
    """What a sweep has done, or in a dry run would do."""

    attempts: int = 0
    """Calls to Stripe whose outcome is known now."""

    intents: int = 0
    refunds: int = 0
    disputes: int = 0
    """Objects of ours that had moved at Stripe."""

    orphans: int = 0
    """Intents of ours that lost their place to another one, cancelled."""

    cancellations: int = 0
    """Cancellations that the shop wanted."""

    abandoned: int = 0
    """Intents closed that nobody has touched for ``ABANDONED_AFTER_DAYS``."""

    events: int = 0
    """Webhook events that could be processed at last."""

    events_set_aside: int = 0
    """Webhook events that wait for a person now."""

    facts: int = 0
    """Signals that were sent again."""

    pages: int = 0
    """Pages that were listed at Stripe."""

    reviews_opened: int = 0
    """Review items that were opened meanwhile, and are open."""

    problems: list[str] = field(default_factory=list)
    """What could not be done, in words."""

    @property
    def needs_person(self) -> bool:
        """Whether somebody should look."""
        return bool(self.problems or self.events_set_aside or self.reviews_opened)


@dataclass
class Sweep:
    """One run."""

    since: datetime
    dry_run: bool
    tell: Callable[[str], None]
    report: Report = field(default_factory=Report)
    origin: Origin = field(default=_ORIGIN)
    _unanswered: int = 0

    def try_to(self, what: str, work: Callable[[], object]) -> bool:
        """Do one thing; note what goes wrong instead of raising. False where it did.

        Raises:
            GatewayUnavailable: Stripe does not answer at all.
            OperationalError: the database is away.
        """
        try:
            work()
        except OperationalError:
            raise
        except GatewayUnavailable as error:
            self.problem(f"{what}: {error}")
            self._unanswered += 1
            if self._unanswered == PATIENCE:
                self._unanswered = 0
                raise GatewayUnavailable("Stripe does not answer; the rest is left") from None
            return False
        except ShopPaymentsError as error:
            self.problem(f"{what}: {error}")
        except Exception as error:
            # One object that cannot be handled must not keep the others from being so.
            logger.exception("%s could not be reconciled", what)
            self.problem(f"{what}: {type(error).__name__}, see the log")
        else:
            self._unanswered = 0
            return True
        self._unanswered = 0
        return False

    def problem(self, words: str) -> None:
        """Note what could not be done."""
        self.report.problems.append(words)
