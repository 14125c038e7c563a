"""Tracebacks with the variables of their frames, as error reporters show them."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import stripe as stripe_sdk
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings
from django.views.debug import ExceptionReporter

import shop_payments
from shop_payments.secrecy import Secret, sealed
from tests.canary.detector import Canary

HOST_AUTHENTICATION = "authenticate_credentials"
"""REST framework's own function, which looks the customer's token up for the host."""


def look_at_errors(canary: Canary, calls: Iterable[Callable[[], object]]) -> list[Exception]:
    """Let each call fail; show the canary its error, in words and with the frames of the app."""
    errors: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as error:
            errors.append(error)
        else:
            raise AssertionError("nothing went wrong")
        failure = errors[-1]
        text = "".join(traceback.format_exception(failure))
        canary.look_at(f"{type(failure).__name__}", f"{failure!r} {vars(failure)!r} {text}")
        frames = failure.__traceback__
        for _frame_of_a_test in range(2):
            assert frames is not None
            frames = frames.tb_next
        with logging_off():  # without the frames of the test
            report(canary, (type(failure), failure, frames))
    return errors


def run(canary: Canary, *arguments: str) -> str:
    """Run a command; show the canary what it says and raises; return its standard output."""
    out, err = StringIO(), StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=err, traceback=True)
    except CommandError as error:
        # No frames: Django's own show the arguments, and print no variables.
        canary.look_at(f"how {arguments[:2]} fails", "".join(traceback.format_exception(error)))
    except OperationalError as error:
        with logging_off():
            report(canary, (type(error), error, error.__traceback__))
    canary.look_at(f"what {arguments[:2]} says", err.getvalue())
    return out.getvalue()


def reports_of(canary: Canary) -> None:
    """Look at what error reporters would show of each logged exception."""
    for record in distinct_failures(canary.trap.records):
        with logging_off():
            report(canary, record.exc_info, request=getattr(record, "request", None))


def report(canary: Canary, exc_info: Any, *, request: Any = None) -> None:
    """Look at Django's error page, and its e-mail, and at all frames, which they leave out."""
    frames = list(all_frames(exc_info[1]))
    # The host's own authentication has the customer's token in its hands, and so may show it.
    in_hands = any(frame.f_code.co_name == HOST_AUTHENTICATION for frame in frames)
    allowed = {"the customer's token": ""} if in_hands else {}
    for error in all_errors(exc_info[1]):
        canary.look_at(f"a {type(error).__name__}", f"{error!r} {vars(error)!r}", allowed=allowed)
    for frame in frames:
        for name, value in frame.f_locals.items():
            where = f"the variable {frame.f_code.co_qualname}.{name}"
            canary.look_at(where, shown(value), allowed=allowed)
    for debug in (True, False):
        with override_settings(DEBUG=debug):
            reporter = ExceptionReporter(request, *exc_info)
            texts = {"text": reporter.get_traceback_text(), "page": reporter.get_traceback_html()}
        for kind, text in texts.items():
            canary.look_at(f"the {kind} with DEBUG={debug}", text, allowed=allowed)


def all_frames(error: BaseException) -> Iterator[FrameType]:
    """The frames of ``error`` and of all that led to it, without the tests' own."""
    for each in all_errors(error):
        for frame, _line in traceback.walk_tb(each.__traceback__):
            if not frame.f_code.co_filename.startswith(str(Path(__file__).parent)):
                yield frame


def all_errors(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that caused it, what is suppressed included."""
    if error is not None:
        yield error
        yield from all_errors(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from all_errors(error.__context__)


def distinct_failures(records: list[logging.LogRecord]) -> list[logging.LogRecord]:
    """One record for each way through the code that an exception took."""
    distinct: dict[Any, logging.LogRecord] = {}
    for record in records:
        if record.levelno >= logging.WARNING and record.exc_info and record.exc_info[0]:
            kind, _error, trace = record.exc_info
            way = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
            distinct[kind, *way] = record
    return list(distinct.values())


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
        caller = {"call": frame.f_back, "c_call": frame}.get(event)
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
        for name, value in frame.f_locals.items():
            if self._canary.find(shown(value)):
                self.found.add(f"{where}.{name}")


def is_sealed(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is SEAL:
            return True
        frame = frame.f_back
    return False


def shown(value: object) -> str:
    """The repr of what is surely not lazy: a queryset would ask the database."""
    if isinstance(value, (str, bytes, dict, list, tuple, set, Secret)):
        if isinstance(value, dict):
            return " ".join(f"{key!r} {shown(item)}" for key, item in list(value.items())[:200])
        if isinstance(value, (list, tuple, set)):
            return " ".join(map(shown, list(value)[:50]))
        return repr(value)
    if isinstance(value, (stripe_sdk.StripeObject, BaseException)):
        return repr(value)
    if dataclasses.is_dataclass(value):
        return repr(value)
    return ""
