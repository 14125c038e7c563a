"""The project's logs: lines for people, or JSON objects for a system that collects logs."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from config import environment
from shop_payments.secrecy import redact

_FACT = re.compile(r"(?<!\S)(\w+)=(\S+)")
"""The facts in the messages of ``shop_payments``: ``order=9 status=paid``."""

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line with a JSON object.

    Beside time, level, logger and message it holds the facts of the app's messages, every
    attribute that a filter or ``extra`` has added to the record (numbers and texts), and the
    traceback of an exception. Secrets are redacted.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        # What a message says is the last: some of it may come from outside.
        for key, value in (*_added(record), *_facts(record.name, message)):
            entry.setdefault(key, value)
        # Each value by itself: in JSON, the "n" of "\n" would hide where a secret begins.
        clean = {
            key: redact(each) if isinstance(each, str) else each for key, each in entry.items()
        }
        return json.dumps(clean)


def _added(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """Return what was added to the record, without objects such as the request."""
    found = vars(record).items()
    plain = (str, int, float, bool)
    return [
        (key, value)
        for key, value in found
        # A dash is what the filter of request ids adds to lines outside of a request.
        if key not in _STANDARD and type(value) in plain and value != "-"
    ]


def _facts(logger: str, message: str) -> list[tuple[str, str]]:
    if not logger.startswith("shop_payments"):
        return []
    found = [(key, value.rstrip(",;:")) for key, value in _FACT.findall(message)]
    return [(key, value) for key, value in found if value != "-"]


def logging_config(*, development: bool = False) -> dict[str, Any]:
    """Return what ``logging.config.dictConfig`` takes, from the environment.

    ``shop_payments`` logs one line at INFO for each change of a payment.
    """
    formats = environment.choice("DJANGO_LOG_FORMAT", ("text", "json"), default="text")
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    level = environment.choice(
        "DJANGO_LOG_LEVEL", levels, default="WARNING" if development else "INFO"
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
            "json": {"()": "config.logs.JsonFormatter"},
        },
        "filters": {"request_id": {"()": "shop_payments.request_ids.RequestIDFilter"}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": formats,
                "filters": ["request_id"],
            }
        },
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {
            # Django's own handlers would write everything a second time.
            "django": {"handlers": [], "level": "WARNING"},
            "shop_payments": {"level": level},
        },
    }
