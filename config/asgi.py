"""The ASGI entry point."""

import os

from django.core.asgi import get_asgi_application

from config import environment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Without DEBUG unless the environment asks for it. ``manage.py runserver`` has read the settings.
os.environ["DJANGO_DEBUG"] = environment.text("DJANGO_DEBUG", "0")

application = get_asgi_application()
