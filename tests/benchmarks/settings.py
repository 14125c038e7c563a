"""The settings of the demo project, with the kept connections that the minimum has.

A pool tests each connection before it lends it, and so do Django's health checks. That is a round
trip for each request. The pages of the admin are rendered without ``collectstatic``.
"""

from config.settings import *  # noqa: F403
from config.settings import DATABASES

DATABASES["default"]["OPTIONS"].pop("pool")
DATABASES["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}

STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
