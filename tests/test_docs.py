"""What the documentation says is what the code does, and its links lead somewhere."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from django.apps import apps
from django.dispatch import Signal

import shop_payments
from shop_payments import signals
from shop_payments.conf import DEFAULT_THROTTLE_RATES, Config
from shop_payments.secrecy import Secret
from tests.api.authorization import documented_table, markdown
from tests.generated_docs import with_error_table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LLMS = DOCS / "llms.txt"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", LLMS, *sorted(DOCS.rglob("*.md"))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def table_under(headline: str, page: str) -> list[list[str]]:
    """Return the rows of the first table under a headline, without its head."""
    section = text_of(page).partition(f"\n## {headline}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_tables_of_errors_and_callers_are_those_of_the_api():
    """If the first is not: ``python -m tests.generated_docs`` writes it."""
    page = text_of("docs/api.md")
    assert with_error_table(page) == page
    _head, *expected = table = documented_table()
    assert table_under("Who may call what", "docs/api.md") == expected, "\n".join(markdown(table))


DEFAULTS = {each.name: {} if each.default is MISSING else each.default for each in fields(Config)}


@pytest.mark.parametrize(
    ("headline", "values"), [("Settings", DEFAULTS), ("Throttles", DEFAULT_THROTTLE_RATES)]
)
def test_the_tables_of_settings_and_throttles_are_those_of_the_config(headline, values):
    rows = table_under(headline, "docs/settings.md")
    assert [row[:2] for row in rows] == [
        [f"`{name}`", f"`{json.dumps(value, default=Secret.reveal)}`"]
        for name, value in values.items()
    ]
    assert all(row[2] for row in rows)


def test_the_table_of_signals_has_each_signal():
    names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    rows = table_under("Signals", "docs/after-paid.md")
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == names


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_command_for_ci_is_one_line_below_its_mark(name):
    readme = text_of("README.md")
    assert len(re.findall(rf"^<!-- ci:{name} -->\n```sh\n(.*)\n```$", readme, re.M)) == 1


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


def test_each_page_is_in_the_indexes():
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    for index in (DOCS / "index.md", LLMS):
        assert pages <= {*re.findall(r"\]\(([\w.-]+\.md)\)", index.read_text("utf-8"))}, index
    decisions = {page.name for page in (DOCS / "adr").glob("0*.md")}
    listed = re.findall(r"\]\(([\w.-]+\.md)\)", (DOCS / "adr" / "index.md").read_text("utf-8"))
    assert listed == sorted(decisions)


def test_the_architecture_names_modules_functions_models_and_notes_of_the_code():
    page, app = text_of("docs/architecture.md"), Path(shop_payments.__path__[0])
    steps = re.findall(r"^ *([a-z_/]+\.py) +(?:(\w+):)?", page, re.M)
    assert len(steps) > 20
    for module, function in steps:
        code = (app / module).read_text(encoding="utf-8")
        assert not function or re.search(rf"^ *(def|class) {function}\b", code, re.M), (
            module,
            function,
        )
    models = re.findall(r"`([A-Z]\w+)`", page.partition("## The rows")[2].partition("\n## ")[0])
    assert {*models} == {
        model.__name__ for model in apps.get_app_config("shop_payments").models.values()
    }
    code = "".join(path.read_text(encoding="utf-8") for path in app.rglob("*.py"))
    for note in re.findall(r"Note \\?\[([A-Z][^\]\\]*)", page):
        assert note == "Name" or f"Note [{note}]\n" in code, note
