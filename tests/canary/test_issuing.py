"""A key is shown once, to whoever issues it."""

from __future__ import annotations

import re

from django.contrib.auth.models import User
from django.test import Client

from shop_payments.models import APIKey
from tests.admin.support import add


def test_a_key_is_shown_once(scene, canary):
    browser = Client()
    browser.force_login(User.objects.get(username="root"))
    form = {"label": "Mobile app", "scopes": ["storefront"], "expires_at_0": "", "expires_at_1": ""}
    page = browser.post(add(APIKey), form).content.decode()
    (secret,) = set(re.findall(r"spk_[0-9a-f]{8}_([\w-]{43})", page))
    canary.learn("the new key", secret)
    canary.look_at("the page that shows it", page)
    assert canary.leaks == ["the new key is in the page that shows it"]
    canary.leaks.clear()

    browser.post(add(APIKey), {**form, "label": ""})
    scene.walk_the_admin()

    canary.assert_silent()
