"""``/healthz`` and ``/readyz``, for load balancers and monitoring. See docs/operations.md."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from shop_payments import services


class HealthMiddleware:
    """Answers before any other middleware: without a redirect to HTTPS, and to any host name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = _ANSWERS.get(request.path_info)
        if answer is None or request.method not in ("GET", "HEAD"):
            return self._get_response(request)
        response = answer()
        if request.method == "HEAD":
            response.content = b""  # gunicorn logs a warning for a body
        response["Cache-Control"] = "no-store"
        return response


def _health() -> HttpResponse:
    """The process answers. Asks no other server: a restart of this process would not help it."""
    return JsonResponse({"status": "ok"})


def _ready() -> HttpResponse:
    """This process can take payments."""
    found = services.check_readiness()
    return _response(found, found.is_ready)


def _swept() -> HttpResponse:
    """The same, and the sweep runs. For alerts: a late sweep is no reason to close the shop."""
    found = services.check_readiness()
    return _response(found, found.is_ready and found.is_swept)


def _response(found: services.Readiness, is_good: bool) -> HttpResponse:
    parts = {"database": found.database, "migrations": found.migrations, "sweep": found.sweep}
    status = "ok" if is_good else "failing"
    return JsonResponse({"status": status, **parts}, status=200 if is_good else 503)


_ANSWERS = {"/healthz": _health, "/readyz": _ready, "/readyz/sweep": _swept}
