"""What the README promises is what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from django.dispatch import Signal

from shop_payments import signals
from shop_payments.conf import DEFAULT_THROTTLE_RATES, Config
from shop_payments.secrecy import Secret
from tests.api.authorization import markdown, readme_table
from tests.generated_docs import with_error_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_under(headline: str) -> list[list[str]]:
    """Return the rows of the first table under a headline, without its head."""
    section = README.partition(f"\n## {headline}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_error_table_is_that_of_the_api():
    """If not: ``python -m tests.generated_docs`` writes it."""
    assert with_error_table(README) == README


def test_the_table_of_callers_is_that_of_the_authorization_matrix():
    _head, *expected = table = readme_table()

    assert table_under("Who may call what") == expected, "\n".join(markdown(table))


def test_the_settings_table_is_that_of_the_config():
    defaults = {
        field.name: {} if field.default is MISSING else field.default for field in fields(Config)
    }
    expected = [
        [f"`{name}`", f"`{json.dumps(default, default=Secret.reveal)}`"]
        for name, default in defaults.items()
    ]

    rows = table_under("Settings")

    assert [row[:2] for row in rows] == expected
    assert all(row[2] for row in rows)


def test_the_table_of_throttles_is_that_of_the_default_rates():
    rows = table_under("Throttles")

    assert [row[:2] for row in rows] == [
        [f"`{scope}`", f"`{json.dumps(rate)}`"] for scope, rate in DEFAULT_THROTTLE_RATES.items()
    ]
    assert all(row[2] for row in rows)


def test_every_signal_is_named():
    names = [name for name in vars(signals) if isinstance(vars(signals)[name], Signal)]
    assert [name for name in names if f"`{name}`" not in README] == []


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_command_is_one_line_below_its_mark(name):
    marked = re.findall(rf"^<!-- ci:{name} -->\n```sh\n(.*)\n```$", README, re.M)
    assert len(marked) == 1


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors_of(page: Path) -> set[str]:
    """Return what a browser can be led to on a page, as GitHub names it."""
    headlines = re.findall(r"^#+ (.*)$", prose_of(page), re.M)
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headlines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose_of(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link
