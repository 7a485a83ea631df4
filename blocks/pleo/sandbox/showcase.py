"""The job of a demonstration: everything that can be booked, and once each reason why something cannot.

What makes these items fail is told to accounting systems as much as to Pleo. They fail in one that has no journal for
credit notes and no account for reimbursements outside Pleo, that requires receipts and takes none above 500 kB, whose
books are closed in August 2026, and that knows the accounts, tax codes, tags and vendors of `company`, of which it has
blocked `BLOCKED_SUPPLIER`. There the rest can be booked.
"""

from __future__ import annotations

import random
from dataclasses import replace

from blocks.pleo.sandbox.plan import (
    BREAKS,
    EXTRA_SPECIMENS,
    MONEY_BACK,
    RECEIPT_EXPECTED,
    TYPE_WEIGHTS,
    Recipe,
    broken,
    dated,
    usual_sub_type,
)

SHOWCASE_BREAKS = (
    *BREAKS,
    "no_journal",
    "no_role_account",
    "account_unknown",
    "tax_code_unknown",
    "tag_unknown",
    "vendor_unknown",
    "vendor_blocked",
    "receipt_too_large",
    "receipt_gone",
    "no_receipt",
    "closed_period",
    "unknown_method",
)
"""Why an item of the demonstration cannot be booked, each once."""

MIN_ITEMS = 120

_RECIPES = {
    "no_journal": Recipe("refund", method="accounts_payable"),
    "no_role_account": Recipe("external_reimbursement", "reimbursement_to_employee"),
    "tax_code_unknown": Recipe("card_purchase", tax="exclusive"),
    "vendor_unknown": Recipe("card_purchase", tax="none", method="accounts_payable"),
    "vendor_blocked": Recipe("card_purchase", tax="none", method="accounts_payable"),
    "no_receipt": Recipe("card_purchase", tax="none", receipt=False),
}
_SURELY = ("invoice",) * 5 + ("invoice_payment",) * 5


def plan_showcase(rng: random.Random, items: int) -> list[Recipe]:
    """What the items of the demonstration are to be, in the order of their days; `items` is at least `MIN_ITEMS`."""
    weights = {name: weight for name, weight in TYPE_WEIGHTS.items() if name != "external_reimbursement"}
    recipes = [Recipe(name, usual_sub_type(name)) for name in (*weights, *_SURELY)]
    recipes += [recipe for recipe in EXTRA_SPECIMENS if recipe.type != "external_reimbursement"]
    left = items - len(recipes) - len(SHOWCASE_BREAKS)
    recipes += [
        Recipe(name, usual_sub_type(name)) for name in rng.choices(list(weights), list(weights.values()), k=left)
    ]
    recipes = [_with_its_method(recipe) for recipe in recipes] + [_broken(reason) for reason in SHOWCASE_BREAKS]
    return dated(rng, [_with_its_receipt(recipe) for recipe in recipes])


def _with_its_method(recipe: Recipe) -> Recipe:
    """Money back, and what a negative amount turns into it, would be a credit note in accounts payable."""
    return replace(recipe, method="journal") if recipe.type in MONEY_BACK or recipe.special == "negative" else recipe


def _with_its_receipt(recipe: Recipe) -> Recipe:
    return replace(recipe, receipt=True) if recipe.receipt is None and recipe.type in RECEIPT_EXPECTED else recipe


def _broken(reason: str) -> Recipe:
    if reason in BREAKS:
        return broken(reason)
    return replace(_RECIPES.get(reason, Recipe("card_purchase", tax="none")), lines=1, broken=reason)
