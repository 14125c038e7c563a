"""What Stripe refuses: one table, for test_refusals.py. Whatever is refused has no effect.

A line is the code of Stripe's error object (- for none) and the requests that get it. A request is
written as a form, without the usual parameters of its `base`; `!name` leaves one of these out. The
error names the last parameter of the request, or the one after `>` (none where nothing follows).
ID is an intent in a given status, LAST what an earlier write has made.

See: https://docs.stripe.com/api (errors, metadata, pagination, and each object's operations),
https://docs.stripe.com/error-codes and https://docs.stripe.com/currencies (checked 2026-11)

Elsewhere are idempotency keys (wire/test_idempotency.py), bodies (wire/test_forms.py), versions
(wire/test_versions.py), addresses (test_routes.py), expansions (resources/test_expand.py) and card
numbers (banks/test_card_numbers.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tests.sandbox.support import (
    CHARGES,
    DISPUTES,
    ENDPOINTS,
    EVENTS,
    INTENTS,
    KEY,
    METHODS,
    MONEY,
    NEW_CARD,
    ORDER,
    PUBLISHABLE_KEY,
    REFUNDS,
)

INTENT = f"{INTENTS}/ID"
CONFIRM, CANCEL, CAPTURE = (f"{INTENT}/{each}" for each in ("confirm", "cancel", "capture"))
UNEXPECTED = "payment_intent_unexpected_state"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A request, and how Stripe refuses it."""

    method: str = "POST"
    path: str
    sent: Mapping[str, str]
    code: str | None
    param: str | None
    state: str | None = None
    """The status of the intent that ID stands for; one that waits for a payment method if None."""
    card: str | None = None
    """What that intent is then confirmed with."""
    after: tuple[str, Mapping[str, str]] | None = None
    """An earlier write, by its path and parameters."""
    key: str | None = KEY
    status: int = 400
    type: str = "invalid_request_error"

    def __str__(self) -> str:
        sent = self.sent.items() - ORDER.items()
        words = [self.method, self.path, self.state, *sorted(map("=".join, sent))]
        return " ".join(word for word in words if word)[:90]


def refuse(
    path: str, table: str, *, base: Mapping[str, str] | None = None, **common: Any
) -> Iterator[Refusal]:
    for line in filter(None, map(str.split, table.splitlines())):
        code, *requests = line
        for request in requests:
            form, named, param = request.partition(">")
            sent = dict(base or {})
            for pair in filter(None, form.split("&")):
                name, _, value = pair.partition("=")
                sent[name.removeprefix("!")] = _value(value)
                if name.startswith("!"):
                    del sent[name.removeprefix("!")]
            yield Refusal(
                path=path,
                sent=sent,
                code=None if code == "-" else code,
                param=(param if named else name.removeprefix("!")) or None,
                **common,
            )


def _value(written: str) -> str:
    """Read `%20`, and `x*23` as 23 letters."""
    letter, _, times = written.partition("*")
    return letter * int(times) if times.isdigit() else unquote(written)


# Requests of any kind


def keys() -> Iterator[Refusal]:
    live = (f"{kind}_live_0123456789abcdef" for kind in ("sk", "rk", "pk"))
    for key in (None, "hello", "sk_test_", "pk_test_", "sk_test_...", *live):
        yield from refuse(INTENTS, "- >", base=ORDER, key=key, status=401)


def browsers() -> Iterator[Refusal]:
    kinds = (INTENTS, EVENTS, REFUNDS, DISPUTES, CHARGES, MONEY, ENDPOINTS, f"{METHODS}/pm_1")
    for method, paths in (("POST", (INTENTS, INTENT, CANCEL, CAPTURE)), ("GET", kinds)):
        for path in paths:
            table = "secret_key_required >"
            yield from refuse(path, table, method=method, key=PUBLISHABLE_KEY, status=403)
    table = """
    parameter_missing                  !client_secret
    payment_intent_invalid_parameter   client_secret=x
    """
    yield from refuse(INTENT, table, method="GET", key=PUBLISHABLE_KEY)
    yield from refuse(CONFIRM, table, key=PUBLISHABLE_KEY)


