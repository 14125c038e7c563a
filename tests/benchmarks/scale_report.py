"""The tables of ``--scale``, and which lists of the admin miss their goals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tests.admin_pages import FAR

FASTER = 5
"""How many times faster the first page of a list should be than that of a stock list."""

SLOWER = 10
"""How many times slower than the first page a far page or a search may be."""

Figures = dict[str, Any]
"""By question: ``p50`` and ``p95`` in milliseconds, ``statements``, and the same of ``stock``."""


def write(small: Figures, large: Figures, *, orders: int) -> None:
    """Print what was asked in a small and in a large shop."""
    lines = [*_calls(small, large, orders), "", *_pages(small, large), "", *_misses(small, large)]
    sys.stdout.write("\n".join(lines) + "\n")


def _is_page(name: str) -> bool:
    return ": " in name


def _calls(small: Figures, large: Figures, orders: int) -> Iterator[str]:
    yield f"{'p50 in ms':58} {'1,000':>9} {orders:>9,}  ratio  statements"
    for name, row in large.items():
        if not _is_page(name):
            before = small[name]["p50"]
            yield (
                f"{name:58} {before:9.1f} {row['p50']:9.1f} {row['p50'] / before:6.1f}"
                f" {row['statements']:11}"
            )


def _pages(small: Figures, large: Figures) -> Iterator[str]:
    yield f"{'ms':58} {'p50':>7} {'p95':>7}  statements   stock p50 stock p95  statements  ratio"
    for name, row in large.items():
        if not _is_page(name):
            continue
        counts = f"{row['statements']} ({small.get(name, {}).get('statements', '–')})"
        yield f"{name:58} {row['p50']:7.0f} {row['p95']:7.0f} {counts:>11} {_beside(row)}"


def _beside(row: Figures) -> str:
    stock = row.get("stock")
    if stock is None:
        return ""
    if seconds := stock.get("timeout"):
        ratio = f"> {1000 * seconds / row['p50']:.0f}"
        return f"{f'> {seconds} s':>11} {'':9} {'':11} {ratio:>6}"
    ratio = f"{stock['p50'] / row['p50']:.1f}"
    return f"{stock['p50']:11.0f} {stock['p95']:9.0f} {stock['statements']:11} {ratio:>6}"


def _misses(small: Figures, large: Figures) -> Iterator[str]:
    firsts = {
        name.partition(":")[0]: row for name, row in large.items() if name.endswith(": first page")
    }
    yield f"First pages less than {FASTER} times faster than a stock list:"
    for model, row in firsts.items():
        stock = row.get("stock", {})
        if "p50" in stock and stock["p50"] < FASTER * row["p50"]:
            yield f"- {model}: {stock['p50'] / row['p50']:.1f} times"
    slow = {
        name: row["p50"] / firsts[name.partition(":")[0]]["p50"]
        for name, row in large.items()
        if _is_page(name)
    }
    far = f"page {FAR}"
    yield f"Far pages and searches that take {SLOWER} times the first page or more:"
    yield from (
        f"- {name}: {ratio:.1f} times"
        for name, ratio in slow.items()
        if ratio >= SLOWER and (far in name or "search" in name)
    )
    yield f"Filters and orders that take {SLOWER} times the first page or more:"
    yield from (
        f"- {name}: {ratio:.1f} times"
        for name, ratio in slow.items()
        if ratio >= SLOWER and not (far in name or "search" in name)
    )
    yield "Pages with more statements than in a shop of 1,000 orders:"
    for name, row in large.items():
        # The small shop has no far pages.
        before = small.get(name) or small[f"{name.partition(':')[0]}: first page"]
        if _is_page(name) and row["statements"] > before["statements"]:
            yield f"- {name}: {before['statements']} and {row['statements']}"
