"""Which accounts an item moves money between, and which way: one rule a type (Pleo: Accounts Mapping)."""

from __future__ import annotations

from dataclasses import dataclass

from blocks.erp.entries import Account, AccountKind
from blocks.erp.reference import ROLE_KINDS, Reference, Role
from blocks.erp.settings import MoneyBackSign
from blocks.pleo.items import ExportItem, ItemAccount, ItemLine
from blocks.text import no_formula, one_line
from flows.bookkeeping.text import UNKNOWN_ID, clean_code, new_code
from flows.failures import invalid, missing

_MAX_NAME = 120

_ROLE_WORDS = {
    Role.WALLET: "wallet ({currency})",
    Role.OUT_OF_POCKET: "out-of-pocket",
    Role.CONTRA: "contra",
    Role.PAYABLE: "accounts payable",
    Role.REIMBURSEMENT_CONTRA: "reimbursement contra",
    Role.INPUT_TAX: "input tax",
    Role.OUTPUT_TAX: "output tax",
}


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


class Accounts:
    """The accounts of one item, whose money is in `currency`."""

    def __init__(self, item: ExportItem, currency: str, reference: Reference) -> None:
        self._item = item
        self._currency = currency
        self._reference = reference

    def of_role(self, role: Role) -> Account:
        """The account of a role: for the wallet the item's contra account first, else what is set up.

        Fails the item where there is none.
        """
        account = self._find(role)
        if account is None:
            raise missing(f"Account {_ROLE_WORDS[role].format(currency=self._currency)}")
        return account

    def main(self, role: Role | None) -> tuple[Account, ...]:
        """For each line the account on the main side: its own, or the role's with the line's as a fallback.

        Where a role has neither it is the role that is missing: its account can be set up, the line needs none.
        """
        kind = AccountKind.INCOME if self._item.type == "cashback" else AccountKind.EXPENSE
        lines = self._item.accounting_entry_lines or ()
        if role is None:
            return tuple(self._of_line(line, n, kind) for n, line in enumerate(lines, 1))
        found = self._find(role)
        return tuple(found or self._named(line.account, kind) or self.of_role(role) for line in lines)

    def tax(self, role: Role, named: str | None) -> Account:
        """A tax account: the one that Pleo names on the line, else the role's; fails the item without either."""
        code = clean_code(named)
        if not code:
            return self.of_role(role)
        return self._in_chart(code, code) or Account(new_code(code, "account number"), code, ROLE_KINDS[role])

    def by_code(self, code: str, role: Role) -> Account:
        """The account of a code from the settings, which plays that role."""
        return self._in_chart(code, "") or Account(code, code, ROLE_KINDS[role])

    def _find(self, role: Role) -> Account | None:
        if role is Role.WALLET and (named := self._named(self._item.contra_account, ROLE_KINDS[role])):
            return named
        return self._reference.account(role, self._currency)

    def _of_line(self, line: ItemLine, n: int, kind: AccountKind) -> Account:
        named = self._named(line.account, kind)
        if named is None:
            name = one_line(line.account.name, _MAX_NAME) if line.account is not None else ""
            raise missing(f"Account {name or f'of the category on line {n}'}")
        return named

    def _named(self, account: ItemAccount | None, kind: AccountKind) -> Account | None:
        """The account that Pleo names, by its number or by the ERP's own identifier, as the ERP has it.

        One that the ERP does not have stays as Pleo names it, and the ERP refuses it. None where none is named: absent,
        all zeros, or without number and identifier.
        """
        if account is None or (account.id or "").strip() == UNKNOWN_ID:
            return None
        code, identifier = clean_code(account.code), clean_code(account.identifier)
        if not (code or identifier):
            return None
        if found := self._in_chart(code, identifier):
            return found
        number = new_code(code or identifier, "account number")
        return Account(number, no_formula(one_line(account.name, _MAX_NAME), _MAX_NAME) or number, kind)

    def _in_chart(self, code: str, identifier: str) -> Account | None:
        return self._reference.chart.find(code, identifier) if self._reference.chart is not None else None
