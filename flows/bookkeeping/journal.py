"""An export item as a balanced journal entry, or the reason why it cannot be one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from blocks.erp.base import Capabilities, Reference, Role
from blocks.erp.entries import Account, JournalEntry, Line
from blocks.pleo.models import ExportItem, ItemLine
from blocks.text import one_line
from flows.bookkeeping.accounts import counter_account, main_account, tax_account
from flows.bookkeeping.amounts import Amounts, LineAmounts, amounts_of, supplier_money
from flows.bookkeeping.direction import Rule, is_turned, rule_for
from flows.bookkeeping.money import show
from flows.bookkeeping.period import accounting_date
from flows.bookkeeping.text import description_of, dimensions_of, reference_of
from flows.failures import Failure, ItemFails, invalid

_MAX_TAX_CODE = 60


@dataclass(frozen=True, slots=True)
class Books:
    """What bookkeeping knows besides the item: the job, and the accounting system's accounts and limits."""

    job_id: str
    company_id: str
    reference: Reference
    limits: Capabilities


def book(item: ExportItem, books: Books) -> JournalEntry | Failure:
    """The item's journal entry, balanced in wallet currency, or why it cannot be booked."""
    try:
        return _entry(item, books)
    except ItemFails as error:
        return error.failure


def _entry(item: ExportItem, books: Books) -> JournalEntry:
    if item.company_id != books.company_id:
        raise invalid(
            f"The expense belongs to company {item.company_id}, not to this job's company {books.company_id}."
        )
    rule = rule_for(item.type, item.sub_type)
    amounts = amounts_of(item)
    date = accounting_date(item)
    entry = JournalEntry(
        accounting_entry_id=item.accounting_entry_id,
        job_id=books.job_id,
        company_id=books.company_id,
        item_type=item.type,
        posting_date=date,
        original_date=date,
        currency=amounts.currency,
        amount_minor=amounts.header_minor,
        description=description_of(item, books.limits.max_description),
        reference=reference_of(item, books.limits.max_reference),
        lines=_lines(item, rule, amounts, books),
        supplier=supplier_money(item.amount),
    )
    if entry.difference_minor != 0:
        raise invalid(f"The entry would not balance: {show(entry.difference_minor, entry.currency)} too much in debit.")
    return entry


def _lines(item: ExportItem, rule: Rule, amounts: Amounts, books: Books) -> tuple[Line, ...]:
    turned = is_turned(rule, amounts.header_minor)
    flip = amounts.header_minor < 0  # the signs of lines are read relative to the header's
    lines: list[Line] = []
    for n, (line, split) in enumerate(zip(item.accounting_entry_lines or (), amounts.lines, strict=True), 1):
        lines += _main_lines(item, rule, line, n, _relative(split, flip), turned, amounts.currency, books)
    counter = counter_account(rule.counter, amounts.currency, item, books.reference)
    lines.append(_line(counter, abs(amounts.header_minor), debit=turned, counter=True))
    return tuple(lines)


def _main_lines(
    item: ExportItem, rule: Rule, line: ItemLine, n: int, split: LineAmounts, turned: bool, currency: str, books: Books
) -> list[Line]:
    """One line of the expense: its cost, and its tax where the type books to the line's own account."""
    account = main_account(rule.main, line, n, currency, item, books.reference)
    with_tax = rule.main is None and split.tax_minor != 0
    cost = _line(account, split.cost_minor if with_tax else split.gross_minor, debit=not turned)
    lines = [replace(cost, supplier=supplier_money(line.line_amount))]
    if with_tax and line.tax is not None:
        ingoing = tax_account(Role.INPUT_TAX, line.tax.ingoing_tax_account, currency, item, books.reference)
        lines.append(_line(ingoing, split.tax_minor, debit=not turned))
        if split.reverse:
            outgoing = tax_account(Role.OUTPUT_TAX, line.tax.outgoing_tax_account, currency, item, books.reference)
            lines.append(_line(outgoing, split.tax_minor, debit=turned))
    code = one_line(line.tax.code or "", _MAX_TAX_CODE) if line.tax is not None else ""
    dimensions = dimensions_of(line)
    return [replace(made, tax_code=code or None, dimensions=dimensions) for made in lines]


def _relative(split: LineAmounts, flip: bool) -> LineAmounts:
    if not flip:
        return split
    return LineAmounts(-split.gross_minor, -split.cost_minor, -split.tax_minor, split.reverse)


def _line(account: Account, amount_minor: int, *, debit: bool, counter: bool = False) -> Line:
    """A line in the debit column, or in the other one where `debit` is false; a negative amount changes columns."""
    size = abs(amount_minor)
    if debit == (amount_minor >= 0):
        return Line(account, debit_minor=size, counter=counter)
    return Line(account, credit_minor=size, counter=counter)