LOOKUPS = """
GET /v1/payment_intents/pi_x            intent
POST /v1/payment_intents/pi_x           intent
POST /v1/payment_intents/pi_x/confirm   intent
POST /v1/payment_intents/pi_x/cancel    intent
POST /v1/payment_intents/ID%2Fcancel    intent
GET /v1/payment_methods/pm_x            payment_method
GET /v1/charges/ch_x                    id
GET /v1/charges/ch_x/refunds            charge
GET /v1/refunds/re_x                    refund
GET /v1/disputes/du_x                   dispute
POST /v1/disputes/du_x                  dispute
POST /v1/disputes/du_x/close            dispute
GET /v1/balance_transactions/txn_x      id
GET /v1/events/evt_x                    id
GET /v1/radar/early_fraud_warnings/x    id
GET /v1/reviews/prv_x                   review
GET /v1/webhook_endpoints/we_x          webhook_endpoint
POST /v1/webhook_endpoints/we_x         webhook_endpoint
DELETE /v1/webhook_endpoints/we_x       webhook_endpoint
"""


def lookups() -> Iterator[Refusal]:
    for method, path, param in map(str.split, LOOKUPS.strip().splitlines()):
        yield from refuse(path, f"resource_missing >{param}", method=method, status=404)


def lists() -> Iterator[Refusal]:
    table = """
    parameter_invalid_integer   limit=0 limit=101 limit=many created=today
    parameter_unknown           page=2 created[after]=1
    resource_missing            starting_after=x ending_before=x
    -                           starting_after=a&ending_before=b> expand=data.payment_method
    """
    for path in (INTENTS, EVENTS):
        yield from refuse(path, table, method="GET")
    types = "&".join(f"types[{n}]=a" for n in range(21))
    for path, line in (
        (INTENTS, "sandbox_not_covered customer=cus_1"),
        (EVENTS, f"- type=a&types[]=b> {types}>types"),
        (CHARGES, "resource_missing payment_intent=pi_x"),
        (MONEY, "sandbox_not_covered payout=po_1"),
        *((path, "parameter_invalid_integer limit=101") for path in (REFUNDS, DISPUTES, CHARGES)),
    ):
        yield from refuse(path, line, method="GET")


# PaymentIntents

AMOUNTS = {
    "amount_too_small": """49 usd  49 eur  29 gbp  49 jpy  49 chf  249 dkk  299 sek  199 pln
        399 hkd  17499 huf  999 mxn  199 aed  49 aud  49 brl  49 cad  1499 czk  49 inr  199 myr
        299 nok  49 nzd  199 ron  49 sgd  999 thb""",
    "amount_too_large": "100000000 usd  100000000 jpy  1000000000000 idr",
    # Three decimals, and the last of them 0; no decimals, and yet sent as if there were two.
    "parameter_invalid_integer": """5125 bhd  5125 jod  5125 kwd  5125 omr  5125 tnd  1050 isk
        1001 ugx""",
}

METADATA = f"""
-   metadata=v metadata[]=v>metadata metadata[key][inner]=v>metadata[key] metadata[key]=v*501
-   metadata[{"k" * 41}]=v>metadata {"&".join(f"metadata[k{n}]=v" for n in range(51))}>metadata
"""

