"""The lines of an entry: what the money was for, its tax, and the dimensions that it is counted by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blocks.erp.entries import Account, AccountKind, Dimension, Line, Money
from blocks.erp.reference import Role
from blocks.erp.settings import ErpSettings
from blocks.pleo.items import ExportItem, ItemLine
from flows.bookkeeping.accounts import Accounts
from flows.bookkeeping.amounts import Amounts, LineAmounts, rate_text, supplier_money
from flows.bookkeeping.text import UNKNOWN_ID, checked_code, clean_code


def transfer_lines(
    item: ExportItem, mains: Sequence[Account], amounts: Amounts, debit: bool, dimensions: tuple[Dimension, ...]
) -> tuple[Line, ...]:
    """One line each for types that move money between our own accounts: its gross amount, which nobody taxes."""
    return tuple(
        line_of(account, split.gross_minor, debit, supplier=supplier_money(line.line_amount), dimensions=dimensions)
        for line, account, split in zip(item.accounting_entry_lines or (), mains, amounts.lines, strict=True)
    )


def expense_lines(
    item: ExportItem, mains: Sequence[Account], amounts: Amounts, debit: bool, accounts: Accounts, settings: ErpSettings
) -> tuple[Line, ...]:
    """Cost and tax of each line on its own account in `mains`, in the debit column or with `debit` false in credit."""
    return tuple(
        made
        for line, account, split in zip(item.accounting_entry_lines or (), mains, amounts.lines, strict=True)
        for made in _Expense(line, split, debit, _tax_code(line, settings)).lines(
            account, dimensions_of(item, line, settings), accounts
        )
    )


def fee_lines(amounts: Amounts, debit: bool, accounts: Accounts, settings: ErpSettings) -> tuple[Line, ...]:
    """The line of what a card purchase costs beyond its lines, if it does."""
    if not amounts.fee_minor:
        return ()
    account = accounts.by_code(settings.card_fee_account, AccountKind.EXPENSE)
    return (line_of(account, amounts.fee_minor, debit, text="card fee"),)


def line_of(
    account: Account,
    amount_minor: int,
    debit: bool,
    *,
    counter: bool = False,
    text: str = "",
    supplier: Money | None = None,
    dimensions: tuple[Dimension, ...] = (),
) -> Line:
    """A line in the debit column, or in the other one where `debit` is false; a negative amount changes columns."""
    debit_minor, credit_minor = _columns(amount_minor, debit)
    return Line(account, debit_minor, credit_minor, counter, text, dimensions=dimensions, supplier=supplier)


def owed_by(item: ExportItem, role: Role | None, settings: ErpSettings) -> tuple[Dimension, ...]:
    """The dimension of the line on a role account that tells whom it is about: the employee, where it is about what
    the company and its employees owe each other."""
    if role is not Role.OUT_OF_POCKET or not settings.employee_dimension or item.user is None:
        return ()
    code = clean_code(item.user.code)
    name = settings.employee_dimension
    return (Dimension(name, checked_code(code, f"code of the {name}")),) if code else ()


def dimensions_of(item: ExportItem, line: ItemLine, settings: ErpSettings) -> tuple[Dimension, ...]:
    """The dimensions of one line, each once: the line's tags, then employee and team where the settings name theirs.

    A tag group is the dimension that the settings say, else the one of its own name. A tag that stands for "I don't
    know" (an id of zeros, no code) is none. Where a tag names the employee's or the team's dimension, the tag counts.
    """
    found = dict.fromkeys(_tags(line, settings))
    groups = {dimension.group for dimension in found}
    for name, person in ((settings.employee_dimension, item.user), (settings.team_dimension, item.team)):
        code = clean_code(person.code) if person is not None else ""
        if name and code and name not in groups:
            found[Dimension(name, checked_code(code, f"code of the {name}"))] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Expense:
    """One line of the expense."""

    line: ItemLine
    split: LineAmounts
    debit: bool
    tax_code: str | None

    def lines(self, account: Account, dimensions: tuple[Dimension, ...], accounts: Accounts) -> list[Line]:
        debit_minor, credit_minor = _columns(self.split.cost_minor, self.debit)
        cost = Line(
            account,
            debit_minor,
            credit_minor,
            tax_code=self.tax_code,
            dimensions=dimensions,
            supplier=supplier_money(self.line.line_amount),
            tax_rate=self._rate(),
        )
        tax = self.line.tax
        if self.split.tax_minor == 0 or tax is None:
            return [cost]
        made = [cost, self._tax(accounts.tax(Role.INPUT_TAX, tax.ingoing_tax_account), self.debit)]
        if self.split.reverse:
            made.append(self._tax(accounts.tax(Role.OUTPUT_TAX, tax.outgoing_tax_account), not self.debit))
        return made

    def _tax(self, account: Account, debit: bool) -> Line:
        debit_minor, credit_minor = _columns(self.split.tax_minor, debit)
        return Line(
            account,
            debit_minor,
            credit_minor,
            tax_code=self.tax_code,
            tax=True,
            tax_rate=self._rate(),
            tax_base_minor=abs(self.split.cost_minor),
        )

    def _rate(self) -> str | None:
        return rate_text(self.line.tax.rate) if self.line.tax is not None else None


def _tax_code(line: ItemLine, settings: ErpSettings) -> str | None:
    """The accounting system's tax code of a line, as the settings translate Pleo's."""
    code = clean_code(line.tax.code) if line.tax is not None else ""
    return checked_code(settings.tax_codes.get(code, code), "tax code") or None


def _columns(amount_minor: int, debit: bool) -> tuple[int, int]:
    size = abs(amount_minor)
    return (size, 0) if debit == (amount_minor >= 0) else (0, size)


def _tags(line: ItemLine, settings: ErpSettings) -> Iterator[Dimension]:
    for tag in line.tags or ():
        if tag is None or (tag.id or "").strip() == UNKNOWN_ID:
            continue
        group, code = clean_code(tag.group_code), clean_code(tag.code)
        name = settings.dimensions.get(group, group)
        if code and (name or not group):
            yield Dimension(checked_code(name, "tag group"), checked_code(code, "tag code"))
