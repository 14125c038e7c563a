"""The documentation as a site: ``python -m sphinx -b html -W -n --keep-going docs build/docs``.

The pages are Markdown that also reads well where the code is hosted, so they hold no directives.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from pygments.lexers.shell import BashLexer
from sphinx.highlighting import lexers

HERE = Path(__file__).parent

project = "shop_payments"
author = "The shop_payments authors"
copyright = author
extensions = ["myst_parser"]
exclude_patterns = ["requirements.txt"]
html_theme = "furo"
html_title = "shop_payments"
html_extra_path = ["llms.txt", "openapi.yaml"]
html_show_copyright = False
html_use_index = False

myst_heading_anchors = 4
linkcheck_timeout = 20
linkcheck_retries = 2
# Addresses of examples, and pages for people who are signed in.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost|[\w.]*\.?example)\b", r"https://dashboard\."]

lexers["cron"] = BashLexer()

_INDEXES = {"index", "adr/index"}


def _tree(caption: str, section: str) -> str:
    pages = re.findall(r"^[-\d.]+ \[.*?\]\(([\w./-]+)\.md\)", section, re.M)
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def adapt(_app: object, docname: str, source: list[str]) -> None:
    """Make a part of the navigation of each list of pages in an index.

    Links to README.md and CHANGELOG.md, which are no pages here, lead to the files.
    """
    source[0] = re.sub(r"\]\(((?:\.\./)+[A-Z]+\.md)[^)]*\)", r"](path:\1)", source[0])
    if docname in _INDEXES:
        _, *parts = re.split(r"^## (.*)$", source[0], flags=re.M)
        captions = dict(zip(parts[::2], parts[1::2], strict=True)) or {"": source[0]}
        source[0] += "".join(_tree(*part) for part in captions.items())


def copy_pages(app: Any, _error: Exception | None) -> None:
    """Put each page beside its HTML as it was written, where llms.txt links to it."""
    if app.builder.name == "html":
        for page in HERE.glob("**/*.md"):
            shutil.copyfile(page, Path(app.outdir) / page.relative_to(HERE))


def setup(app: Any) -> None:
    """Register what this project adds to Sphinx."""
    app.connect("source-read", adapt)
    app.connect("build-finished", copy_pages)
