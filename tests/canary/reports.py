"""Tracebacks with the variables of their frames, as error reporters show them."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import stripe as stripe_sdk
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.views.debug import ExceptionReporter

import shop_payments
from shop_payments.secrecy import Secret, sealed
from tests.canary.detector import Canary


def run(canary: Canary, *arguments: str) -> str:
    """Run a command; show the canary what it says and raises; return its standard output."""
    out, err = StringIO(), StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=err, traceback=True)
    except CommandError as error:
        # No frames: Django's own show the arguments, and print no variables.
        canary.look_at(f"how {arguments[:2]} fails", "".join(traceback.format_exception(error)))
    canary.look_at(f"what {arguments[:2]} says", err.getvalue())
    return out.getvalue()


def reports_of(canary: Canary) -> None:
    """Look at what error reporters would show of each way that a logged exception took."""
    distinct: dict[Any, logging.LogRecord] = {}
    for record in canary.trap.records:
        if record.levelno >= logging.WARNING and record.exc_info and record.exc_info[0]:
            kind, _error, trace = record.exc_info
            way = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
            distinct[kind, *way] = record
    for record in distinct.values():
        with logging_off():
            report(canary, record.exc_info, request=getattr(record, "request", None))


def report(canary: Canary, exc_info: Any, *, request: Any = None) -> None:
    """Look at Django's error page, and its e-mail, and at all frames, which they leave out."""
    errors = list(all_errors(exc_info[1]))
    frames = [
        frame
        for error in errors
        for frame, _line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(str(Path(__file__).parent))
    ]
    for error in errors:
        canary.look_at(f"a {type(error).__name__}", f"{error!r} {vars(error)!r}")
    for frame in frames:
        for name, value in frame.f_locals.items():
            where = f"the variable {frame.f_code.co_qualname}.{name}"
            canary.look_at(where, shown(value))
    # Without DEBUG, the page shows less and nothing else.
    for debug, kind in ((True, "page"), (False, "text")):
        with override_settings(DEBUG=debug):
            reporter = ExceptionReporter(request, *exc_info)
            text = reporter.get_traceback_html() if debug else reporter.get_traceback_text()
        canary.look_at(f"the {kind} with DEBUG={debug}", text)


def all_errors(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that caused it, what is suppressed included."""
    if error is not None:
        yield error
        yield from all_errors(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from all_errors(error.__context__)


@contextmanager
def logging_off() -> Iterator[None]:
    """The templates of the reports log what they do not find in themselves."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


SEAL = sealed(lambda: None).__code__
"""The frame of every sealed function's wrapper."""


class FrameAudit:
    """Looks at the variables of the app's functions whenever one of them calls something.

    An exception could come out of that call, and an error reporter shows these variables. But for
    what is sealed: no exception brings those frames to light. There, the database must not be
    asked, nor the host.
    """

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self._home = str(Path(shop_payments.__file__).parent)
        self.found: set[str] = set()
        self.seen: set[str] = set()
        self.sealed: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            caller: FrameType | None = frame
        elif event == "call":
            caller = frame.f_back
        else:
            return
        if caller is not None and caller.f_code.co_filename.startswith(self._home):
            sys.setprofile(None)
            try:
                self._look(caller, frame)
            except Exception as error:  # Python would go on without the audit
                self.found.add(f"{caller.f_code.co_qualname} cannot be shown: {error!r}")
            finally:
                sys.setprofile(self._profile)

    def _look(self, frame: FrameType, callee: FrameType) -> None:
        path = frame.f_code.co_filename.removeprefix(self._home)
        # A Stripe of its own, where the secrets come from, and what wires it to tests.
        if path.startswith(("/sandbox/", "/testing/")):
            return
        where = f"{path}: {frame.f_code.co_qualname}"
        if is_sealed(frame):
            self.sealed.add(frame.f_code.co_qualname)
            if re.search("/django/(db|template)/|/tests/", callee.f_code.co_filename):
                self.found.add(f"{where} calls {callee.f_code.co_filename}")
            return
        self.seen.add(path)
        texts = {name: shown(value) for name, value in frame.f_locals.items()}
        if self._canary.find(" ".join(texts.values())):  # one look is quick
            self.found |= {f"{where}.{name}" for name in texts if self._canary.find(texts[name])}


def is_sealed(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is SEAL:
            return True
        frame = frame.f_back
    return False


def shown(value: object) -> str:
    """The repr of what is surely not lazy: a queryset would ask the database."""
    if isinstance(value, dict):
        return " ".join(f"{key!r} {shown(item)}" for key, item in list(value.items())[:200])
    if isinstance(value, (list, tuple, set)):
        return " ".join(map(shown, list(value)[:50]))
    plain = (str, bytes, Secret, stripe_sdk.StripeObject, BaseException)
    is_plain = isinstance(value, plain) or dataclasses.is_dataclass(value)
    return repr(value) if is_plain else ""
