"""What Stripe's pages say about the API, as data; `documented` compares it.

A line is a statement, the requests, and the answer to the last one. `pay CARD` creates an intent
of 112.00 usd and confirms it; `create`, `update`, `confirm`, `capture`, `cancel` and `retrieve` are
operations of the intent, `refund` is one of its payment, `charge` and `dispute` retrieve what it
has led to, and `again` retrieves the last object. `after` advances the clock by seconds. Words that
begin with a capital letter are headers.

In the answer, `=` compares, `~` looks for a part, and `#` counts. `http` is the status, `header` a
header, and `events` the types of all events.

The pages were checked in 2026-11. `?` marks what we did not find in Stripe's own words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.support import (
    CARD,
    CHARGES,
    DISPUTES,
    INTENTS,
    KEY,
    MANDATE,
    ORDER,
    REFUNDS,
    Answer,
    Api,
)

DOCS = "https://docs.stripe.com"
_DEBIT = {"allowed_payment_method_types[]": "us_bank_account", **MANDATE}

SECTIONS: dict[str, str] = {}
"""Lines by section. The section is the page."""

SECTIONS[f"{DOCS}/payments/paymentintents/lifecycle"] = """
Without a payment method, one is required | create | status=requires_payment_method amount=11200
With a payment method, a confirmation is required | create payment_method=pm_card_visa | \
status=requires_confirmation
A confirmed payment by card succeeds | create ; confirm payment_method=pm_card_visa | \
status=succeeded amount_received=11200
3D Secure requires an action | pay pm_card_authenticationRequired | \
status=requires_action next_action.type=use_stripe_sdk
With a return_url, the action is a redirect | pay pm_card_authenticationRequired \
return_url=https://shop.test/ | next_action.type=redirect_to_url
A completed authentication completes the payment | pay pm_card_authenticationRequired ; \
authenticate yes ; retrieve | status=succeeded next_action=null
A failed authentication requires another payment method | pay pm_card_authenticationRequired ; \
authenticate no ; retrieve | status=requires_payment_method \
last_payment_error.code=payment_intent_authentication_failure
A decline requires another payment method | pay pm_card_chargeDeclined ; retrieve | \
status=requires_payment_method payment_method=null last_payment_error.code=card_declined
After a decline, the same intent can be paid | pay pm_card_chargeDeclined ; \
confirm payment_method=pm_card_visa | status=succeeded last_payment_error=null
A debit is processing until the bank answers | pay pm_usBankAccount_success | status=processing
A debit that the bank accepts succeeds | pay pm_usBankAccount_success ; after 3600 ; retrieve | \
status=succeeded
A failed debit requires another payment method | pay pm_usBankAccount_noAccount ; after 3600 ; \
retrieve | status=requires_payment_method last_payment_error.code=no_account
An intent can be canceled before it succeeds | create ; cancel | status=canceled
The reason of a cancellation is kept | create ; cancel cancellation_reason=abandoned | \
cancellation_reason=abandoned
A cancellation takes only Stripe's reasons | create ; cancel cancellation_reason=bored | \
http=400 error.param=cancellation_reason
An intent that succeeded cannot be canceled | pay pm_card_visa ; cancel | \
http=400 error.code=payment_intent_unexpected_state
A canceled intent cannot be confirmed | create ; cancel ; confirm payment_method=pm_card_visa | \
http=400 error.code=payment_intent_unexpected_state
An intent that succeeded cannot be confirmed again | pay pm_card_visa ; \
confirm payment_method=pm_card_visa | http=400 error.code=payment_intent_unexpected_state
"""

SECTIONS[f"{DOCS}/api/payment_intents"] = """
The client secret begins with the id | create | client_secret~{last.id}_secret_
An update changes the amount | create ; update amount=5000 | amount=5000
An update clears the last error | pay pm_card_chargeDeclined ; update description=x | \
last_payment_error=null
The amount of a payment that succeeded cannot be updated | pay pm_card_visa ; \
update amount=5000 | http=400 error.code=payment_intent_unexpected_state
Metadata can always be updated | pay pm_card_visa ; update metadata[a]=b | metadata.a=b
Metadata is merged | create metadata[a]=1 ; update metadata[b]=2 | metadata.a="1" metadata.b="2"
An empty value removes a key of metadata | create metadata[a]=1 ; update metadata[a]= | metadata={}
latest_charge can be expanded | pay pm_card_visa ; retrieve expand[]=latest_charge | \
latest_charge.object=charge latest_charge.paid=true
The currency is in lower case | create currency=EUR | currency=eur
An unknown currency is refused | create currency=xxx | http=400 error.param=currency
The smallest amount in US dollars is 0.50 | create amount=49 | \
http=400 error.code=amount_too_small error.param=amount
The smallest amount in pounds is 0.30 | create amount=30 currency=gbp | amount=30
An amount has at most eight digits | create amount=100000000 | \
http=400 error.code=amount_too_large
Yen have no decimals | create amount=50 currency=jpy | amount=50
Without a customer, a payment method pays once | pay pm_card_visa ; \
create payment_method={payment_intent.payment_method} | http=400
An unknown payment method is refused | create payment_method=pm_nothing | \
http=400 error.code=resource_missing error.param=payment_method
confirm accepts error_on_requires_action | pay pm_card_authenticationRequired \
error_on_requires_action=true | http=402 error.code=authentication_required
Off session, a required authentication is a decline | pay pm_card_authenticationRequired \
off_session=true | http=402 error.code=authentication_required \
error.payment_intent.status=requires_payment_method
The newest version has no payment_method_types ? | POST payment_intents amount=100 currency=usd \
payment_method_types[]=card | http=400
An older version has payment_method_types | POST payment_intents amount=100 currency=usd \
payment_method_types[]=card Stripe-Version=2025-03-31.basil | payment_method_types=["card"]
"""

SECTIONS[f"{DOCS}/payments/place-a-hold-on-a-payment-method"] = """
With manual capture, the money is authorized | pay pm_card_visa capture_method=manual | \
status=requires_capture amount_capturable=11200 amount_received=0
A capture takes the whole amount by default | pay pm_card_visa capture_method=manual ; capture | \
status=succeeded amount_received=11200 amount_capturable=0
A part can be captured, and the rest is released | pay pm_card_visa capture_method=manual ; \
capture amount_to_capture=7500 | status=succeeded amount_received=7500 amount_capturable=0
No more than authorized can be captured | pay pm_card_visa capture_method=manual ; \
capture amount_to_capture=11201 | http=400 error.code=amount_too_large
Less than the smallest charge cannot be captured ? | pay pm_card_visa capture_method=manual ; \
capture amount_to_capture=49 | http=400 error.code=amount_too_small
A payment is captured once | pay pm_card_visa capture_method=manual ; capture ; capture | \
http=400 error.code=payment_intent_unexpected_state
An authorization can be canceled | pay pm_card_visa capture_method=manual ; cancel | \
status=canceled amount_capturable=0
An authorization expires after seven days | pay pm_card_visa capture_method=manual ; \
after 604801 ; retrieve | status=canceled
An authorized charge is not captured | pay pm_card_visa capture_method=manual ; charge | \
captured=false paid=true status=succeeded
"""

SECTIONS[f"{DOCS}/refunds"] = """
A refund is of the whole payment by default | pay pm_card_visa ; refund | \
object=refund amount=11200 status=succeeded
A part can be refunded | pay pm_card_visa ; refund amount=1000 ; charge | \
amount_refunded=1000 refunded=false
Several parts can be refunded | pay pm_card_visa ; refund amount=1000 ; refund amount=200 ; \
charge | amount_refunded=1200 refunded=false
A full refund refunds the charge | pay pm_card_visa ; refund ; charge | \
amount_refunded=11200 refunded=true status=succeeded
The intent of a refunded payment stays succeeded | pay pm_card_visa ; refund ; retrieve | \
status=succeeded amount_received=11200
What is refunded cannot be refunded again | pay pm_card_visa ; refund ; refund | \
http=400 error.code=charge_already_refunded
No more than is left can be refunded | pay pm_card_visa ; refund amount=10000 ; \
refund amount=1201 | http=400 error.type=invalid_request_error
A refund takes Stripe's reasons | pay pm_card_visa ; refund reason=requested_by_customer | \
reason=requested_by_customer
Other reasons are refused | pay pm_card_visa ; refund reason=bored | http=400 error.param=reason
Stripe's fee is not returned | pay pm_card_visa ; refund expand[]=balance_transaction | \
balance_transaction.amount=-11200 balance_transaction.fee=0 balance_transaction.type=refund
A failed refund has a reason and gives the money back | pay pm_card_refundFail ; refund ; \
after 86400 ; again expand[]=failure_balance_transaction | \
status=failed failure_reason~card failure_balance_transaction.amount=11200
After a failed refund, the charge is not refunded | pay pm_card_refundFail ; refund ; \
after 86400 ; charge | refunded=false amount_refunded=0
Only metadata of a refund can be updated | pay pm_card_visa ; refund ; \
POST refunds/{refund.id} amount=5 | http=400 error.code=parameter_unknown
Refunds are listed by payment | pay pm_card_visa ; refund amount=100 ; refund amount=200 ; \
GET refunds payment_intent={payment_intent.id} | data#2 data.0.amount=200
A refund has events | pay pm_card_visa ; refund ; after 1 ; again | \
events~charge.refunded events~refund.created
A payment that was not captured cannot be refunded ? | pay pm_card_visa capture_method=manual ; \
refund | http=400
A card refund that succeeded cannot be canceled by API | pay pm_card_visa ; refund ; \
POST refunds/{refund.id}/cancel | http=400
"""

SECTIONS[f"{DOCS}/disputes/how-disputes-work"] = """
A dispute takes the money and a fee | pay pm_card_createDispute ; dispute | \
status=needs_response amount=11200 balance_transactions.0.amount=-11200 \
balance_transactions.0.fee=1500
The charge of a dispute is disputed | pay pm_card_createDispute ; after 1 ; charge | disputed=true
A disputed charge cannot be refunded | pay pm_card_createDispute ; after 1 ; refund | http=400
A dispute says that its charge cannot be refunded | pay pm_card_createDispute ; dispute | \
is_charge_refundable=false
An inquiry takes no money | pay pm_card_createDisputeInquiry ; dispute | \
status=warning_needs_response balance_transactions=[] is_charge_refundable=true
A full refund closes an inquiry | pay pm_card_createDisputeInquiry ; dispute ; refund ; \
GET disputes/{dispute.id} | status=warning_closed
An inquiry closes after 120 days | pay pm_card_createDisputeInquiry ; dispute ; \
after 10368001 ; again | status=warning_closed
winning_evidence wins | pay pm_card_createDispute ; dispute ; POST disputes/{dispute.id} \
evidence[uncategorized_text]=winning_evidence ; after 60 ; again | status=won
A won dispute returns the money | pay pm_card_createDispute ; dispute ; \
POST disputes/{dispute.id} evidence[uncategorized_text]=winning_evidence ; after 60 ; again | \
balance_transactions#2 balance_transactions.1.amount=11200
losing_evidence loses | pay pm_card_createDispute ; dispute ; POST disputes/{dispute.id} \
evidence[uncategorized_text]=losing_evidence ; after 60 ; again | \
status=lost balance_transactions#1
losing_evidence closes an inquiry | pay pm_card_createDisputeInquiry ; dispute ; \
POST disputes/{dispute.id} evidence[uncategorized_text]=losing_evidence ; after 60 ; again | \
status=warning_closed
escalate_inquiry_evidence makes a dispute of an inquiry | pay pm_card_createDisputeInquiry ; \
dispute ; POST disputes/{dispute.id} \
evidence[uncategorized_text]=escalate_inquiry_evidence ; after 60 ; again | \
status=needs_response balance_transactions.0.amount=-11200
Evidence is under review after it is submitted | pay pm_card_createDispute ; dispute ; \
POST disputes/{dispute.id} evidence[uncategorized_text]=hello | \
status=under_review evidence_details.submission_count=1 evidence_details.has_evidence=true
Evidence can be staged | pay pm_card_createDispute ; dispute ; POST disputes/{dispute.id} \
evidence[uncategorized_text]=hello submit=false | \
status=needs_response evidence_details.submission_count=0 evidence_details.has_evidence=true
Closing a dispute accepts the loss | pay pm_card_createDispute ; dispute ; \
POST disputes/{dispute.id}/close | status=lost
A dispute without evidence in time is lost | pay pm_card_createDispute ; dispute ; \
after 8640000 ; again | status=lost
A dispute has events | pay pm_card_createDispute ; dispute | \
events~charge.dispute.created events~charge.dispute.funds_withdrawn
"""

SECTIONS[f"{DOCS}/api/radar/early_fraud_warnings"] = """
A warning is actionable | pay pm_card_createIssuerFraudRecord ; after 1 ; \
GET radar/early_fraud_warnings payment_intent={payment_intent.id} | data#1 data.0.actionable=true
After a refund, it is not actionable | pay pm_card_createIssuerFraudRecord ; after 1 ; refund ; \
GET radar/early_fraud_warnings payment_intent={payment_intent.id} | data.0.actionable=false
"""

SECTIONS[f"{DOCS}/api/events"] = """
A payment by card has three events, and the balance one more | pay pm_card_visa ; after 1 ; again |\
 events=payment_intent.created,charge.succeeded,payment_intent.succeeded,charge.updated
