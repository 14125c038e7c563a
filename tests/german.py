"""What is left in English on a page that should be in German."""

from __future__ import annotations

import re
from functools import cache
from html import unescape

from tests.translations import catalogs, read_po

_WORDS = 3
"""Texts with fewer words are not looked for: "Name" and "Status" are German, too."""


@cache
def _english() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Each text, its longest part without a value, and a pattern of the whole."""
    (path,) = [each for each in catalogs() if each.parts[-3] == "de"]
    found = []
    for text, entry in read_po(path).entries.items():
        for msgid in filter(None, (text.msgid, text.plural)):
            parts = re.split(r"%\(\w+\)[sd]|%%", msgid)
            is_sentence = len(re.findall(r"[A-Za-z']+", " ".join(parts))) >= _WORDS
            if is_sentence and msgid not in entry.translations:
                pattern = ".{0,99}?".join(re.escape(part) for part in parts)
                whole = re.compile(rf"(?<!\w){pattern}(?!\w)")
                found.append((msgid, max(parts, key=len), whole))
    return tuple(found)


def english_on(page: str) -> list[str]:
    """Return the texts of the app that the HTML of a page shows in English."""
    # Stored JSON and errors for developers are not translated.
    page = re.sub(r"(?s)<pre\b.*?</pre>|<script(?! id=)\b.*?</script>|<style.*?</style>", "", page)
    shown = " ".join(unescape(page).split())
    # Most parts are on no page, and looking for a part takes a hundredth of the time of a pattern.
    return [text for text, part, whole in _english() if part in shown and whole.search(shown)]
