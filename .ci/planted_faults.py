"""Plants faults and checks that the tests find them: ``python .ci/planted_faults.py``.

Each fault could lose or double money, mislead the shop or its staff, leak a secret, let the wrong
person in, or break recovery. Faults are planted in a copy of the checkout, one at a time, and the
tests named with a fault are run against it. ``bash .ci/mutate`` covers balance, money and lifecycle.

A fault is found by its text, in any file of ``shop_payments`` and however the lines are broken, so
an entry stays valid when code moves. If you change such a text, change its entry as well. If you
remove a test that is named here, name another one that finds the fault: ``--tests`` tries one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"sandbox", "migrations"}
SECONDS = 300
"""Timeout of a run with a fault, which may cause an endless loop."""


@dataclass(frozen=True)
class Fault:
    """One change of the source, and the tests that find it."""

    name: str
    old: str
    new: str
    tests: str
    """Paths or node ids of pytest, separated by white space."""


@dataclass(frozen=True)
class Result:
    """The result of a run of tests; ``failed`` is the first test that failed."""

    status: int
    failed: str
    seconds: float
    output: str

    @property
    def is_found(self) -> bool:
        """Whether a test failed. A fault that keeps pytest from starting is not found."""
        return self.status == 1 and bool(self.failed)


FAULTS = (
    # --- calls to Stripe ---
    Fault(
        "Stripe may be called inside a transaction",
        old="assert_no_transaction() return ask(self, *args, **kwargs)",
        new="return ask(self, *args, **kwargs)",
        tests="tests/gateway/test_guard.py::test_stripe_is_not_called_inside_a_transaction",
    ),
    Fault(
        "the host's ATOMIC_REQUESTS stays in force for the API",
        old="view = super().as_view(actions, **initkwargs) for alias in connections:",
        new="""
            view = super().as_view(actions, **initkwargs)
            for alias in ():
        """,
        tests="tests/api/test_views.py::test_atomic_requests_do_not_keep_a_transaction_open",
    ),
    Fault(
        "an intent is created under another idempotency key each time it is sent",
        old="key = str(attempt.pk)",
        new="""key = f"{attempt.pk} {attempt.acquired_at}" """,
        tests="tests/outbox/test_sender.py::test_a_create_is_finished_with_the_same_key",
    ),
    Fault(
        "a refund is sent under another idempotency key each time",
        old="create_refund(attempt.params, idempotency_key=key)",
        new="""create_refund(attempt.params, idempotency_key=f"{key} {attempt.acquired_at}")""",
        tests="tests/outbox/test_refund_operations.py::test_a_lost_answer_is_finished_by_the_next_call",
    ),
    Fault(
        "a refund is sent again under a key that Stripe may have forgotten",
        old="if attempt.key_expired: return sending.find_effect()",
        new="",
        tests="tests/outbox/test_refund_operations.py::test_an_old_key_is_not_sent_again",
    ),
    Fault(
        "an intent whose answer was lost counts as refused",
        old="if not error.retryable and not isinstance(error, GatewayAuthenticationError): self._end",
        new="""
            if not isinstance(error, GatewayAuthenticationError):
                self._end
        """,
        tests="tests/services/test_create_payment_intent.py",
    ),
    Fault(
        "a refund whose payment intent another account does not know counts as refused",
        old="missing_statuses=frozenset({400, 404}),",
        new="",
        tests="tests/outbox/test_refund_operations.py::test_a_sweep_under_another_accounts_key_refuses_no_lost_refund",
    ),
    Fault(
        "a failure that Stripe has saved is sent again and again",
        old="return isinstance(error, IdempotencyMismatch) or (error.retryable and error.replayed)",
        new="return isinstance(error, IdempotencyMismatch)",
        tests="tests/services/test_create_payment_intent.py",
    ),
    Fault(
        "a retry that is turned away hides the effect of the first request",
        old="if after_unknown and _is_rejected_unseen(status, values):",
        new="if False:",
        tests="tests/gateway/test_http_clients.py::test_a_rejected_retry_leaves_the_outcome_of_the_first_request_unknown",
    ),
    Fault(
        "an answer about another intent is accepted",
        old="if intent_id and result.id != intent_id:",
        new="if False:",
        tests="tests/sync/test_payment_intents.py::test_another_intents_success_pays_nothing",
    ),
    Fault(
        "only the first page of a list is read",
        old="""if not values["has_more"]:""",
        new="if True:",
        tests="tests/gateway/test_reading.py::test_pages_follow_one_another",
    ),
    # --- who may ---
    Fault(
        "a customer reaches the order of another customer",
        old="order = adapter.find_for_user(pk, user)",
        new="order = adapter.find(pk)",
        tests="tests/api/test_permissions.py::test_every_caller_at_every_route[-/ANOTHER/STOREFRONT]",
    ),
    Fault(
        "an API key opens every scope",
        old="if not key.allows(self.scope):",
        new="if not key.scopes:",
        tests="tests/api/test_permissions.py::test_every_caller_at_every_route[-/-/STOREFRONT]",
    ),
    Fault(
        "the prefix of an API key is enough",
        old="if key is None or not hmac.compare_digest(key.digest, _digest(secret)):",
        new="if key is None:",
        tests="tests/models/test_api_keys.py::test_a_text_that_only_looks_like_a_key_finds_nothing",
    ),
    Fault(
        "a staff session needs no CSRF token",
        old="SessionAuthentication().enforce_csrf(request._request)",
        new="pass",
        tests="tests/api/test_permissions.py::test_every_caller_at_every_route[BOTH/-/-/nocsrf]",
    ),
    Fault(
        "the permission to change payments is enough to refund by the API",
        old="permission = REFUND_PERMISSION",
        new="permission = PAY_PERMISSION",
        tests="tests/api/test_permissions.py::test_every_caller_at_every_route[BOTH/-/-]",
    ),
    Fault(
        "an action of staff needs no permission",
        old="if not user.has_perm(self.action.permission(target)):",
        new="if False:",
        tests="tests/admin/test_actions.py::test_each_action_needs_its_own_permission",
    ),
    Fault(
        "a capture waives the rest without the permission to waive",
        old="may_waive = user.has_perm(MAY_WAIVE)",
        new="may_waive = True",
        tests="tests/admin/test_intent_actions.py::test_a_capture_waives_nothing_without_the_permission_to_waive",
    ),
    Fault(
        "everybody who sees the review accepts unknown payments and skips notifications",
        old="""return bool(user.has_perm("shop_payments.change_orderpayment"))""",
        new="return True",
        tests="tests/admin/test_item_actions.py::test_an_action_needs_the_permission_to_change_payments",
    ),
    Fault(
        "a request is counted although another limit has refused it",
        old="def throttle_success(self) -> bool: return True",
        new="""
            def throttle_success(self) -> bool:
                return super().throttle_success()
        """,
        tests="tests/api/test_throttling.py::test_a_user_is_limited_over_all_orders",
    ),
    # --- what comes in ---
    Fault(
        "an old signature is accepted",
        old="if abs(time.time() - signed_at) > tolerance:",
        new="if signed_at - time.time() > tolerance:",
        tests="tests/gateway/test_webhooks.py::test_a_signature_must_be_recent",
    ),
    Fault(
        "a huge webhook body is read",
        old="if declared > limit:",
        new="if False:",
        tests="tests/api/test_views.py::test_an_event_that_is_too_large_or_of_a_wrong_length_is_refused",
    ),
    Fault(
        "a key that is given twice in a body takes its last value",
        old="if len(values) < len(pairs):",
        new="if False:",
        tests="tests/api/test_parsers.py::test_a_key_given_twice_is_named_and_nothing_is_refunded",
    ),
    Fault(
        "a refund's idempotency key takes another amount",
        old="_requested_amount(request, first.currency) == first.requested_amount",
        new="True",
        tests="tests/services/test_refund_payment.py::test_a_key_is_for_one_request",
    ),
    Fault(
        "a failed event counts as processed",
        old="_record_failure(row, error, was_processed=was_processed)",
        new="_record_outcome(row, WebhookEvent.Status.PROCESSED, str(error))",
        tests="tests/services/test_receive_event.py",
    ),
    Fault(
        "an event of another account is acted on",
        old="if account := account_of_event(self.event.payload):",
        new="""if account := "":""",
        tests="tests/services/test_receive_event.py",
    ),
    Fault(
        "an intent that copies our metadata is ours",
        old="""if attempt is None or attempt.stripe_object_id not in {"", intent.id}:""",
        new="if attempt is None:",
        tests="tests/services/test_receive_event.py",
    ),
    # --- what is written of it ---
    Fault(
        "an outdated answer overwrites something newer",
        old="if current is None or current.version != row.version:",
        new="if current is None:",
        tests="tests/sync/test_payment_intents.py",
    ),
    Fault(
        "an outdated list opens a decided dispute again",
        old="if row is not None and row.version != known.get(row.pk):",
        new="if False:",
        tests="tests/services/test_races.py::test_a_list_that_grew_old_does_not_open_a_dispute_again",
    ),
    Fault(
        "a message without the charge blanks a known one",
        old="if charge and charge != row.latest_charge:",
        new="if charge != row.latest_charge:",
        tests="tests/sync/test_payment_intents.py",
    ),
    Fault(
        "a live intent that is missing under the key is replaced",
        old="if row.livemode and not closed.exists():",
        new="if False:",
        tests="tests/ledger/test_modes.py::test_an_intent_that_another_account_holds_blocks_the_order_until_its_item_is_closed",
    ),
    Fault(
        "test money counts under a live key",
        old="intent.currency == payment.currency and intent.livemode == get_config().livemode",
        new="intent.currency == payment.currency",
        tests="tests/ledger/test_modes.py::test_test_money_under_a_live_key_is_stored_and_does_not_count",
    ),
    Fault(
        "a payment begun in test mode is sent with a live key",
        old="if not is_missing and not belongs_to_other_mode(pending.livemode):",
        new="if not is_missing:",
        tests="tests/outbox/test_intent_operations.py::test_nothing_begun_in_test_mode_is_sent_with_a_live_key",
    ),
    Fault(
        "two processes take over the same attempt",
        old=".filter(pk=attempt.pk, acquired_at=attempt.acquired_at) .update(",
        new=".filter(pk=attempt.pk).update(",
        tests="tests/models/test_payments.py::test_one_of_two_processes_acquires_an_attempt",
    ),
    Fault(
        "an error after the commit is raised to the shop",
        old="""except Exception: logger.exception("%s: failed after the commit""",
        new="""
            except KeyError:
                logger.exception("%s: failed after the commit
        """,
        tests="tests/services/test_cancel_payment.py::test_a_database_that_goes_away_after_the_commit_is_not_the_hosts_trouble",
    ),
    # --- money ---
    Fault(
        "a refund does not count what others have reserved",
        old="left = {row.pk: locked.money_of(row).refundable for row in intents}",
        new="left = {row.pk: locked.money_of(row).received for row in intents}",
        tests="tests/services/test_refund_payment.py::test_a_payment_gives_no_more_than_is_left_of_it",
    ),
    Fault(
        "money that a bank holds is refunded as well",
        old="free = [row for row in intents if locked.dispute_state_of(row) != DisputeState.OPEN]",
        new="free = list(intents)",
        tests="tests/sync/test_disputes.py::test_an_open_dispute_asks_a_person_and_forbids_refunds",
    ),
    Fault(
        "a refund is given up after one look",
        old="return now - attempt.missed_at >= StripeAttempt.SECOND_LOOK",
        new="return True",
        tests="tests/outbox/test_refund_operations.py::test_it_is_given_up_when_two_looks_after_the_keys_life_agree",
    ),
    Fault(
        "a capture in part takes all of it",
        old="""params = {"amount_to_capture": amount}""",
        new="params = {}",
        tests="tests/services/test_capture_payment.py::test_a_part_that_is_captured_leaves_the_rest_owed",
    ),
    Fault(
        "a staff entry that is sent twice is recorded twice",
        old="known = next((each for each in locked.entries if each.request_key == key), None)",
        new="known, key = None, str(uuid4())",
        tests="tests/services/test_record_staff_entry.py::test_the_same_key_records_once",
    ),
    Fault(
        "money that covers an order in part settles it",
        old="if balance.owed == 0:",
        new="if balance.received:",
        tests="tests/services/test_settle_payment.py",
    ),
    Fault(
        "a customer whose payment is processing may pay again",
        old="if intent.status == IntentStatus.PROCESSING:",
        new="if False:",
        tests="tests/services/test_create_payment_intent.py",
    ),
    Fault(
        "an intent is charged at once although its order is now captured by hand",
        old=""" "capture_method": params.get("capture_method", DEFAULT_CAPTURE_METHOD),""",
        new="",
        tests="tests/services/test_create_payment_intent.py",
    ),
    Fault(
        "an open intent is not lowered with its order",
        old="for work in (lower_open_intent, refund_excess):",
        new="for work in (refund_excess,):",
        tests="tests/services/test_follow_up.py::test_an_open_payment_is_lowered_with_its_order",
    ),
    Fault(
        "excess goes back by itself while the customer's bank asks for the money",
        old="if most_serious_dispute(row.status for row in locked.disputes) not in _HARMLESS:",
        new="if False:",
        tests="tests/services/test_refund_excess.py::test_nothing_goes_back_while_a_payment_of_the_order_is_disputed_or_lost",
    ),
    Fault(
        "a cancellation closes the intent that was opened after it",
        old="""if row is None or target not in {"", row.stripe_id}:""",
        new="if row is None:",
        tests="tests/services/test_races.py::test_an_intent_that_is_opened_during_a_cancellation_stays_open",
    ),
    Fault(
        "an intent whose customer has just asked for it is abandoned",
        old="asked_at__lt=older_than,",
        new="",
        tests="tests/maintenance/test_cancellations.py::test_an_intent_that_its_customer_has_just_asked_for_is_not_abandoned",
    ),
    Fault(
        "goods of a disputed payment are released",
        old="return done.locked.balance().may_release",
        new="return done.locked.balance().owed == 0",
        tests="tests/services/test_may_release.py::test_a_dispute_holds_the_goods_unless_it_is_won",
    ),
    Fault(
        "an order whose payment was lost with a restore asks for money again",
        old="has_unknown=payment.has_unknown_intent,",
        new="",
        tests="tests/services/test_unknown_intents.py::test_a_payment_lost_with_a_restore_is_reported_and_nobody_is_charged_again",
    ),
    # --- what the shop is told ---
    Fault(
        "the shop is notified before the commit",
        old="after_commit(partial(_after, done.locked), what=what)",
        new="_after(done.locked)",
        tests="tests/services/test_follow_up.py::test_stripe_is_called_after_the_commit_of_the_shop",
    ),
    Fault(
        "the shop is notified of a refund before the payment",
        old="if others_wait: PaymentHistory",
        new="""
            if False:
                PaymentHistory
        """,
        tests="tests/ledger/test_notifications.py::test_a_refund_is_not_told_before_the_payment",
    ),
    Fault(
        "a notification that a receiver did not accept counts as delivered",
        old="if not _dispatch_one(fact):",
        new="if _dispatch_one(fact) is None:",
        tests="tests/ledger/test_notifications.py::test_a_receiver_that_raises_leaves_the_fact_for_later",
    ),
    Fault(
        "two processes send the same notification",
        old="rows = self.undispatched().filter(free, pk=fact.pk).order_by()",
        new="rows = self.undispatched().filter(pk=fact.pk).order_by()",
        tests="tests/maintenance/test_reconcile.py::test_a_notification_that_one_sweep_is_sending_another_one_does_not_send",
    ),
    Fault(
        "an order is paid before it is covered",
        old="if payment.paid_recorded or not payment.is_payable or balance.status not in _SETTLED:",
        new="if payment.paid_recorded or not payment.is_payable or not balance.received:",
        tests="tests/ledger/test_facts.py::test_each_payment_is_received_once_and_the_order_paid_once",
    ),
    # --- what staff see ---
    Fault(
        "the form of an action acts without its tick",
        old="if not form.is_confirmed:",
        new="if False:",
        tests="tests/admin/test_actions.py::test_the_effect_without_the_tick_does_nothing",
    ),
    Fault(
        "a refund form that is sent twice refunds twice",
        old="key=task.request_key, intent_id=",
        new="""key=f"{id(task)}", intent_id=""",
        tests="tests/admin/test_actions.py::test_a_form_that_is_sent_twice_refunds_once",
    ),
    Fault(
        "staff read that Stripe did nothing although that is not known",
        old="if isinstance(error, GatewayError) and error.effect_unknown:",
        new="if False:",
        tests="tests/admin/test_actions.py::test_trouble_at_stripe_is_a_sentence_and_the_form_can_be_sent_again",
    ),
    Fault(
        "the effect of a refund is shown without what it is for",
        old="waived_seen=state.observations.waived, as_goods=as_goods",
        new="waived_seen=state.observations.waived, as_goods=None",
        tests="tests/admin/test_actions.py::test_the_effect_is_shown_before_it_is_final",
    ),
    Fault(
        "the button of an excess proposes to refund everything",
        old="has_amount = item.reason in WITH_AMOUNT",
        new="has_amount = False",
        tests="tests/admin/test_review.py::test_the_first_button_does_exactly_what_the_item_suggests",
    ),
    Fault(
        "the queue offers staff what they may not do",
        old="may = user.has_perm(action.needs) and user.has_perm(",
        new="may = user.is_staff or user.has_perm(",
        tests="tests/admin/test_queue.py::test_a_button_needs_its_permission",
    ),
    Fault(
        "staff download payments that they may not view",
        old="if not model_admin.has_view_permission(request):",
        new="if not request.user.is_staff:",
        tests="tests/admin/test_export.py::test_a_file_needs_the_permission_to_view",
    ),
    Fault(
        "staff are asked to waive money that a bank holds",
        old="""figures = {"amount": balance.waivable, "currency": currency}""",
        new="""figures = {"amount": balance.owed, "currency": currency}""",
        tests="tests/ledger/test_evaluation.py::test_a_rest_that_may_come_back_is_not_asked_about",
    ),
    Fault(
        "an item that staff have closed seems to have closed itself",
        old="was_open = close_items(locked, why, by=user, pk=item.pk)",
        new="was_open = close_items(locked, why, pk=item.pk)",
        tests="tests/ledger/test_reviews.py::test_the_item_says_who_closed_it_and_why",
    ),
    Fault(
        "a review item stays open when its cause is gone",
        old="if is_gone or _is_made_good(locked, item):",
        new="if _is_made_good(locked, item):",
        tests="tests/ledger/test_reviews.py::test_an_item_closes_itself_when_its_cause_is_gone_and_opens_when_it_is_back",
    ),
    Fault(
        "the item of a dispute stays open when the bank has decided",
        old="close_review(locked, intent, reason, row.stripe_id, **why)",
        new="pass",
        tests="tests/sync/test_disputes.py::test_a_won_dispute_restores_the_money",
    ),
    Fault(
        "staff are not asked about an authorization that lapses soon",
        old="capture_before__lte=timezone.now() + within",
        new="capture_before__lte=timezone.now() - within",
        tests="tests/maintenance/test_authorizations.py::test_what_lapses_soon_is_put_into_review_once",
    ),
    Fault(
        "an order that staff cancel keeps its open intent",
        old="""if obj.status == Order.Status.CANCELLED and "status" in form.changed_data:""",
        new="if False:",
        tests="tests/admin/test_orders.py::test_cancelling_an_order_cancels_its_payment_at_stripe",
    ),
    Fault(
        "a reload issues a second API key",
        old="return bool(once) and once == request.session.get(_LAST_FORM)",
        new="return False",
        tests="tests/admin/test_api_keys.py::test_a_reload_or_an_error_issues_no_key",
    ),
    # --- secrets ---
    Fault(
        "a secret shows itself in a repr",
        old="""return "Secret('***')" """,
        new="""return f"Secret({self._value!r})" """,
        tests="tests/test_secrecy.py::test_a_secret_is_shown_by_reveal_alone",
    ),
    Fault(
        "a sealed function shows its frames",
        old="raise _without_frames(raised)",
        new="raise raised",
        tests="tests/test_secrecy.py::test_an_exception_leaves_a_sealed_function_without_frames_and_cause",
    ),
    Fault(
        "the client secret is stored with an event",
        old="""if key != "client_secret" """,
        new="""if key != "secret" """,
        tests="tests/gateway/test_webhooks.py::test_no_client_secret_is_in_the_payload_at_any_depth",
    ),
    Fault(
        "the SDK's log shows secrets",
        old="record.msg = redact(record.getMessage())",
        new="record.msg = record.getMessage()",
        tests="tests/gateway/test_secrets.py::test_the_sdk_logs_no_secret",
    ),
    Fault(
        "an answer with a client secret may be stored by caches",
        old="""response["Cache-Control"] = "no-store" """,
        new="""response["Cache-Control"] = "private" """,
        tests="tests/api/test_views.py::test_the_bytes_of_call_1",
    ),
    Fault(
        "the purge keeps the customer's address",
        old="for key, value in attempt.params.items() if key in KEPT_PARAMS",
        new="""for key, value in attempt.params.items() if key != "metadata" """,
        tests="tests/maintenance/test_retention.py::test_no_trace_of_the_customer_is_left_in_the_rows_of_the_payment",
    ),
    # --- recovery and operation ---
    Fault(
        "the purge takes what a refund on its way needs",
        old="| Exists(Refund.objects.filter(of_payment).exclude(status__in=_REFUNDED_OR_NOT))",
        new="",
        tests="tests/maintenance/test_retention.py::test_a_refund_on_its_way_keeps_everything",
    ),
    Fault(
        "the sweep leaves out refunds",
        old="object_type=each) for each in OBJECT_TYPES},",
        new="object_type=each) for each in OBJECT_TYPES[1:]},",
        tests="tests/maintenance/test_reconcile.py::test_a_refund_and_a_dispute_made_while_we_were_down",
    ),
    Fault(
        "a part of the sweep that breaks is not reported",
        old="sweep.record_failure(name, error, of_rest=True)",
        new="pass",
        tests="tests/maintenance/test_reconcile.py::test_a_stripe_that_is_away_ends_a_part_early",
    ),
    Fault(
        "the key of another account closes every intent",
        old="if len(missing) >= _MANY and len(missing) >= self._found:",
        new="if False:",
        tests="tests/maintenance/test_reconcile.py::test_the_key_of_another_account_closes_no_intent",
    ),
    Fault(
        "the sweep does not ask about unknown intents",
        old="ask_staff_about(order, intent, origin=sweep.origin)",
        new="pass",
        tests="tests/services/test_unknown_intents.py::test_a_payment_lost_with_a_restore_is_reported_and_nobody_is_charged_again",
    ),
    Fault(
        "the sweep leaves out objects that were created in the same second",
        old="Q(stripe_created_at__lt=created_at) | Q(pk__lt=row.pk)",
        new="Q(stripe_created_at__lt=created_at)",
        tests="tests/maintenance/test_reconcile.py::test_many_in_one_second_are_all_looked_at",
    ),
    Fault(
        "the sweep writes a refund before it knows of the payment",
        old="sync_intent(intent, origin=sweep.origin)",
        new="pass",
        tests="tests/maintenance/test_reconcile.py::test_a_refund_that_is_listed_before_its_payment_is_reported_after_it",
    ),
    Fault(
        "the sweep leaves follow-ups undone",
        old="for payment in sweep.each_of(payments_to_follow_up()):",
        new="for payment in ():",
        tests="tests/services/test_follow_up.py::test_the_sweep_lowers_what_a_dead_process_has_left",
    ),
    Fault(
        "the sweep sends live attempts with a test key",
        old="pending = StripeAttempt.objects.pending().filter(livemode=livemode)",
        new="pending = StripeAttempt.objects.pending()",
        tests="tests/ledger/test_modes.py::test_the_sweep_leaves_what_was_begun_in_live_mode_to_its_key",
    ),
    Fault(
        "an error that is safe to repeat has no Retry-After",
        old="""headers["Retry-After"] = str(max(math.ceil(wait), 1))""",
        new="pass",
        tests="tests/api/test_throttling.py::test_a_refusal_says_when_to_come_back",
    ),
    Fault(
        "the last order of a full page says that there are more",
        old="has_more, page = len(found) > size",
        new="has_more, page = len(found) >= size",
        tests="tests/api/test_order_list.py::test_a_full_page_may_be_the_only_one",
    ),
    Fault(
        "a misspelled filter lists all orders",
        old="if name not in known",
        new="if False",
        tests="tests/api/test_order_list.py::test_a_query_that_is_not_as_documented_is_refused",
    ),
    Fault(
        "a client writes what it likes into the log",
        old="given if _ACCEPTED.fullmatch(given) else",
        new="given if given else",
        tests="tests/api/test_request_ids.py::test_an_id_that_could_forge_a_line_of_the_log_is_replaced",
    ),
    Fault(
        "a dry run of the purge drops data",
        old="dry_run=dry_run, on_batch=",
        new="dry_run=False, on_batch=",
        tests="tests/commands/test_purge.py::test_it_says_how_much_it_dropped_and_kept_and_a_dry_run_writes_nothing",
    ),
    Fault(
        "the sweep's command ends well although somebody should look",
        old="if report.needs_staff:",
        new="if report.problems:",
        tests="tests/commands/test_reconcile.py::test_a_new_review_item_is_an_error_once",
    ),
    Fault(
        "a replay that is set aside again ends well",
        old="failed += replayed.status not in WebhookEvent.SUCCESSES",
        new="failed += 0",
        tests="tests/commands/test_events.py::test_an_event_that_is_set_aside_again_is_an_error",
    ),
)


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Plant faults and check that the tests find them.")
    parser.add_argument("names", nargs="*", help="parts of names of faults (default: all faults)")
    parser.add_argument(
        "-j", type=int, default=1, choices=range(1, 9), help="number of faults at a time"
    )
    parser.add_argument("--list", action="store_true", help="print the faults and their tests")
    parser.add_argument(
        "--check", action="store_true", help="only check that each text occurs once"
    )
    parser.add_argument("--tests", nargs="+", help="run these tests instead of the listed ones")
    options = parser.parse_args()
    faults = [each for each in FAULTS if is_chosen(each, options.names)]
    if not faults:
        parser.error("no fault has such a name")
    if options.list:
        for fault in faults:
            print(f"{fault.name}\n    {fault.tests}")
        return 0
    problems = [problem for fault in faults if (problem := why_not(fault, ROOT))]
    print(*problems, f"{len(faults) - len(problems)} of {len(faults)} texts occur once.", sep="\n")
    if problems or options.check:
        return bool(problems)
    return run_all(faults, options.tests, workers=options.j)


