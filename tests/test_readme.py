"""What the README promises is what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

from django.dispatch import Signal

from shop_payments import signals
from shop_payments.conf import DEFAULT_THROTTLE_RATES, Config
from shop_payments.secrecy import Secret
from tests.api.authorization import markdown, readme_table
from tests.generated_docs import with_error_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def table_under(headline: str) -> list[list[str]]:
    """Return the rows of the first table under a headline, without its head."""
    section = README.partition(f"\n## {headline}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_tables_of_errors_and_callers_are_those_of_the_api():
    """If the first is not: ``python -m tests.generated_docs`` writes it."""
    assert with_error_table(README) == README
    _head, *expected = table = readme_table()
    assert table_under("Who may call what") == expected, "\n".join(markdown(table))


def test_the_tables_of_settings_and_throttles_are_those_of_the_config():
    defaults = {
        each.name: {} if each.default is MISSING else each.default for each in fields(Config)
    }
    for headline, values in (("Settings", defaults), ("Throttles", DEFAULT_THROTTLE_RATES)):
        rows = table_under(headline)
        assert [row[:2] for row in rows] == [
            [f"`{name}`", f"`{json.dumps(value, default=Secret.reveal)}`"]
            for name, value in values.items()
        ]
        assert all(row[2] for row in rows)


def test_every_signal_is_named_and_a_command_is_one_line_below_its_mark():
    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert [name for name in names if f"`{name}`" not in README] == []
    for name in ("demo", "test"):
        assert len(re.findall(rf"^<!-- ci:{name} -->\n```sh\n(.*)\n```$", README, re.M)) == 1


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub names them."""
    headlines = re.findall(r"^#+ (.*)$", prose_of(page), re.M)
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headlines}


def test_the_links_of_all_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose_of(page)):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page

            assert target.exists(), (page, link)
            assert not anchor or anchor in anchors_of(target), (page, link)
