from __future__ import annotations

from django.apps import AppConfig


class HostShopConfig(AppConfig):
    """A shop that was there before its payments."""

    name = "tests.hostshop"
    default_auto_field = "django.db.models.BigAutoField"
