"""What a month holds: which types come how often, and the specimens that every job of forty items shows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

TYPE_WEIGHTS: dict[str, int] = {
    "card_purchase": 600,
    "out_of_pocket": 80,
    "mileage": 40,
    "per_diem": 20,
    "direct_reimbursement": 30,
    "external_reimbursement": 15,
    "invoice": 50,
    "invoice_payment": 40,
    "card_invoice": 20,
    "refund": 30,
    "chargeback": 8,
    "cashback": 8,
    "atm_withdrawal": 10,
    "personal_spend": 12,
    "fee": 20,
    "wallet_topup": 6,
    "wallet_unload": 4,
}
"""The 17 item types, and how many of a thousand items have each."""

REIMBURSEMENTS = frozenset({"direct_reimbursement", "external_reimbursement"})
INVOICES = frozenset({"invoice", "invoice_payment", "card_invoice"})
OWED_TO_EMPLOYEE = frozenset({"out_of_pocket", "mileage", "per_diem"})
WITHOUT_CONTRA_ACCOUNT = OWED_TO_EMPLOYEE | {"external_reimbursement", "invoice"}
MONEY_BACK = frozenset({"refund", "chargeback", "cashback"})
WITH_SUPPLIER = frozenset(
    {"card_purchase", "out_of_pocket", "refund", "chargeback", "atm_withdrawal", "personal_spend"}
)
TAXED = frozenset({"card_purchase", "out_of_pocket", "refund", "chargeback", "invoice", "card_invoice"})
RECEIPT_EXPECTED = frozenset({"card_purchase", "card_invoice", "out_of_pocket", "invoice"})
WITH_ACCOUNT = TAXED | {"mileage", "per_diem", "cashback", "fee"}

BREAKS = (
    "unknown_type",
    "no_account",
    "amounts_differ",
    "fraction",
    "currency_xxx",
    "no_lines",
    "unknown_sub_type",
)
"""Why an item cannot be booked, in the order in which a job gets them."""

DAYS = 31


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an item is to be; what is None is drawn when it is made.

    `method` is its bookkeeping method where it has a supplier, `receipt` whether it has one at least, or none.
    """

    type: str
    sub_type: str | None = None
    day: int = 1
    wallet: str | None = None
    tax: str | None = None
    lines: int | None = None
    odd: int | None = None
    special: str | None = None
    broken: str | None = None
    method: str | None = None
    receipt: bool | None = None


EXTRA_SPECIMENS = (
    Recipe("direct_reimbursement", "reimbursement_to_employee_refund"),
    Recipe("direct_reimbursement", "reimbursement_to_company"),
    Recipe("external_reimbursement", "reimbursement_to_company"),
    Recipe("invoice_payment", "invoice_payment_returned"),
    Recipe("fee", "interest"),
    Recipe("card_purchase", tax="exclusive", lines=3, wallet="DKK"),
    Recipe("card_purchase", tax="inclusive", lines=2, wallet="EUR"),
    Recipe("card_purchase", tax="reverse", lines=1, wallet="GBP"),
    Recipe("card_purchase", tax="zero", lines=1, wallet="SEK"),
    Recipe("card_purchase", tax="none", lines=1, odd=1),
    Recipe("card_purchase", odd=0, lines=1),
    Recipe("card_purchase", odd=5, lines=1),
    Recipe("card_purchase", tax="none", lines=2, special="discount"),
    Recipe("refund", special="negative"),
    Recipe("card_purchase", tax="none", lines=1, special="zero"),
    Recipe("card_purchase", tax="exclusive", lines=1, special="negative"),
)


def usual_sub_type(item_type: str) -> str | None:
    """The `subType` that an item of this type has when nothing went another way."""
    if item_type in REIMBURSEMENTS:
        return "reimbursement_to_employee"
    return "invoice_payment_sent" if item_type == "invoice_payment" else None


def default_failing(items: int) -> int:
    """How many items of a job cannot be booked unless told otherwise: 6 of 80, and 7 at most."""
    return min(len(BREAKS), items * 6 // 80)


def plan(rng: random.Random, items: int, failing: int) -> list[Recipe]:
    """What the items of a job are to be, in the order of their days."""
    good = items - failing
    specimens = [Recipe(name, usual_sub_type(name)) for name in TYPE_WEIGHTS] + list(EXTRA_SPECIMENS)
    recipes = specimens[:good]
    drawn = rng.choices(list(TYPE_WEIGHTS), list(TYPE_WEIGHTS.values()), k=good - len(recipes))
    recipes += [Recipe(name, usual_sub_type(name)) for name in drawn]
    recipes += [broken(BREAKS[number % len(BREAKS)]) for number in range(failing)]
    return dated(rng, recipes)


def dated(rng: random.Random, recipes: Iterable[Recipe]) -> list[Recipe]:
    """The recipes with days of the month, in their order."""
    with_day = [replace(recipe, day=_day(rng, recipe.type)) for recipe in recipes]
    rng.shuffle(with_day)
    with_day.sort(key=lambda recipe: recipe.day)
    return with_day


def broken(reason: str) -> Recipe:
    """What an item is to be that no accounting system can book, for this reason of `BREAKS`."""
    if reason == "unknown_sub_type":
        return Recipe("direct_reimbursement", "reimbursement_to_charity", broken=reason)
    return Recipe("card_purchase", tax="none", lines=2 if reason == "amounts_differ" else 1, broken=reason)


def _day(rng: random.Random, item_type: str) -> int:
    """Invoices come early, their payments in the middle, reimbursements at the end of the month."""
    if item_type in REIMBURSEMENTS:
        return rng.randint(26, DAYS)
    if item_type == "invoice":
        return rng.randint(1, 15)
    return rng.randint(12, DAYS) if item_type == "invoice_payment" else rng.randint(1, DAYS)
