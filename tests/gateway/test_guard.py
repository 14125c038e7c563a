"""No call to Stripe with a transaction open."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from shop_payments.exceptions import TransactionOpenError
from shop_payments.gateway import Gateway
from tests.gateway.support import create, retrieve


def assert_refused(stripe):
    with pytest.raises(TransactionOpenError, match="'default'"):
        retrieve("pi_1")
    with pytest.raises(TransactionOpenError):
        create()
    assert stripe.requests == []


@pytest.mark.django_db
def test_stripe_is_not_called_inside_a_transaction(stripe):
    """The outer transaction of a test case is let through."""
    assert connection.in_atomic_block
    with transaction.atomic():
        assert_refused(stripe)
    with transaction.atomic(), transaction.atomic(savepoint=False):
        assert_refused(stripe)
    assert create().id


@pytest.mark.django_db(transaction=True)
def test_stripe_is_not_called_inside_a_real_transaction(stripe):
    created = []
    with transaction.atomic():
        assert_refused(stripe)
        transaction.on_commit(lambda: created.append(create()))
    assert len(created) == 1


@pytest.mark.django_db(transaction=True)
def test_stripe_is_not_called_with_autocommit_off(stripe):
    transaction.set_autocommit(False)
    try:
        assert_refused(stripe)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert create().id


def test_without_a_database_there_is_no_transaction(stripe):
    """Also where the test before it left its connection open: asking it was refused."""
    assert create().id


def test_every_method_of_the_gateway_is_guarded():
    methods = {name for name in vars(Gateway) if not name.startswith("_")}
    assert all(hasattr(getattr(Gateway, name), "__wrapped__") for name in methods)
