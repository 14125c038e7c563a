"""Run a command of the app."""

from __future__ import annotations

from io import StringIO
from typing import Any

from django.core.management import call_command


def run(name: str, *arguments: str, **options: Any) -> tuple[str, str]:
    """Run ``shop_payments_<name>``; return what it wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    call_command(f"shop_payments_{name}", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()
