"""Settings of gunicorn: ``gunicorn config.wsgi --config python:config.gunicorn``.

The number of processes is ``WEB_CONCURRENCY`` (gunicorn's own variable, 1 by default).
"""

from config import environment
from config.logs import logging_config

worker_class = "gthread"
threads = environment.threads()

timeout = 60
"""Seconds without a sign of life after which a process is killed. With threads this is not the time
of a request, but it must be longer than a call to Stripe (``CONNECT_TIMEOUT + READ_TIMEOUT``) with
every other worker class."""

graceful_timeout = 60
"""Seconds for the running requests when a process is stopped. A request may make several calls to
Stripe. What is killed is finished by the next request for the order, or by the sweep."""

control_socket_disable = True

_logging = logging_config()
logconfig_dict = {
    **_logging,
    "loggers": {
        **_logging["loggers"],
        "gunicorn.error": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # The proxy in front logs the requests; a dictionary here would switch this log on.
        "gunicorn.access": {"handlers": [], "level": "WARNING", "propagate": False},
    },
}
