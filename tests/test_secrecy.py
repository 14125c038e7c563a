"""Secrets that do not show themselves, and functions whose frames no exception shows."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from pprint import pformat
from typing import Any

import pytest

from shop_payments.conf import parse_config
from shop_payments.exceptions import ConfigurationError, ShopPaymentsError
from shop_payments.secrecy import Secret, redact, sealed

HIDDEN = "sk_test_hidden"


def test_a_secret_is_shown_by_reveal_alone():
    secret = Secret(HIDDEN)

    assert secret.reveal() == HIDDEN
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!s:>30}", pformat([secret])):
        assert "hidden" not in text
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_secret_behaves_like_its_text():
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret("a")
    assert not Secret("")
    assert copy.copy(Secret("a")) == copy.deepcopy(Secret("a")) == Secret("a")


@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
def test_a_secret_gets_into_no_cache_and_no_queue(protocol):
    """Found: a shop that cached what a service returned would have stored the client secret."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps({"intent": [Secret(HIDDEN)]}, protocol)


def test_a_config_shows_no_secret():
    config = parse_config(
        {
            "STRIPE_SECRET_KEY": HIDDEN,
            "STRIPE_PUBLISHABLE_KEY": "pk_test_hidden",
            "STRIPE_WEBHOOK_SECRETS": ["whsec_hidden", "whsec_hidden_too"],
        }
    )

    assert "hidden" not in f"{config!r} {config} {config.STRIPE_SECRET_KEY}"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("X-API-Key: spk_0a1b2c3d_aZ-09_x, more", "X-API-Key: spk_0a1b2c3d_***, more"),
        ("cs_test_1_secret_fid%2FlQ+x/y-z", "cs_test_1_secret_***"),
        ("the prefix spk_0a1b2c3d", "the prefix spk_0a1b2c3d"),
    ],
)
def test_all_of_a_secret_is_redacted(text, redacted):
    assert redact(text) == redacted


# --- sealed -------------------------------------------------------------------------------------


@sealed
def fail(secret: str, error: BaseException) -> None:
    try:
        raise KeyError(secret)
    except KeyError:
        raise error  # noqa: B904


def raised_by(function: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        function()
    return caught.value


def variables_of(error: BaseException) -> str:
    """The variables of all frames but the tests' own."""
    frames = [frame for frame, _line in traceback.walk_tb(error.__traceback__)][2:]
    assert frames
    return repr([frame.f_locals for frame in frames])


def test_a_sealed_function_returns_its_result():
    assert sealed(redact)(HIDDEN) == "sk_test_***"
    assert sealed(redact).__name__ == "redact"


@pytest.mark.parametrize("error", [ConfigurationError("x"), ZeroDivisionError("x"), SystemExit(1)])
def test_an_exception_leaves_a_sealed_function_without_frames_and_cause(error):
    found = raised_by(lambda: fail(HIDDEN, error=error))

    assert found is error
    assert error.__context__ is error.__cause__ is None
    assert "hidden" not in variables_of(error) + "".join(traceback.format_exception(error))


def test_a_bug_in_a_sealed_function_can_still_be_found():
    (note,) = raised_by(lambda: fail(HIDDEN, error=ZeroDivisionError())).__notes__

    assert "raise error" in note
    assert "in fail" in note


def test_our_own_exceptions_need_no_note():
    found: Any = raised_by(lambda: fail(HIDDEN, error=ShopPaymentsError("x")))

    assert not hasattr(found, "__notes__")