def is_chosen(fault: Fault, names: list[str]) -> bool:
    """Tell whether the command line names the fault."""
    return not names or any(name.lower() in fault.name.lower() for name in names)


# --- the source ---------------------------------------------------------------------------------


def pattern_of(text: str) -> re.Pattern[str]:
    """Return a pattern that matches a text, however its lines are broken."""
    tokens = re.findall(r"\w+|[^\w\s]", text)
    loose = (rf",?\s*{re.escape(each)}" if each in ")]}" else re.escape(each) for each in tokens)
    start, end = (r"\b" if each[0].isalnum() else "" for each in (tokens[0], tokens[-1]))
    return re.compile(start + r"\s*".join(loose) + end)


@cache
def sources(root: Path) -> dict[Path, str]:
    """Return the files in which faults are planted, with their text without a fault."""
    package = root / "shop_payments"
    return {
        path: path.read_text("utf-8")
        for path in sorted(package.rglob("*.py"))
        if LEFT_OUT.isdisjoint(path.relative_to(package).parts)
    }


def places_of(fault: Fault, root: Path) -> list[tuple[Path, re.Match[str]]]:
    """Return each place at which the text of a fault occurs."""
    pattern = pattern_of(fault.old)
    return [
        (path, match) for path, text in sources(root).items() for match in pattern.finditer(text)
    ]


