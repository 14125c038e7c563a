"""Compare the sandbox with what Stripe documents: `python -m tests.sandbox.documented`.

Each documented card, account and statement agrees, or the sandbox refuses it by name ("The sandbox
does not cover …"). The command prints those that do neither, and ends with the status 1 if there is
one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shop_payments.sandbox import Sandbox
from tests.sandbox import documented_cards, documented_statements
from tests.sandbox.documented_cards import rows
from tests.sandbox.support import (
    DAY,
    DISPUTES,
    INTENTS,
    MANDATE,
    METHODS,
    MONEY,
    NEW_CARD,
    ORDER,
    REFUNDS,
    WARNINGS,
    Answer,
    Api,
    Clock,
)

AGREES, REFUSED = "agrees", "refused by name"
ADDRESS = {
    "billing_details[address][line1]": "1 Main Street",
    "billing_details[address][postal_code]": "94111",
}


class RefusedByName(Exception):
    """The sandbox says that it does not cover the card, and names it."""


def new_api() -> Api:
    return Api(Sandbox(clock=Clock(), seed=1))


def expect(found: Any, wanted: Any, what: str) -> None:
    """Compare two values, also where assertions are turned off."""
    if found != wanted:
        raise AssertionError(f"{what} is {found!r}, not {wanted!r}")


# Cards and accounts


@dataclass
class Payer:
    """Pays with a card number, a PaymentMethod or a token."""

    identifier: str
    api: Api = field(default_factory=new_api)

    def pay(self, *, details: dict[str, str] | None = None, **params: str) -> Answer:
        """Pay, and return the intent, or the error about the payment method or the intent."""
        kind = {"pm_u": "us_bank_account", "pm_c": "card"}.get(self.identifier[:4], "sepa_debit")
        if self.identifier.startswith("pm_") and kind != "card":
            currency = "usd" if kind == "us_bank_account" else "eur"
            types = {"allowed_payment_method_types[]": kind, "currency": currency, **MANDATE}
            params = {**types, **params}
        name = self.identifier
        if name.startswith("tok_") or name.isdigit():
            made = self._checked(self.api.post(METHODS, self._data(details or {})))
            if made.status != 200:
                return made
            name = made["id"]
        sent = {**ORDER, "payment_method": name, "confirm": "true", **params}
        return self._checked(self.api.post(INTENTS, sent))

    def charge(self, **params: Any) -> Answer:
        """Pay, and return the charge. The payment must succeed."""
        intent = self.pay(**params)
        if intent.status != 200:
            raise AssertionError(intent.error["message"])
        expect(intent["status"], "succeeded", "the status")
        return self.api.charge_of(intent)

    def method(self) -> dict[str, Any]:
        """Pay, and return the payment method, even if the payment failed."""
        intent = self.pay()
        if intent.status == 402:
            method: dict[str, Any] = intent.error["payment_method"]
            return method
        return self.api.get(f"{METHODS}/{intent['payment_method']}").json

    def _data(self, details: dict[str, str]) -> dict[str, str]:
        if self.identifier.startswith("tok_"):
            return {"type": "card", "card[token]": self.identifier, **details}
        given = {**NEW_CARD, "card[number]": self.identifier, **details}
        return {name: value for name, value in given.items() if value}

    def _checked(self, answer: Answer) -> Answer:
        if answer.json.get("error", {}).get("code") == "sandbox_not_covered":
            if self.identifier in answer.error["message"]:
                raise RefusedByName
            raise AssertionError(answer.error["message"])
        return answer


def _card(key: str) -> Callable[[Payer, str], None]:
    return lambda payer, value: expect(payer.method()["card"][key], value, key)


def _succeeds(payer: Payer, value: str) -> None:
    payer.charge()


def _co_brand(payer: Payer, value: str) -> None:
    expect(payer.method()["card"]["networks"]["available"][1:], [value], "the second brand")


def _declines(payer: Payer, value: str) -> None:
    code, _, decline_code = value.partition("/")
    _expect_decline(payer.pay(), code, decline_code)


def _expect_decline(answer: Answer, code: str, decline_code: str) -> None:
    expect(answer.status, 402, "the HTTP status")
    expect(answer.error["type"], "card_error", "the type")
    expect(answer.error["code"], code, "the code")
    if decline_code:
        expect(answer.error["decline_code"], decline_code, "the decline code")


def _blocked(payer: Payer, value: str) -> None:
    answer = payer.pay()
    expect(answer.status, 402, "the HTTP status")
    outcome = payer.api.get(f"/v1/charges/{answer.error['charge']}")["outcome"]
    expect((outcome["type"], outcome["risk_level"]), ("blocked", value), "the outcome")


def _risk(payer: Payer, value: str) -> None:
    expect(payer.charge()["outcome"]["risk_level"], value, "the risk level")


def _without_cvc(payer: Payer, value: str) -> None:
    charge = payer.charge(details={"card[cvc]": ""})
    checks = charge["payment_method_details"]["card"]["checks"]
    expect(checks["cvc_check"], None, "the check of the CVC")


def _cvc_check(payer: Payer, value: str) -> None:
    answer = payer.pay()
    checks = answer.error["payment_method"]["card"]["checks"]
    expect(checks["cvc_check"], value, "the check of the CVC")


def _address_check(name: str) -> Callable[[Payer, str], None]:
    def check(payer: Payer, value: str) -> None:
        for details, wanted in ((ADDRESS, value), ({}, None)):
            charge = payer.charge(details=details)
            checks = charge["payment_method_details"]["card"]["checks"]
            expect(checks[name], wanted, f"{name} with {len(details)} parameters of an address")

    return check


def _dispute(payer: Payer, value: str) -> None:
    charge = payer.charge()
    payer.api.sandbox.advance_clock(1)
    disputes = payer.api.get(DISPUTES, {"charge": charge["id"]})["data"]
    expect(len(disputes), 1, "the number of disputes")
    if value == "inquiry":
        expect(disputes[0]["status"], "warning_needs_response", "the status")
    elif value != "any":
        found = (disputes[0]["status"], disputes[0]["reason"])
        expect(found, ("needs_response", value), "the dispute")


def _warning(payer: Payer, value: str) -> None:
    charge = payer.charge()
    payer.api.sandbox.advance_clock(1)
    warnings = payer.api.get(WARNINGS, {"charge": charge["id"]})["data"]
    expect(len(warnings), 1, "the number of early fraud warnings")


def _refund(payer: Payer, value: str) -> None:
    first, later, event = {
        "pending": ("pending", "succeeded", "refund.updated"),
        "fails": ("succeeded", "failed", "refund.failed"),
    }[value]
    refund = payer.api.post(REFUNDS, {"charge": payer.charge()["id"]})
    expect(refund["status"], first, "the status")
    payer.api.sandbox.advance_clock(DAY)
    expect(payer.api.again(refund)["status"], later, "the later status")
    expect(event in payer.api.events_after(), True, f"the event {event}")


def _balance(payer: Payer, value: str) -> None:
    charge = payer.charge()
    payer.api.sandbox.advance_clock(1)
    booked = payer.api.get(MONEY, {"source": charge["id"]})["data"]
    expect([each["status"] for each in booked], [value], "the money")


def _3ds(payer: Payer, value: str) -> None:
    match value.partition("/"):
        case ("supported" | "not_supported", _, _):
            supported = payer.method()["card"]["three_d_secure_usage"]["supported"]
            expect(supported, value == "supported", "the support")
            payer.charge()
        case ("frictionless", _, _):
            result = payer.charge()["payment_method_details"]["card"]["three_d_secure"]
            found = (result["authentication_flow"], result["result"])
            expect(found, ("frictionless", "authenticated"), "the result")
        case (_, _, decline_code):
            _expect_challenge(payer, succeed=True, decline_code=decline_code)
            _expect_challenge(payer, succeed=False, decline_code=decline_code)


def _expect_challenge(payer: Payer, *, succeed: bool, decline_code: str) -> None:
    intent = payer.pay()
    expect(intent["status"], "requires_action", "the status")
    payer.api.sandbox.complete_authentication(intent["id"], succeed=succeed)
    after = payer.api.again(intent)
    if succeed and not decline_code:
        expect(after["status"], "succeeded", "the status")
        return
    expect(after["status"], "requires_payment_method", "the status")
    error = after["last_payment_error"]
    wanted = decline_code if succeed else "payment_intent_authentication_failure"
    expect(error["decline_code" if succeed else "code"], wanted, "the failure")


def _off_session(payer: Payer, value: str) -> None:
    answer = payer.pay(off_session="true")
    if value == "succeeds":
        expect(answer.json.get("status"), "succeeded", "the status")
    else:
        _expect_decline(answer, "authentication_required", "")


def _debit(payer: Payer, value: str) -> None:
    intent = payer.pay()
    expect(intent.json.get("status"), "processing", "the status")
    payer.api.sandbox.advance_clock(DAY)
    after = payer.api.again(intent)
    if value in ("succeeds", "processing"):
        expect(after["status"], {"succeeds": "succeeded"}.get(value, value), "the status")
        return
    expect(after["status"], "requires_payment_method", "the status")
    if value != "fails":
        failure = payer.api.charge_of(after)["failure_code"]
        expect(failure, value, "the failure code")


CHECKS: dict[str, Callable[[Payer, str], None]] = {
    "3ds": _3ds,
    "balance": _balance,
    "blocked": _blocked,
    "brand": _card("brand"),
    "co_brand": _co_brand,
    "country": _card("country"),
    "cvc_check": _cvc_check,
    "debit": _debit,
    "declines": _declines,
    "dispute": _dispute,
    "funding": _card("funding"),
    "line1_check": _address_check("address_line1_check"),
    "off_session": _off_session,
    "postal_code_check": _address_check("address_postal_code_check"),
    "refund": _refund,
    "risk": _risk,
    "succeeds": _succeeds,
    "warning": _warning,
    "without_cvc": _without_cvc,
}
"""How each word of `documented_cards` is checked. Without another result, a payment succeeds."""

_RESULTS = {"3ds", "blocked", "debit", "declines"}


def compare_card(row: documented_cards.Row, identifier: str) -> str:
    """Return AGREES, REFUSED, or what is different."""
    expected = row.expected if _RESULTS & {*row.expected} else {"succeeds": "yes", **row.expected}
    try:
        for word, value in expected.items():
            payer = Payer(identifier)
            if word in CHECKS:
                CHECKS[word](payer, value)
            else:
                payer.pay()
                raise AssertionError(f"is not refused, and nothing checks {word}={value}")
    except RefusedByName:
        return REFUSED
    except (AssertionError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return AGREES


def compare_statement(line: str) -> str:
    """Return AGREES, or what is different."""
    try:
        return documented_statements.problem(new_api(), line) or AGREES
    except (AssertionError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


# All


SECTIONS = (*documented_cards.SECTIONS, *documented_statements.SECTIONS)


def compare(section: str) -> Iterator[tuple[str, str]]:
    """Yield each card or statement of a section, with AGREES, REFUSED or what is different."""
    if section in documented_cards.SECTIONS:
        for row in rows(section):
            for identifier in row.identifiers:
                yield identifier, compare_card(row, identifier)
    else:
        for line in documented_statements.SECTIONS[section].strip().splitlines():
            yield line, compare_statement(line)


def differences(results: list[tuple[str, str]]) -> list[str]:
    """Return what neither agrees nor is refused by name."""
    return [f"{what}: {result}" for what, result in results if result not in (AGREES, REFUSED)]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Print the figures of each section, and all that differs."""
    total: Counter[str] = Counter()
    uncertain = sum(row.uncertain for each in documented_cards.SECTIONS for row in rows(each))
    for section in SECTIONS:
        results = [*compare(section)]
        counts = Counter(result for _, result in results)
        wrong = differences(results)
        total.update({AGREES: counts[AGREES], REFUSED: counts[REFUSED], "differs": len(wrong)})
        say(f"{counts[AGREES]:4} agree, {counts[REFUSED]:3} refused by name: {section}")
        for line in wrong:
            say(f"  differs: {line}")
    say(", ".join(f"{what}: {number}" for what, number in total.items()))
    say(f"rows about cards of which a part is uncertain: {uncertain}")
    return 1 if total["differs"] else 0


if __name__ == "__main__":
    sys.exit(main())
