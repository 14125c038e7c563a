"""The API keys of client programs."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from shop_payments.prepared import PreparedQuery
from shop_payments.secrecy import Secret, sealed

_TOUCH_INTERVAL = timedelta(minutes=1)
"""``last_used_at`` is updated at most this often: it is for display, not for statistics."""


class APIKeyScope(models.TextChoices):
    """The scopes of API keys."""

    STOREFRONT = "storefront", _("storefront: create payment intents for customers")
    PAYMENTS = "payments", _("payments: mark orders as paid")
    REFUNDS = "refunds", _("refunds: refund orders")


@sealed
def _new_secret(prefix: str) -> Secret:
    return Secret(f"spk_{prefix}_{secrets.token_urlsafe(32)}")


@sealed
def _digest(secret: Secret) -> str:
    return hashlib.sha256(secret.reveal().encode()).hexdigest()


@sealed
def _prefix_of(secret: Secret) -> str:
    """Return the public part; empty if this is not one of our keys."""
    text = secret.reveal()
    parts = text.split("_", 2)
    if len(parts) != 3 or parts[0] != "spk" or not parts[1].isalnum() or not text.isascii():
        return ""
    return parts[1][:16]


def validate_scopes(value: object) -> None:
    """Accept a non-empty list of known scopes without repetition.

    Raises:
        ValidationError: any other value; the message names the known scopes.
    """
    known = set(APIKeyScope.values)
    if (
        not isinstance(value, list)
        or not value
        or len(set(map(str, value))) != len(value)
        or not known.issuperset(map(str, value))
    ):
        raise ValidationError(
            _("Scopes are a list of: %(scopes)s."),
            params={"scopes": ", ".join(APIKeyScope.values)},
        )


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    """Issues and finds keys."""

    def issue(
        self,
        *,
        label: str,
        scopes: list[str],
        expires_at: datetime | None = None,
    ) -> tuple[APIKey, Secret]:
        """Create a key; return it with its secret, which is not stored.

        Several keys may share a label, so that a client can be moved from one to the next.

        Raises:
            ValidationError: no label, an unknown scope, or an expiry in the past.
        """
        prefix = secrets.token_hex(4)
        secret = _new_secret(prefix)
        key = APIKey(
            prefix=prefix,
            digest=_digest(secret),
            label=label.strip(),
            scopes=scopes,
            expires_at=expires_at,
        )
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError({"expires_at": _("The expiry date is in the past.")})
        key.full_clean()
        key.save(force_insert=True)
        return key, secret

    def find_by_secret(self, secret: Secret) -> APIKey | None:
        """Return the key with this secret, even if revoked or expired; None if there is none."""
        # The random part has 256 bits, so a plain SHA-256 without salt and rounds is safe.
        prefix = _prefix_of(secret)
        found = _BY_PREFIX(prefix, using=self.db) if prefix else []
        key = found[0] if found else None
        if key is None or not hmac.compare_digest(key.digest, _digest(secret)):
            return None
        return key


_BY_PREFIX = PreparedQuery(
    lambda prefix: APIKey._base_manager.filter(prefix=prefix).order_by(),
    field=lambda: APIKey._meta.get_field("prefix"),
)


class APIKey(models.Model):
    """An API key. Only the digest of its secret is stored."""

    prefix = models.CharField(
        _("prefix"),
        max_length=16,
        unique=True,
        help_text=_("Identifies the key in lists and logs."),
    )
    digest = models.CharField(max_length=64, editable=False)
    label = models.CharField(_("client"), max_length=100)
    scopes = models.JSONField(_("scopes"), default=list, validators=[validate_scopes])
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering: ClassVar[list[str]] = ["label", "-created_at"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=~models.Q(label=""), name="shop_payments_apikey_has_label"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.prefix})"

    @property
    def is_expired(self) -> bool:
        """Whether it has expired."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_revoked(self) -> bool:
        """Whether it was revoked."""
        return self.revoked_at is not None

    def allows(self, scope: str) -> bool:
        """Return whether the key has this scope."""
        return scope in self.scopes

    def revoke(self) -> None:
        """Revoke the key; a second call changes nothing."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            type(self).objects.filter(pk=self.pk, revoked_at=None).update(
                revoked_at=self.revoked_at
            )

    def touch(self) -> None:
        """Record that the key was used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > _TOUCH_INTERVAL:
            self.last_used_at = now
            # Not save(): the key may have been deleted since it was found.
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)
