"""Secrets that do not show themselves, and functions whose frames no exception shows."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pprint import pformat

import pytest

from shop_payments.conf import parse_config
from shop_payments.exceptions import ConfigurationError
from shop_payments.secrecy import Secret, redact, sealed

HIDDEN = "sk_test_hidden"


def test_a_secret_is_shown_by_reveal_alone():
    """Found: a shop that cached what a service returned would have stored the client secret."""
    secret = Secret(HIDDEN)
    keys = {"STRIPE_SECRET_KEY": HIDDEN, "STRIPE_PUBLISHABLE_KEY": "pk_test_hidden"}
    config = parse_config({**keys, "STRIPE_WEBHOOK_SECRETS": ["whsec_hidden", "whsec_hidden_too"]})

    assert secret.reveal() == HIDDEN
    texts = (repr(secret), str(secret), f"{secret}", f"{secret!s:>30}", pformat([secret]))
    for text in (*texts, repr(config), str(config)):
        assert "hidden" not in text
    with pytest.raises(TypeError):
        json.dumps(secret)
    for protocol in (0, pickle.HIGHEST_PROTOCOL):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps({"intent": [secret]}, protocol)


def test_a_secret_behaves_like_its_text():
    assert (Secret("a"), hash(Secret("a"))) == (Secret("a"), hash(Secret("a")))
    assert Secret("a") not in (Secret("b"), "a")
    assert (bool(Secret("a")), bool(Secret(""))) == (True, False)
    assert copy.copy(Secret("a")) == copy.deepcopy(Secret("a")) == Secret("a")


def test_all_of_a_secret_is_redacted():
    key = "X-API-Key: spk_0a1b2c3d_"
    assert redact(f"{key}aZ-09_x, more") == f"{key}***, more"
    assert redact("cs_test_1_secret_fid%2FlQ+x/y-z") == "cs_test_1_secret_***"
    assert redact("the prefix spk_0a1b2c3d") == "the prefix spk_0a1b2c3d"


# --- sealed -------------------------------------------------------------------------------------


@sealed
def fail(secret: str, error: BaseException) -> None:
    try:
        raise KeyError(secret)
    except KeyError:
        raise error  # noqa: B904


@pytest.mark.parametrize("error", [ConfigurationError("x"), ZeroDivisionError("x"), SystemExit(1)])
def test_an_exception_leaves_a_sealed_function_without_frames_and_cause(error):
    """A bug can still be found by the note; our own errors need none."""
    with pytest.raises(type(error)) as caught:
        fail(HIDDEN, error=error)

    assert caught.value is error
    assert error.__context__ is error.__cause__ is None
    frames = [frame for frame, _line in traceback.walk_tb(error.__traceback__)][1:]
    assert frames
    shown = repr([frame.f_locals for frame in frames])
    assert "hidden" not in shown + "".join(traceback.format_exception(error))
    (note,) = getattr(error, "__notes__", None) or [""]
    is_ours = isinstance(error, ConfigurationError)
    assert ("raise error" in note) == ("in fail" in note) == (not is_ours)
