"""docs/operations.md says what the project reads, counts and logs, and its snippets work."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory

import config
import shop_payments
from shop_payments import services
from shop_payments.checkout.links import checkout_url
from shop_payments.conf import Config
from shop_payments.models import ReviewItem
from tests.config.test_logs import Entries, entries
from tests.test_snippets import COMMANDS, SNIPPETS, check_command, run

__all__ = ["entries"]

PAGE = "docs/operations.md"
TEXT = (Path(__file__).parents[1] / PAGE).read_text(encoding="utf-8")
CONFIG = Path(config.__path__[0])
FOUND = [each for each in SNIPPETS if each.page == PAGE and each.language not in COMMANDS]


def snippet(language: str, words: str) -> str:
    (found,) = (each for each in FOUND if each.language == language and words in each.text)
    return found.text


READY = snippet("python", "def ready")
METRICS_PAGE = snippet("python", "def metrics_page")
NOT_READY = snippet("json", '"status": "failing"')
LOG_LINE = snippet("json", '"fact": "order_paid"')
NGINX = snippet("nginx", "proxy_pass")
UNITS = {
    each.text.splitlines()[0].removeprefix("# /etc/systemd/system/"): each.text
    for each in FOUND
    if each.language == "ini"
}


def test_every_snippet_of_the_page_is_run_here():
    run_here = {READY, METRICS_PAGE, NOT_READY, LOG_LINE, NGINX, *UNITS.values()}
    assert [str(each) for each in FOUND if each.text not in run_here] == []


def table(mark: str) -> list[str]:
    """Return the first column of the table below a mark, without the backticks."""
    lines = TEXT.partition(f"<!-- checked: {mark} -->\n")[2].partition("\n\n")[0].splitlines()
    return [re.findall(r"^\| `([^`]*)` \|", line)[0] for line in lines[2:]]


# --- tables -------------------------------------------------------------------------------------


def test_every_variable_that_the_project_reads_is_listed():
    reading = re.compile(r'(?:environment\.\w+|_secret|\bnumber)\(\s*"([A-Z_]+)"')
    source = "".join(
        (CONFIG / name).read_text(encoding="utf-8")
        for name in ("environment.py", "gunicorn.py", "logs.py", "settings.py")
    )
    assert sorted(table("variables")) == sorted({*reading.findall(source)})


@pytest.mark.django_db
def test_every_metric_is_listed():
    listed = []
    for name in table("metrics"):
        reasons = ReviewItem.Reason.values if "<reason>" in name else [""]
        listed += [name.replace("<reason>", reason) for reason in reasons]
    assert sorted(listed) == sorted(services.metrics())
    # Alerts name metrics that there are.
    named = re.findall(r"`(\w+) > \d+`", TEXT)
    assert len(named) > 5
    assert {*named} <= {*listed}


def test_every_review_reason_is_listed():
    assert sorted(table("reasons")) == sorted(ReviewItem.Reason.values)


def test_every_error_of_the_log_is_listed():
    assert sorted(table("errors")) == sorted(logged_errors())


def logged_errors() -> set[str]:
    """Return the messages that the app logs at ERROR, with "…" for what differs."""
    root, found = Path(shop_payments.__path__[0]), set()
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] in ("sandbox", "testing"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id="logger"), attr="error" | "exception" | "critical"
                    ),
                    args=[ast.Constant(value=str(message)), *_],
                ):
                    found.add(re.sub(r"%\w", "…", message))
    return found - {"…"}  # the text of an exception


# --- snippets -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_host_shows_whether_it_is_ready(database):
    ready, request = run(READY)["ready"], RequestFactory().get("/")
    shown = ready(request)
    parts = {"database": "ok", "migrations": "ok", "sweep": "late"}
    assert (shown.status_code, json.loads(shown.content)) == (200, parts)
    assert list(json.loads(NOT_READY)) == ["status", *parts]
    database.goes_away()
    assert ready(request).status_code == 503


@pytest.mark.django_db
def test_prometheus_reads_the_metrics():
    page = run(METRICS_PAGE)["metrics_page"](RequestFactory().get("/"))
    assert page["Content-Type"].startswith("text/plain")
    lines = page.content.decode().splitlines(keepends=True)
    assert all(re.fullmatch(r"[a-z][a-z_]+ \d+\n", line) for line in lines)
    names = [line.split()[0].removeprefix("shop_payments_") for line in lines]
    assert names == [*services.metrics()]


@pytest.mark.django_db
def test_the_log_line_is_one_that_the_project_writes(entries: Entries, order, stripe_sandbox):
    stripe_sandbox.pay(order)
    written = next(each for each in entries() if each.get("fact") == "order_paid")
    written.pop("stripe_request_id", None)
    shown = json.loads(LOG_LINE)
    assert list(shown) == list(written)
    same = ("level", "logger", "fact", "status")
    assert {name: shown[name] for name in same} == {name: written[name] for name in same}


# --- rotation -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_djangos_secret_key_is_rotated_as_the_page_says(
    order, storefront, stripe_sandbox, settings, client
):
    link, session = checkout_url(order), SessionStore()
    session["of"] = "before"
    session.create()

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [settings.SECRET_KEY]
    assert client.get(link).status_code == 200
    assert SessionStore(session.session_key)["of"] == "before"

    settings.SECRET_KEY_FALLBACKS = []
    assert client.get(link).status_code == 404
    assert "of" not in SessionStore(session.session_key)
    # An API key and a customer's token.
    assert storefront.payment_intent(order).status_code == 200


# --- systemd and nginx --------------------------------------------------------------------------


def parsed(text: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_units_run_commands_that_there_are():
    started = []
    for name, text in UNITS.items():
        unit = parsed(text)
        if name.endswith(".timer"):
            service, template = name.replace(".timer", ".service"), re.sub("@.*", "@.service", name)
            assert {service, template} & {*UNITS}, name
            started.append(name)
            continue
        command = unit["Service"]["ExecStart"].removeprefix("/srv/shop/").split()
        instances = [each[5:-6] for each in UNITS if re.fullmatch(r"shop@\w+\.timer", each)]
        for instance in instances if "%i" in text else [""]:
            words = [word.replace("%i", instance) for word in command]
            if words[0].endswith("python"):
                check_command(words)
                started.append(words[2])
    assert {"shop_payments_reconcile", "shop_payments_purge"} <= {*started}
    enabled = re.search(r"systemctl enable --now (.*)", TEXT)
    assert enabled is not None
    assert {*enabled[1].split()} == {*(each for each in started if "." in each), "shop.service"}


def test_each_limit_is_longer_than_what_it_waits_for():
    gunicorn = runpy.run_path(str(CONFIG / "gunicorn.py"))
    call = Config().CONNECT_TIMEOUT + Config().READ_TIMEOUT
    request = call + Config().INTENT_WAIT_SECONDS
    assert (
        int(parsed(UNITS["shop.service"])["Service"]["TimeoutStopSec"])
        > gunicorn["graceful_timeout"]
    )
    (nginx,) = re.findall(r"proxy_read_timeout (\d+)s;", NGINX)
    assert min(int(nginx), gunicorn["graceful_timeout"], gunicorn["timeout"]) > request
    listed = re.findall(r"^\| [^|]+ \| (?:about )?(\d+) \|", TEXT, re.M)
    expected = [
        call,
        Config().INTENT_WAIT_SECONDS,
        request,
        gunicorn["graceful_timeout"],
        70,
        nginx,
    ]
    assert [*map(int, listed[: len(expected)])] == [*map(int, expected)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_units(tmp_path):
    for name, text in UNITS.items():
        text = re.sub(r"/srv/shop/\.venv/bin/\w+", "/bin/true", text)
        (tmp_path / name).write_text(text.replace("/srv/shop", str(tmp_path)))
    (tmp_path / "shop@reconcile.service").write_text((tmp_path / "shop@.service").read_text())
    names = [str(tmp_path / name) for name in UNITS if name != "shop@.service"]
    done: Any = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names, str(tmp_path / "shop@reconcile.service")],
        capture_output=True,
        text=True,
    )
    about_ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert about_ours == [], done.stderr
