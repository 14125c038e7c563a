"""What a person has to decide."""

from __future__ import annotations

import pytest
from django.utils import timezone

from shop_payments.models import ReviewItem
from tests.admin.support import change, changelist, listed, text_of

pytestmark = pytest.mark.django_db


def test_an_item_says_why_and_what_to_do(in_review, staff):
    item = in_review.review_items.get()

    text = text_of(staff.get(change(item)))

    assert "the amount differs from what is due" in text
    assert item.detail in text
    assert item.suggested_action in text


def test_items_are_filtered(in_review, staff):
    item = in_review.review_items.get()

    assert listed(staff.get(changelist(ReviewItem), {"reason__exact": item.reason})) == {item}
    assert listed(staff.get(changelist(ReviewItem), {"state": "open"})) == {item}
    assert listed(staff.get(changelist(ReviewItem), {"state": "decided"})) == set()


def test_a_decided_item_is_no_longer_open(in_review, staff):
    ReviewItem.objects.update(resolved_at=timezone.now())

    assert listed(staff.get(changelist(ReviewItem), {"state": "open"})) == set()
    assert len(listed(staff.get(changelist(ReviewItem), {"state": "decided"}))) == 1
