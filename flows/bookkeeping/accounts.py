"""Which ledger account plays which part in an entry. The sources and their order are those of the design page."""

from __future__ import annotations

from blocks.erp.entries import Account, AccountKind
from blocks.erp.reference import ROLE_KINDS, Reference, Role
from blocks.pleo.items import ExportItem, ItemAccount, ItemLine
from blocks.text import one_line
from flows.failures import invalid, missing

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The id that Pleo stores where the user chose "I don't know", for an account or a tag."""

_MAX_CODE = 60
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


def role_account(role: Role, currency: str, item: ExportItem, reference: Reference) -> Account | None:
    """The account of a role: for the wallet the item's contra account first, else what is set up."""
    if role is Role.WALLET and (named := _named(item.contra_account, ROLE_KINDS[role])):
        return named
    return reference.account(role, currency)


def counter_account(role: Role, currency: str, item: ExportItem, reference: Reference) -> Account:
    """The account of a role that an entry cannot do without; fails the item where there is none."""
    account = role_account(role, currency, item, reference)
    if account is None:
        raise missing(f"Account {_ROLE_WORDS[role].format(currency=currency)}")
    return account


def line_account(line: ItemLine, n: int, kind: AccountKind) -> Account:
    """The account of a line's category, by code or by the ERP's own identifier; fails the item where it is missing."""
    named = _named(line.account, kind)
    if named is None:
        name = one_line(line.account.name, _MAX_NAME) if line.account is not None else ""
        raise missing(f"Account {name or f'of the category on line {n}'}")
    return named


def tax_account(role: Role, code: str | None, currency: str, item: ExportItem, reference: Reference) -> Account:
    """A tax account: the one Pleo names on the line, else the role's."""
    text = _code(code)
    if text:
        return Account(text, text, ROLE_KINDS[role])
    return counter_account(role, currency, item, reference)


def main_account(
    role: Role | None, line: ItemLine, n: int, currency: str, item: ExportItem, reference: Reference
) -> Account:
    """The account on the main side of one line: the line's own, or the role's with the line's as a fallback.

    Where a role has neither it is the role that is missing: its account can be set up, the line needs none.
    """
    kind = AccountKind.INCOME if item.type == "cashback" else AccountKind.EXPENSE
    if role is None:
        return line_account(line, n, kind)
    fallback = _named(line.account, kind)
    return role_account(role, currency, item, reference) or fallback or counter_account(role, currency, item, reference)


def _named(account: ItemAccount | None, kind: AccountKind) -> Account | None:
    """The account that Pleo names, or None where it names none: absent, all zeros, or without code and identifier."""
    if account is None or account.id == NOBODY:
        return None
    code = _code(account.code) or _code(account.identifier)
    return Account(code, one_line(account.name, _MAX_NAME) or code, kind) if code else None


def _code(text: str | None) -> str:
    """An account's code as one line; empty where there is none, or nobody chose one.

    Fails the item for a code that is too long: cut, it would be the code of another account.
    """
    code = one_line((text or "").strip(), 4 * _MAX_CODE)
    if len(code) > _MAX_CODE:
        raise invalid(f"The account number {one_line(code, _MAX_CODE)} is longer than {_MAX_CODE} characters.")
    return "" if code == NOBODY else code
