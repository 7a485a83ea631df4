"""Which accounts an item moves money between, and which way: one rule a type (Pleo: Accounts Mapping)."""

from __future__ import annotations

from dataclasses import dataclass

from blocks.erp.reference import Role
from blocks.erp.settings import MoneyBackSign
from blocks.text import one_line
from flows.failures import invalid


@dataclass(frozen=True, slots=True)
class Rule:
    """The two sides of an item type.

    `main` is the role account that is debited, or None where it is each line's own account; `counter` is credited.
    `money_back` types are booked the other way round, whichever sign Pleo sends.
    """

    main: Role | None
    counter: Role
    money_back: bool = False

    @property
    def billable(self) -> bool:
        """Whether a vendor can be behind it: it books an expense, or an invoice or its payment."""
        return self.main in (None, Role.PAYABLE)

    @property
    def balance_movement(self) -> bool:
        """Whether it only moves money into the wallet or out of it."""
        return self.main is Role.CONTRA


RULES: dict[str, Rule] = {
    "card_purchase": Rule(None, Role.WALLET),
    "card_invoice": Rule(None, Role.WALLET),
    "out_of_pocket": Rule(None, Role.OUT_OF_POCKET),
    "mileage": Rule(None, Role.OUT_OF_POCKET),
    "per_diem": Rule(None, Role.OUT_OF_POCKET),
    "direct_reimbursement": Rule(Role.OUT_OF_POCKET, Role.WALLET),
    "external_reimbursement": Rule(Role.OUT_OF_POCKET, Role.REIMBURSEMENT_CONTRA),
    "invoice": Rule(None, Role.PAYABLE),
    "invoice_payment": Rule(Role.PAYABLE, Role.WALLET),
    "refund": Rule(None, Role.WALLET, money_back=True),
    "chargeback": Rule(None, Role.WALLET, money_back=True),
    "cashback": Rule(None, Role.WALLET, money_back=True),
    "wallet_topup": Rule(Role.CONTRA, Role.WALLET, money_back=True),
    "wallet_unload": Rule(Role.CONTRA, Role.WALLET),
    "atm_withdrawal": Rule(Role.OUT_OF_POCKET, Role.WALLET),
    "personal_spend": Rule(Role.OUT_OF_POCKET, Role.WALLET),
    "fee": Rule(None, Role.WALLET),
}

_REIMBURSEMENT = {
    "reimbursement_to_employee": False,
    "reimbursement_to_employee_refund": True,
    "reimbursement_to_company": True,
}
# The types whose direction hangs on the subType, and for each known one whether money comes back.
_SUBTYPES: dict[str, dict[str, bool]] = {
    "direct_reimbursement": _REIMBURSEMENT,
    "external_reimbursement": _REIMBURSEMENT,
    "invoice_payment": {"invoice_payment_sent": False, "invoice_payment_returned": True},
}


def rule_for(item_type: str, sub_type: str | None) -> Rule:
    """The rule of a type with its subType; fails the item for a type, or a subType that matters, we do not know.

    An absent subType is the normal direction. Where the type alone fixes the direction any subType is ignored.
    """
    rule = RULES.get(item_type)
    if rule is None:
        raise invalid(f"The item type {one_line(item_type, 60)!r} is not known, so it cannot be said how to book it.")
    known = _SUBTYPES.get(item_type)
    if known is None or not sub_type:
        return rule
    if sub_type not in known:
        raise invalid(
            f"The subtype {one_line(sub_type, 60)!r} of {item_type} is not known, so its direction cannot be told."
        )
    return Rule(rule.main, rule.counter, known[sub_type])


def is_turned(rule: Rule, header_minor: int, sign: MoneyBackSign) -> bool:
    """Whether the main side is credited: for money back always, for other types when the amount is negative.

    Where it is known which `sign` money back has, the other one turns such an entry round.
    """
    if not rule.money_back:
        return header_minor < 0
    if sign is MoneyBackSign.NEGATIVE:
        return header_minor <= 0
    return sign is MoneyBackSign.EITHER or header_minor >= 0
