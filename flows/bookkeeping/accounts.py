"""Which accounts an item moves money between, and which way: one rule a type (Pleo: Accounts Mapping)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from blocks.erp.entries import Account, AccountKind
from blocks.erp.reference import ROLE_KINDS, JournalUse, Reference, Role
from blocks.erp.settings import ErpSettings, MoneyBackSign
from blocks.pleo.items import ExportItem, ItemAccount, ItemLine
from blocks.pleo.models import ItemFailure
from blocks.text import no_formula, one_line
from flows.bookkeeping.text import UNKNOWN_ID, clean_code, description_of, new_code
from flows.failures import ItemFails, invalid, missing

_MAX_NAME = 120
_MAX_EXPENSE = 160

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
    `money_back` types are booked the other way round, whichever sign Pleo sends. `journal` takes their journal entries.
    """

    main: Role | None
    counter: Role
    money_back: bool = False
    journal: JournalUse = JournalUse.GENERAL

    @property
    def billable(self) -> bool:
        """Whether a vendor can be behind it: it books an expense, or an invoice or its payment."""
        return self.main in (None, Role.PAYABLE)

    @property
    def balance_movement(self) -> bool:
        """Whether it only moves money into the wallet or out of it."""
        return self.main is Role.CONTRA


_CARD, _OWN_MONEY = JournalUse.CARD, JournalUse.OUT_OF_POCKET

RULES: dict[str, Rule] = {
    "card_purchase": Rule(None, Role.WALLET, journal=_CARD),
    "card_invoice": Rule(None, Role.WALLET, journal=_CARD),
    "out_of_pocket": Rule(None, Role.OUT_OF_POCKET, journal=_OWN_MONEY),
    "mileage": Rule(None, Role.OUT_OF_POCKET, journal=_OWN_MONEY),
    "per_diem": Rule(None, Role.OUT_OF_POCKET, journal=_OWN_MONEY),
    "direct_reimbursement": Rule(Role.OUT_OF_POCKET, Role.WALLET, journal=_OWN_MONEY),
    "external_reimbursement": Rule(Role.OUT_OF_POCKET, Role.REIMBURSEMENT_CONTRA, journal=_OWN_MONEY),
    "invoice": Rule(None, Role.PAYABLE),
    "invoice_payment": Rule(Role.PAYABLE, Role.WALLET, journal=JournalUse.INVOICE_PAYMENTS),
    "refund": Rule(None, Role.WALLET, money_back=True, journal=_CARD),
    "chargeback": Rule(None, Role.WALLET, money_back=True, journal=_CARD),
    "cashback": Rule(None, Role.WALLET, money_back=True),
    "wallet_topup": Rule(Role.CONTRA, Role.WALLET, money_back=True),
    "wallet_unload": Rule(Role.CONTRA, Role.WALLET),
    "atm_withdrawal": Rule(Role.OUT_OF_POCKET, Role.WALLET, journal=_CARD),
    "personal_spend": Rule(Role.OUT_OF_POCKET, Role.WALLET, journal=_CARD),
    "fee": Rule(None, Role.WALLET),
    "overdraft": Rule(None, Role.WALLET),  # a fee by another name, which only some of Pleo's pages have
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
    return replace(rule, money_back=known[sub_type])


def money_back_kind(item_type: str, sub_type: str | None) -> tuple[str, str] | None:
    """The type, with its subtype where that matters, of money that comes back whichever its sign; else None."""
    rule, known = RULES.get(item_type), _SUBTYPES.get(item_type)
    if rule is None:
        return None
    if known is None:
        return (item_type, "") if rule.money_back else None
    return (item_type, sub_type) if sub_type and known.get(sub_type) else None


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

    def __init__(self, item: ExportItem, currency: str, reference: Reference, settings: ErpSettings) -> None:
        self._item = item
        self._currency = currency
        self._reference = reference
        self._settings = settings

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

    def by_code(self, code: str, kind: AccountKind) -> Account:
        """The account of a code from the settings, of that kind where the chart does not say."""
        return self._in_chart(code, "") or Account(code, code, kind)

    def _find(self, role: Role) -> Account | None:
        if role is Role.WALLET and (named := self._named(self._item.contra_account, ROLE_KINDS[role])):
            return named
        return self._reference.account(role, self._currency)

    def _of_line(self, line: ItemLine, n: int, kind: AccountKind) -> Account:
        """The account of a line's category, or where nobody chose one the one that the settings have for such lines."""
        if named := self._named(line.account, kind):
            return named
        chosen = _is_chosen(line.account)
        if not chosen and self._settings.default_expense_account:
            return self.by_code(self._settings.default_expense_account, AccountKind.EXPENSE)
        name = one_line(line.account.name, _MAX_NAME) if line.account is not None else ""
        cure = "in the configurations (default_expense_account), or choose a category for it in Pleo"
        raise ItemFails(
            ItemFailure.MISSING_CONFIGURATION,
            f"Account {name + ' ' if name else ''}for line {n} of {description_of(self._item, _MAX_EXPENSE)} missing: "
            f"provide account {'number of this category in Pleo' if chosen else cure}",
        )

    def _named(self, account: ItemAccount | None, kind: AccountKind) -> Account | None:
        """The account that Pleo names, by its number or by the ERP's own identifier, as the ERP has it.

        One that the ERP does not have stays as Pleo names it, and the ERP refuses it. None where none is named: absent,
        all zeros, or without number and identifier.
        """
        if account is None or not _is_chosen(account):
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


def _is_chosen(account: ItemAccount | None) -> bool:
    """Whether anybody chose this account or category: one of which Pleo says "I don't know" nobody did."""
    return account is not None and (account.id or "").strip() != UNKNOWN_ID
