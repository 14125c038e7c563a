"""The texts of the app and their translations: ``python -m tests.translations``.

The command brings ``shop_payments/locale/*/LC_MESSAGES/django.po`` up to date: it adds new texts
without a translation, removes texts that are gone, and writes ``django.mo``. Then it prints what
has no translation. It replaces ``makemessages`` and ``compilemessages``, which need GNU gettext.
"""

from __future__ import annotations

import ast
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.utils.translation.template import templatize

import shop_payments

APP = Path(shop_payments.__file__).resolve().parent
LEFT_OUT = {"sandbox", "testing", "migrations", "locale"}
"""Directories without texts for people of a shop."""

_SHAPES = {
    **dict.fromkeys(("gettext", "gettext_lazy", "gettext_noop", "_"), ("msgid",)),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), ("msgid", "plural")),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ("context", "msgid")),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ("context", "msgid", "plural")),
}
"""The functions that mark a text, with what their first arguments are."""

_LITERAL = r"""u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_MARKED = re.compile(rf"\b({'|'.join(_SHAPES)})\(\s*({_LITERAL}(?:\s*,\s*{_LITERAL})*)")


@dataclass(frozen=True)
class Text:
    """A text that is translated."""

    msgid: str
    plural: str = ""
    context: str = ""


@dataclass
class Entry:
    """A text with its translations: one, or one for each plural form."""

    text: Text
    translations: list[str]
    places: list[str] = field(default_factory=list)
    is_fuzzy: bool = False


@dataclass
class Catalog:
    """The contents of a .po file."""

    comment: str
    """The lines at the head of the file, as they are."""

    header: str
    entries: dict[Text, Entry]


# --- the texts of the app -----------------------------------------------------------------------


def texts_of_app() -> dict[Text, list[str]]:
    """Return the texts that the app marks, with the files that contain them."""
    found: dict[Text, list[str]] = {}
    for path in sorted([*APP.rglob("*.py"), *APP.rglob("templates/**/*.html")]):
        place = path.relative_to(APP)
        if LEFT_OUT.isdisjoint(place.parts):
            for text in _texts_in(path):
                places = found.setdefault(text, [])
                if str(place) not in places:
                    places.append(str(place))
    return found


def _texts_in(path: Path) -> Iterator[Text]:
    source = path.read_text("utf-8")
    return _in_template(source) if path.suffix == ".html" else _in_python(source)


def _in_python(source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = _SHAPES.get(node.func.id)
            values = [each.value if isinstance(each, ast.Constant) else None for each in node.args]
            if names and all(isinstance(value, str) for value in values[: len(names)]):
                yield Text(**dict(zip(names, map(str, values), strict=False)))


def _in_template(source: str) -> Iterator[Text]:
    for name, literals in _MARKED.findall(templatize(source)):
        values = [ast.literal_eval(each) for each in re.findall(_LITERAL, literals)]
        yield Text(**dict(zip(_SHAPES[name], values, strict=False)))


# --- .po and .mo files --------------------------------------------------------------------------


def catalogs() -> list[Path]:
    """Return the .po files of the app."""
    return sorted(APP.glob("locale/*/LC_MESSAGES/django.po"))


def read_po(path: Path) -> Catalog:
    """Read a .po file."""
    blocks = [each for each in path.read_text("utf-8").split("\n\n") if 'msgid "' in each]
    head, *others = [_read_block(each) for each in blocks]
    comment = "\n".join(line for line in blocks[0].splitlines() if line.startswith("#"))
    entries = {entry.text: entry for entry in others}
    return Catalog(comment, head.translations[0], entries)


def _read_block(block: str) -> Entry:
    values: dict[str, str] = {}
    places, flags, name = [], "", ""
    for line in block.splitlines():
        if line.startswith("#:"):
            places += line[2:].split()
        elif line.startswith("#,"):
            flags += line
        elif line and not line.startswith("#"):
            keyword, _quote, rest = line.partition('"')
            name = keyword.strip() or name  # a line without a keyword continues the one before
            values[name] = values.get(name, "") + ast.literal_eval(f'"{rest}')
    text = Text(values["msgid"], values.get("msgid_plural", ""), values.get("msgctxt", ""))
    translations = [values[name] for name in sorted(values) if name.startswith("msgstr")]
    return Entry(text, translations, places, is_fuzzy="fuzzy" in flags)


def write_po(path: Path, catalog: Catalog) -> None:
    """Write a .po file."""
    header = "\n".join(f'"{line}\\n"' for line in catalog.header.splitlines())
    blocks = [f'{catalog.comment}\nmsgid ""\nmsgstr ""\n{header}']
    blocks += [_written(entry) for entry in catalog.entries.values()]
    path.write_text("\n\n".join(blocks) + "\n", "utf-8")


def _written(entry: Entry) -> str:
    text = entry.text
    lines = [f"#: {place}" for place in entry.places]
    flags = ["fuzzy"] if entry.is_fuzzy else []
    flags += ["python-format"] if placeholders(text.msgid) else []
    lines += [f"#, {', '.join(flags)}"] if flags else []
    lines += [f"msgctxt {_quoted(text.context)}"] if text.context else []
    lines += [f"msgid {_quoted(text.msgid)}"]
    if text.plural:
        lines += [f"msgid_plural {_quoted(text.plural)}"]
        lines += [f"msgstr[{n}] {_quoted(each)}" for n, each in enumerate(entry.translations)]
    else:
        lines += [f"msgstr {_quoted(entry.translations[0])}"]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def placeholders(text: str) -> set[str]:
    """Return the names of the figures in a text."""
    return set(re.findall(r"%\((\w+)\)[sd]", text))


def compiled(catalog: Catalog) -> bytes:
    """Return the .mo file of a catalog.

    See: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html
    """
    pairs = {"": catalog.header}
    for text, entry in catalog.entries.items():
        if all(entry.translations) and not entry.is_fuzzy:
            key = f"{text.context}\x04{text.msgid}" if text.context else text.msgid
            key += f"\x00{text.plural}" if text.plural else ""
            pairs[key] = "\x00".join(entry.translations)
    sides = [
        [key.encode() for key in sorted(pairs)],
        [pairs[key].encode() for key in sorted(pairs)],
    ]
    at, tables, strings = 28 + 16 * len(pairs), b"", b""
    for side in sides:
        for each in side:
            tables += struct.pack("<II", len(each), at + len(strings))
            strings += each + b"\x00"
    starts = (28, 28 + 8 * len(pairs), 0, at)
    return struct.pack("<IIIIIII", 0x950412DE, 0, len(pairs), *starts) + tables + strings


# --- the command --------------------------------------------------------------------------------


def updated(catalog: Catalog) -> Catalog:
    """Return a catalog with the texts that the app has now."""
    entries = {}
    forms = int(re.search(r"nplurals=(\d+)", catalog.header)[1])  # type: ignore[index]
    for text, places in texts_of_app().items():
        known = catalog.entries.get(text)
        empty = [""] * (forms if text.plural else 1)
        translations = empty if known is None else known.translations
        entries[text] = Entry(text, translations, places, known is not None and known.is_fuzzy)
    return Catalog(catalog.comment, catalog.header, entries)


def main() -> int:
    """Update all catalogs; return 1 if a text has no translation."""
    is_complete = True
    for path in catalogs():
        catalog = updated(read_po(path))
        write_po(path, catalog)
        path.with_suffix(".mo").write_bytes(compiled(catalog))
        for entry in catalog.entries.values():
            if entry.is_fuzzy or not all(entry.translations):
                is_complete = False
                places = ", ".join(entry.places)
                sys.stdout.write(f"{path.parts[-3]}: {places}: {entry.text.msgid}\n")
    return 0 if is_complete else 1


if __name__ == "__main__":
    settings.configure()
    sys.exit(main())
