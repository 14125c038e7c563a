"""Lines of curl in the documentation, as requests."""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Mapping

import httpx

FORM = "application/x-www-form-urlencoded"


def parse(line: str, names: Mapping[str, str], *, password: str = "") -> httpx.Request:
    """Return what curl sends for a line in which ``names`` are replaced.

    ``password`` is what is typed if ``-u`` names only a user. Unknown options are an error.
    """
    for name, value in names.items():
        line = line.replace(name, value)
    curl, *words = shlex.split(line)
    assert curl == "curl", line
    options: dict[str, list[str]] = {each: [] for each in ("-X", "-H", "-d", "-u", "--json")}
    urls = []
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            options[word].append(words.pop(0))
        else:
            urls.append(word)
    (url,) = urls
    headers = dict(header.split(": ", 1) for header in options["-H"])
    body = "&".join(options["-d"]) + "".join(options["--json"])
    if options["--json"]:
        headers |= {"Content-Type": "application/json", "Accept": "application/json"}
    elif body:
        headers.setdefault("Content-Type", FORM)
    for user in options["-u"]:
        name, _, typed = user.partition(":")
        credentials = f"{name}:{typed or password}".encode()
        headers["Authorization"] = f"Basic {b64encode(credentials).decode()}"
    method = next(iter(options["-X"]), "POST" if body else "GET")
    return httpx.Request(method, url, headers=headers, content=body.encode())
