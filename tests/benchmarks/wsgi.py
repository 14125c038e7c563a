"""The WSGI application of the project under test.

``BENCHMARK_COUNTS=1`` returns each request's number of SQL statements in ``X-Statements``.
``BENCHMARK_PROFILE=FILE`` writes a profile of all requests to a file at the end.
"""

from __future__ import annotations

import atexit
import cProfile
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

_django = get_wsgi_application()


def _counting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    from django.db import connection

    count = 0

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal count
        count += not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK"))
        return execute(sql, *args)

    def start(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
        return start_response(status, [*headers, ("X-Statements", str(count))], *args)

    with connection.execute_wrapper(wrapper):
        return _django(environ, start)


_profile = cProfile.Profile()


def _profiled(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer: Iterable[bytes] = _profile.runcall(_django, environ, start_response)
    return answer


application: Callable[..., Iterable[bytes]] = _django
if os.environ.get("BENCHMARK_COUNTS"):
    application = _counting
if profile_file := os.environ.get("BENCHMARK_PROFILE"):
    application = _profiled
    atexit.register(_profile.dump_stats, profile_file)
