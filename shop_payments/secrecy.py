"""Keep secrets out of logs, reprs and tracebacks.

Note [Secrets in frames]
~~~~~~~~~~~~~~~~~~~~~~~~
Error reporters show the variables of each frame that an exception has passed through. So the plain
text of a secret, or a body that contains one, is a variable only inside :class:`Secret` and in
functions that are :func:`sealed`, whose frames no exception shows. All other code handles a
:class:`Secret`, a digest or an object without secrets.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

from shop_payments.exceptions import ShopPaymentsError

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Secret:
    """A text that is not shown in a repr, a log or a traceback, and cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plain text. Pass it on at once: no variable outside may hold it."""
        return self._value

    def startswith(self, prefixes: str | tuple[str, ...]) -> bool:
        """Return whether it begins with one of ``prefixes``, which are public."""
        return self._value.startswith(prefixes)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled: a cache or a queue would hold it in clear")


_SECRETS = re.compile(
    r"(\b\w+_secret_|\b(?:sk|rk|pk)_(?:test|live)_|\bwhsec_|\bspk_[0-9a-f]+_)[\w%+/-]+"
)
"""The prefix is kept, so that a log shows which secret it was."""


def redact(text: str) -> str:
    """Replace client secrets, Stripe's keys, webhook secrets and our API keys in ``text``."""
    # All of them contain one of these. An event has a hundred texts, and this is ten times faster.
    if "k_" not in text and "sec" not in text:
        return text
    return _SECRETS.sub(r"\1***", text)


def sealed(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Remove the frames and the causes of exceptions that ``function`` raises.

    Exceptions other than our own get a note that says where they were raised. See
    Note [Secrets in frames]. A sealed function only computes or calls Stripe. It calls neither the
    host nor the database.
    """

    @functools.wraps(function)
    def seal(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            raised = error
        # Outside the except block, so that Python does not set __context__ again.
        del args, kwargs
        raise _without_frames(raised)

    return seal


def _without_frames(error: BaseException) -> BaseException:
    if not isinstance(error, ShopPaymentsError):
        error.add_note("Raised at:\n" + "".join(traceback.format_tb(error.__traceback__)))
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
