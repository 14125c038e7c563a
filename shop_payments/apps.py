"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopPaymentsConfig(AppConfig):
    """Payments for a Django shop."""

    name = "shop_payments"
    verbose_name = _("Shop payments")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the follow-ups."""
        from shop_payments import checks  # noqa: F401
        from shop_payments.services import follow_up  # noqa: F401