CREATE = """
parameter_missing          !amount !currency shipping[name]=Jenny>shipping[address]
parameter_missing          shipping[address][line1]=x>shipping[name]
parameter_unknown          colour=red status=succeeded invoice=in_1 amount[=1
parameter_unknown          shipping[name]=Jenny&shipping[address][city]=x&shipping[planet]=Mars
parameter_invalid_empty    amount= currency= payment_method= description= receipt_email= metadata=
parameter_invalid_empty    shipping=
parameter_invalid_integer  amount=0 amount=-1 amount=1.5 amount=1e3 amount=ten amount=%201000
parameter_invalid_integer  amount=1,000 amount=%D9%A1%D9%A2%D9%A3
-                          currency=xyz currency=usdollar currency=%E2%82%AC
-                          description[]=a>description description=d*1001
email_invalid              receipt_email=jenny receipt_email=a%20b@example.com receipt_email=j@*801
-                          capture_method=later setup_future_usage=perhaps confirm=yes
-                          statement_descriptor_suffix=x*23 statement_descriptor_suffix=123
-                          statement_descriptor_suffix=A%2AB
-                          return_url=https://a.b off_session=true error_on_requires_action=true
-                          payment_method=pm_card_visa&confirm=true&off_session=later
resource_missing           payment_method=pm_card_gold
sandbox_not_covered        customer=cus_1 statement_descriptor=SHOP
sandbox_not_covered        transfer_data[destination]=acct_1>transfer_data
payment_intent_unexpected_state   confirm=true>
-                          payment_method=pm_x&payment_method_data[type]=card>payment_method_data
"""
TYPES = """
-                     !T[]&T[a]=card>T T[]=cash>T[0] A[enabled]=true>T
-                     excluded_payment_method_types[]=card>T
parameter_missing     A[allow_redirects]=never>A[enabled]
parameter_unknown     A[enabled]=true&A[x]=1
-                     T[]=sepa_debit>currency T[]=us_bank_account&currency=eur
sandbox_not_covered   T[]=klarna>T[0]
payment_intent_invalid_parameter   T[]=us_bank_account&capture_method=manual
"""
MANDATE = """
-                   M[type]=online>mandate_data
parameter_missing   M[type]=online&M[online][ip_address]=127.0.0.1>M[online][user_agent]
"""
SHORT = {
    "T[": "allowed_payment_method_types[",
    ">T": ">allowed_payment_method_types",
    "A[": "automatic_payment_methods[",
    "M[": "mandate_data[customer_acceptance][",
}


def creates() -> Iterator[Refusal]:
    for code, words in AMOUNTS.items():
        pairs = words.split()
        for amount, currency in zip(pairs[::2], pairs[1::2], strict=True):
            line = f"{code} amount={amount}&currency={currency}>amount"
            yield from refuse(INTENTS, line, base=ORDER)
    yield from refuse(INTENTS, CREATE + METADATA, base=ORDER)
    table = TYPES + MANDATE
    for short, name in SHORT.items():
        table = table.replace(short, name)
    yield from refuse(INTENTS, table, base=ORDER)


def declines() -> Iterator[Refusal]:
    table = """
    card_declined      payment_method=pm_card_chargeDeclined>
    expired_card       payment_method=pm_card_chargeDeclinedExpiredCard>exp_month
    incorrect_cvc      payment_method=pm_card_chargeDeclinedIncorrectCvc>cvc
    processing_error   payment_method=pm_card_chargeDeclinedProcessingError>
    """
    yield from refuse(CONFIRM, table, status=402, type="card_error")


def states() -> Iterator[Refusal]:
    """What the status of an intent forbids."""
    closed = ("processing", "succeeded", "canceled")
    types = "allowed_payment_method_types"
    updates = f"amount=5000 currency=eur payment_method=pm_card_visa {types}[]=card>{types}"
    for state in (*closed, "requires_capture"):
        yield from refuse(CONFIRM, f"{UNEXPECTED} payment_method=pm_card_visa>", state=state)
        yield from refuse(INTENT, f"{UNEXPECTED} {updates}", state=state)
    for state in ("succeeded", "canceled"):
        yield from refuse(CANCEL, f"{UNEXPECTED} >", state=state)
    for state in ("requires_payment_method", "requires_confirmation", "requires_action", *closed):
        yield from refuse(CAPTURE, f"{UNEXPECTED} >", state=state)
    for state in ("processing", "canceled"):
        yield from refuse(INTENT, f"{UNEXPECTED} receipt_email=jenny@example.com", state=state)


def operations() -> Iterator[Refusal]:
    addresses = """done https: http://[ ://shop.example https://m%C3%BCsli.example/
        https://shop.example/my%20order https://shop.example/%0D%0AX:y https://shop.example:http/"""
    urls = " ".join(f"return_url={each}" for each in addresses.split())
    visa = {"payment_method": "pm_card_visa"}
    yield from refuse(CONFIRM, f"url_invalid {urls}", base=visa)
    unknown_card = "resource_missing payment_method=pm_x"
    yield from refuse(CONFIRM, f"{UNEXPECTED} >\nparameter_unknown amount=1\n{unknown_card}")
    update = f"""
    amount_too_small            amount=49
    parameter_invalid_integer   amount=0 currency=kwd&amount=1001
    parameter_invalid_empty     amount= description=
    parameter_unknown           confirm=true client_secret=x
    {unknown_card}
    """
    yield from refuse(INTENT, update + METADATA)
    yield from refuse(CANCEL, "- cancellation_reason=bored\nparameter_unknown amount=1")
    capture = """
    amount_too_large            amount_to_capture=11201
    parameter_invalid_integer   amount_to_capture=0>amount amount_to_capture=1.5
    -                           amount_to_capture=-1
    sandbox_not_covered         final_capture=false statement_descriptor=SHOP
    parameter_unknown           amount=100
    """
    yield from refuse(CAPTURE, capture, state="requires_capture")


