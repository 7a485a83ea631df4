"""Which ledger account plays which part in an entry. The sources and their order are those of the design page."""

from __future__ import annotations

from blocks.erp.entries import Account, AccountKind
from blocks.erp.reference import ROLE_KINDS, Reference, Role
from blocks.pleo.items import ExportItem, ItemAccount, ItemLine
from blocks.text import no_formula, one_line
from flows.bookkeeping.codes import NOBODY, clean, opened
from flows.failures import missing

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
        code = clean(named)
        if not code:
            return self.of_role(role)
        return self._in_chart(code, code) or Account(opened(code, "account number"), code, ROLE_KINDS[role])

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
        if account is None or (account.id or "").strip() == NOBODY:
            return None
        code, identifier = clean(account.code), clean(account.identifier)
        if not (code or identifier):
            return None
        if found := self._in_chart(code, identifier):
            return found
        number = opened(code or identifier, "account number")
        return Account(number, no_formula(one_line(account.name, _MAX_NAME), _MAX_NAME) or number, kind)

    def _in_chart(self, code: str, identifier: str) -> Account | None:
        return self._reference.chart.find(code, identifier) if self._reference.chart is not None else None
