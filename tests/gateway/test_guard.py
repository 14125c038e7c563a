"""No call to Stripe while a transaction is open."""

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
    """The outer transaction of a test case is allowed."""
    assert connection.in_atomic_block
    with transaction.atomic():
        assert_refused(stripe)
    with transaction.atomic(), transaction.atomic(savepoint=False):
        assert_refused(stripe)
    assert create().id


@pytest.mark.django_db(transaction=True)
def test_stripe_is_not_called_inside_a_real_transaction_or_with_autocommit_off(stripe):
    transaction.set_autocommit(False)
    try:
        assert_refused(stripe)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    with transaction.atomic():
        assert_refused(stripe)
        transaction.on_commit(create)
    assert len(stripe.requests) == 1


def test_without_a_database_there_is_no_transaction(stripe):
    """Even if the test before has left its connection open: using it was an error."""
    assert create().id


def test_every_method_of_the_gateway_is_guarded():
    methods = {name for name in vars(Gateway) if not name.startswith("_")}
    assert all(hasattr(getattr(Gateway, name), "__wrapped__") for name in methods)