# Other objects


def payment_methods() -> Iterator[Refusal]:
    card = """
    parameter_missing     !type !card[number] !card[exp_year]
    parameter_unknown     card[color]=red
    sandbox_not_covered   customer=cus_1 card[number]=4000000404000079
    """
    other = """
    parameter_missing     type=card>card
    resource_missing      type=card&card[token]=tok_nobody
    sandbox_not_covered   type=card&card[token]=tok_cvcCheckFail type=klarna
    -                     type=cash
    """
    debit = """
    parameter_missing     billing_details[name]=
    sandbox_not_covered   sepa_debit[iban]=DE1
    """
    iban = {
        "type": "sepa_debit",
        "sepa_debit[iban]": "DE89370400440532013000",
        "billing_details[name]": "Jenny Rosen",
        "billing_details[email]": "jenny@example.com",
    }
    yield from refuse(METHODS, card, base=NEW_CARD)
    yield from refuse(METHODS, other)
    yield from refuse(METHODS, debit, base=iban)


def refunds() -> Iterator[Refusal]:
    whole = {"payment_intent": "ID"}
    for state in (None, "processing", "requires_capture", "canceled"):
        yield from refuse(REFUNDS, "- >", base=whole, state=state)
    table = """
    parameter_invalid_integer   amount=0 amount=-1 amount=1.5
    parameter_unknown           note=x
    resource_missing            payment_intent=pi_x
    -                           amount=11201 reason=regret reason=expired_uncaptured_charge
    -                           metadata[a]=v*501 charge=ch_x>payment_intent !payment_intent>
    """
    yield from refuse(REFUNDS, table, base=whole, state="succeeded")
    yield from refuse(REFUNDS, "resource_missing charge=ch_x>id", status=404)
    made: dict[str, Any] = {"state": "succeeded", "after": (REFUNDS, whole)}
    yield from refuse(REFUNDS, "charge_already_refunded >", base=whole, **made)
    yield from refuse(f"{REFUNDS}/LAST/cancel", "- >", **made)
    yield from refuse(f"{REFUNDS}/LAST", "parameter_unknown amount=1", **made)
    part = (REFUNDS, {**whole, "amount": "11000"})
    yield from refuse(REFUNDS, "- amount=201", base=whole, state="succeeded", after=part)
    yield from refuse(REFUNDS, "charge_disputed >", base=whole, card="pm_card_createDispute")


def disputes() -> Iterator[Refusal]:
    table = """
    parameter_unknown         evidence[x]=y amount=1
    parameter_invalid_empty   evidence[uncategorized_text]=
    sandbox_not_covered       evidence[receipt]=file_1
    -                         evidence=all evidence[uncategorized_text]=w*20001 submit=now
    """
    yield from refuse(f"{DISPUTES}/du_1", table)


def webhook_endpoints() -> Iterator[Refusal]:
    base = {"url": "http://127.0.0.1:1/", "enabled_events[]": "*"}
    table = """
    parameter_missing         !url !enabled_events[]>enabled_events
    parameter_invalid_empty   url=
    parameter_unknown         secret=x disabled=true
    url_invalid               url=here url=file:///etc/passwd url=http://[ url=http://127.0.0.1:http/
    sandbox_not_covered       url=https://shop.example/ url=http://127.0.0.1@shop.example/
    sandbox_not_covered       url=http://u:p@127.0.0.1/ connect=true
    -                         enabled_events[]=payment_intent.paid>enabled_events[0]
    -                         enabled_events[]=payment_intent.*>enabled_events[0] api_version=latest
    -                         !enabled_events[]&enabled_events=*
    """
    yield from refuse(ENDPOINTS, table, base=base)


GROUPS = (
    *(keys, browsers, lookups, lists, creates, declines, states, operations),
    *(payment_methods, refunds, disputes, webhook_endpoints),
)
REFUSALS = [refusal for group in GROUPS for refusal in group()]