def why_not(fault: Fault, root: Path) -> str:
    """Return why a fault cannot be planted; empty if it can."""
    found = places_of(fault, root)
    if len(found) != 1:
        where = "".join(f"\n    {path.relative_to(root)}" for path, _match in found)
        return f"{fault.name}: its text occurs {len(found)} times{where}"
    ((path, match),) = found
    try:
        compile(changed(fault, match), str(path), "exec")
    except SyntaxError as error:
        return f"{fault.name}: {path.relative_to(root)} would not be Python: {error}"
    return ""


def changed(fault: Fault, match: re.Match[str]) -> str:
    """Return the source with the fault."""
    before = match.string[: match.start()]
    line = before.rpartition("\n")[2]
    margin = line[: len(line) - len(line.lstrip())]
    new = textwrap.indent(textwrap.dedent(fault.new).strip(), margin)[len(margin) :]
    return before + new + match.string[match.end() :]


def plant(fault: Fault, root: Path) -> tuple[Path, str]:
    """Plant a fault; return the file and its text without the fault."""
    ((path, match),) = places_of(fault, root)
    path.write_text(changed(fault, match), "utf-8")
    return path, match.string


# --- the tests ----------------------------------------------------------------------------------


def run_all(faults: list[Fault], tests: list[str] | None, *, workers: int) -> int:
    """Run the tests without a fault, then with each fault; return 1 if one was not found."""
    started = time.monotonic()
    copies: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory(prefix="planted-") as work:
        for number in range(workers):
            copies.put(copy_checkout(Path(work, str(number))))

        named = tests or sorted({test for fault in faults for test in fault.tests.split()})
        sound = run_tests(copies.queue[0], named)
        if sound.status:
            print(sound.output, "The tests fail without a fault.", sep="\n")
            return 1

        def find(fault: Fault) -> bool:
            copy = copies.get()
            path, before = plant(fault, copy)
            try:
                result = run_tests(copy, tests or fault.tests.split(), timeout=SECONDS)
            finally:
                path.write_text(before, "utf-8")
                copies.put(copy)
            print(describe(fault, result), flush=True)
            return result.is_found

        with ThreadPoolExecutor(workers) as pool:
            found = sum(pool.map(find, faults))
    print(f"{found} of {len(faults)} faults found in {time.monotonic() - started:.0f} s.")
    return found != len(faults)


