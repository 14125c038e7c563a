"""The ASGI entry point."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# A web server is in production unless it is told otherwise. ``runserver`` has read the settings before.
os.environ.setdefault("DJANGO_DEBUG", "0")

application = get_asgi_application()
