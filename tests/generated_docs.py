"""What is generated from the API: the table of error codes in docs/api.md, and docs/openapi.yaml.

``python -m tests.generated_docs`` writes both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import django
from django.core.management import call_command

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api.md"
OPENAPI = ROOT / "docs" / "openapi.yaml"

_MARKED = re.compile(r"(<!-- generated: error codes -->\n).*?(<!-- end -->)", re.S)


def error_table() -> Iterator[str]:
    """Each line of the table of error codes."""
    from shop_payments.api.errors import ERROR_TABLE  # needs Django to be set up

    yield "| status | code | meaning |"
    yield "|---|---|---|"
    for row in sorted(ERROR_TABLE, key=lambda row: row.status):
        yield f"| {row.status} | `{row.code}` | {row.description} |"


def with_error_table(page: str) -> str:
    """Return the page with the table as the code has it."""
    lines = "".join(f"{line}\n" for line in error_table())
    text, count = _MARKED.subn(lambda marks: f"{marks[1]}{lines}{marks[2]}", page)
    assert count == 1, "the page marks one table"
    return text


def write_openapi(path: Path) -> None:
    """Write the OpenAPI schema, and fail on anything that drf-spectacular does not understand."""
    call_command("spectacular", file=str(path), validate=True, fail_on_warn=True)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    API.write_text(with_error_table(API.read_text(encoding="utf-8")), encoding="utf-8")
    write_openapi(OPENAPI)