def copy_checkout(copy: Path) -> Path:
    """Copy the checkout; each copy has its own folder for temporary databases."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "*.sqlite3")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / "tmp").mkdir()
    return copy


def run_tests(copy: Path, tests: list[str], *, timeout: float | None = None) -> Result:
    """Run tests in a copy, on SQLite, until one fails."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "",
        *tests,
    ]
    env = {**os.environ, "TMPDIR": str(copy / "tmp")}
    for name in ("DATABASE_URL", "STRIPE_SECRET_KEY", "PYTEST_ADDOPTS"):
        env.pop(name, None)
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=copy, env=env, capture_output=True, text=True, timeout=timeout, check=False
        )
        status, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, output = -1, f"timeout after {timeout} s"
    failed = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", output, re.MULTILINE)
    seconds = time.monotonic() - started
    return Result(status, failed.group(1) if failed else "", seconds, output)


def describe(fault: Fault, result: Result) -> str:
    """Return the line that reports a fault."""
    if result.is_found:
        return f"found      {result.seconds:5.1f} s  {fault.name}: {result.failed}"
    why = "" if result.status == 0 else f" (pytest ended with {result.status})"
    return f"NOT FOUND  {result.seconds:5.1f} s  {fault.name}{why}"


if __name__ == "__main__":
    sys.exit(main())