A decline has two | pay pm_card_chargeDeclined ; retrieve | \
events=payment_intent.created,charge.failed,payment_intent.payment_failed
An event has its object | pay pm_card_visa ; GET events type=payment_intent.succeeded | \
data#1 data.0.data.object.object=payment_intent data.0.object=event data.0.livemode=false
An event names the idempotency key of its request | pay pm_card_visa Idempotency-Key=abc ; \
GET events type=payment_intent.succeeded | data.0.request.idempotency_key=abc
Events are listed by several types | pay pm_card_visa ; \
GET events types[0]=charge.succeeded types[1]=payment_intent.created | data#2
Events can be listed by a pattern | pay pm_card_visa ; GET events type=charge.* limit=100 | \
data.0.type~charge.
Events are kept for 30 days | create ; after 2678400 ; GET events | data#0
An event about an update has previous_attributes | pay pm_card_visa ; refund ; \
GET events type=charge.refunded | data.0.data.previous_attributes.amount_refunded=0
"""

SECTIONS[f"{DOCS}/testing#invalid-data"] = """
The month 13 is invalid | POST payment_methods type=card card[number]=4242424242424242 \
card[exp_month]=13 card[exp_year]=2099 | http=402 error.code=invalid_expiry_month
A year in the past is invalid | POST payment_methods type=card card[number]=4242424242424242 \
card[exp_month]=12 card[exp_year]=95 | http=402 error.code=invalid_expiry_year
A CVC of two digits is invalid | POST payment_methods type=card card[number]=4242424242424242 \
card[exp_month]=12 card[exp_year]=2099 card[cvc]=99 | http=402 error.code=invalid_cvc
A number that fails the Luhn check is incorrect | POST payment_methods type=card \
card[number]=4242424242424241 card[exp_month]=12 card[exp_year]=2099 | \
http=402 error.code=incorrect_number
"""

SECTIONS[f"{DOCS}/api/errors"] = """
Without a key, the answer is 401 | GET payment_intents Key=none | \
http=401 error.type=invalid_request_error
An unknown id is 404 | GET payment_intents/pi_nothing | \
http=404 error.code=resource_missing error.type=invalid_request_error
An unknown address is 404 | GET nothing | http=404 error.message~Unrecognized
An unknown parameter is refused | create colour=red | http=400 error.code=parameter_unknown
A missing parameter is named | POST payment_intents currency=usd | \
http=400 error.code=parameter_missing error.param=amount
A decline is a card_error and 402 | pay pm_card_chargeDeclined | \
http=402 error.type=card_error error.code=card_declined error.decline_code=generic_decline
A decline names its charge | pay pm_card_chargeDeclined | error.charge~ch_
A decline has advice | pay pm_card_chargeDeclinedLostCard | error.advice_code=do_not_try_again
An error has the address of its documentation | pay pm_card_chargeDeclined | \
error.doc_url~card-declined
A failed charge has the reason | pay pm_card_chargeDeclinedInsufficientFunds ; charge | \
status=failed failure_code=card_declined outcome.reason=insufficient_funds \
outcome.type=issuer_declined
Each answer has the id of its request | create | header.request-id~req_
"""

SECTIONS[f"{DOCS}/api/idempotent_requests"] = """
The same key returns the same answer | create Idempotency-Key=a ; POST payment_intents \
amount=11200 currency=usd allowed_payment_method_types[]=card Idempotency-Key=a | \
id={first.id} header.idempotent-replayed="true"
Another key creates another object | create Idempotency-Key=a ; create Idempotency-Key=b ; \
GET payment_intents | data#2
Other parameters with the same key are refused | create Idempotency-Key=a ; \
create amount=500 Idempotency-Key=a | http=400 error.type=idempotency_error
A decline is saved, too | pay pm_card_chargeDeclined Idempotency-Key=a ; \
pay pm_card_chargeDeclined Idempotency-Key=a | \
http=402 header.idempotent-replayed="true" error.charge={first.error.charge}
An invalid request is not saved | create colour=red Idempotency-Key=a ; \
create Idempotency-Key=a | http=200 header.idempotent-replayed=null
Keys are removed after 24 hours | create Idempotency-Key=a ; after 90000 ; \
create Idempotency-Key=a ; GET payment_intents | data#2
"""

SECTIONS[f"{DOCS}/api/pagination"] = """
A list is newest first | create amount=100 ; create amount=200 ; GET payment_intents | \
object=list data.0.amount=200 has_more=false url=/v1/payment_intents
A limit leaves more | create ; create ; GET payment_intents limit=1 | data#1 has_more=true
A page holds at most 100 | GET payment_intents limit=101 | http=400 error.param=limit
A page holds at least one | GET payment_intents limit=0 | http=400 error.param=limit
starting_after continues | create amount=100 ; create amount=200 ; \
GET payment_intents starting_after={last.id} | data#1 data.0.amount=100
ending_before goes back | create amount=100 ; create amount=200 ; \
GET payment_intents ending_before={first.id} | data#1 data.0.amount=200
Lists are limited by time | create ; after 100 ; create amount=500 ; \
GET payment_intents created[gte]={last.created} | data#1 data.0.amount=500
A charge is listed by its intent | pay pm_card_visa ; create ; \
GET charges payment_intent={payment_intent.id} | data#0
"""

SECTIONS[f"{DOCS}/expand"] = """
Objects in lists are expanded with data | pay pm_card_visa ; \
GET payment_intents expand[]=data.latest_charge | data.0.latest_charge.object=charge
No more than four levels can be expanded | pay pm_card_visa ; \
retrieve expand[]=latest_charge.payment_intent.latest_charge.payment_intent.latest_charge | http=400
What cannot be expanded is refused | create ; retrieve expand[]=amount | http=400
"""

SECTIONS[f"{DOCS}/balances"] = """
A payment by card costs 2.9% and 30 cents | pay pm_card_visa ; after 1 ; \
GET balance_transactions | data.0.amount=11200 data.0.fee=355 data.0.net=10845
The money of a card is pending first | pay pm_card_visa ; after 1 ; GET balance_transactions | \
data.0.status=pending
It is available two days later | pay pm_card_visa ; after 259200 ; GET balance_transactions | \
data.0.status=available
The balance has the money | pay pm_card_bypassPending ; after 1 ; GET balance | \
object=balance available.0.amount=10845 available.0.currency=usd
"""

SECTIONS[f"{DOCS}/api/versioning"] = """
An unknown version is refused | GET payment_intents Stripe-Version=2001-01-01 | http=400
The answer names the version | GET payment_intents Stripe-Version=2025-03-31.basil | \
header.stripe-version=2025-03-31.basil
"""


@dataclass
class Script:
    """Sends the requests of a statement, and remembers the objects in the answers."""

    api: Api
    known: dict[str, Any] = field(default_factory=dict)
    answer: Answer | None = None

    def run(self, step: str) -> None:
        """Send the request of a step, or pull a lever."""
        verb, *words = _filled(step, self.known).split()
        params = dict(word.split("=", 1) for word in words if "=" in word)
        if verb == "after":
            self.api.sandbox.advance_clock(float(words[0]))
        elif verb == "pay":
            kind = CARD if words[0].startswith("pm_card") else _DEBIT
            given = {"payment_method": words[0], "confirm": "true"}
            self.send("POST", INTENTS, {**ORDER, **kind, **given, **params})
        elif verb == "create":
            self.send("POST", INTENTS, {**ORDER, **params})
        elif verb == "again":
            last = self.known["last"]
            self.send("GET", f"/v1/{last['object']}s/{last['id']}", params)
        elif verb in ("GET", "POST"):
            self.send(verb, f"/v1/{words[0]}", params)
        else:
            self._about_the_intent(verb, words, params)

    def _about_the_intent(self, verb: str, words: list[str], params: dict[str, str]) -> None:
        intent = self.known["payment_intent"]
        path, paid = f"{INTENTS}/{intent['id']}", {"payment_intent": intent["id"]}
        match verb:
            case "authenticate":
                succeed = words[0] == "yes"
                self.api.sandbox.complete_authentication(intent["id"], succeed=succeed)
            case "retrieve":
                self.send("GET", path, params)
            case "update":
                self.send("POST", path, params)
            case "confirm" | "capture" | "cancel":
                self.send("POST", f"{path}/{verb}", params)
            case "charge":
                self.send("GET", f"{CHARGES}/{intent['latest_charge']}", {})
            case "refund":
                self.send("POST", REFUNDS, {**paid, **params})
            case "dispute":
                self.api.sandbox.advance_clock(1)
                self.send("GET", DISPUTES, paid)
                self.send("GET", f"{DISPUTES}/{self.known['last']['data'][0]['id']}", {})
            case _:
                raise ValueError(f"There is no step {verb}.")

    def send(self, method: str, path: str, words: dict[str, str]) -> None:
        params = {name: value for name, value in words.items() if not name[0].isupper()}
        headers = {name: value for name, value in words.items() if name not in params}
        key = None if headers.pop("Key", "") == "none" else KEY
        self.answer = self.api.call(method, path, params, key=key, **headers)
        found = self.answer.json
        self.known["last"] = found
        self.known.setdefault("first", found)
        for each in (found, found.get("error", {}).get("payment_intent", {})):
            if "object" in each:
                self.known[each["object"]] = each

    def value(self, path: str) -> Any:
        """Return what is at a dotted path of the last answer."""
        assert self.answer is not None
        if path == "http":
            return self.answer.status
        if path == "events":
            return ",".join(self.api.events_after())
        if path.startswith("header."):
            return self.answer.headers.get(path.removeprefix("header."))
        return _at(self.answer.json, path)


def _filled(text: str, known: dict[str, Any]) -> str:
    """Return the text with values of the answers, such as `{payment_intent.id}`."""
    return re.sub(r"\{([\w.]+)\}", lambda name: str(_at(known, name[1])), text)


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def problem(api: Api, line: str) -> str:
    """Return what is different from a statement, or nothing."""
    _, steps, expected = (part.strip() for part in line.split(" |"))
    script = Script(api)
    for step in steps.split(" ;"):
        script.run(step)
    for word in _filled(expected, script.known).split():
        match = re.fullmatch(r"([\w.-]+?)([=~#])(.*)", word)
        assert match is not None, word
        path, how, wanted = match.groups()
        found = script.value(path)
        if not _COMPARISONS[how](found, wanted):
            return f"{path} is {found!r:.80}, not {word.removeprefix(path)}"
    return ""


_COMPARISONS: dict[str, Callable[[Any, str], bool]] = {
    "=": lambda found, wanted: bool(found == _read(wanted)),
    "~": lambda found, wanted: wanted in found,
    "#": lambda found, wanted: len(found) == int(wanted),
}


def _read(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word
