"""An export item as a balanced journal entry, or the reason why it cannot be one."""

from __future__ import annotations

from dataclasses import dataclass, field

from blocks.erp.base import Capabilities
from blocks.erp.entries import Account, Dimension, JournalEntry, Line, Money
from blocks.erp.policy import Policy
from blocks.erp.reference import Reference, Role
from blocks.pleo.items import ExportItem, ItemLine
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
    policy: Policy = field(default_factory=Policy)


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
    date = accounting_date(item, books.policy.time_zone)
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
        state=books.policy.posting,
        supplier=supplier_money(item.amount),
    )
    if entry.difference_minor != 0:
        raise invalid(f"The entry would not balance: {show(entry.difference_minor, entry.currency)} too much in debit.")
    return entry


def _lines(item: ExportItem, rule: Rule, amounts: Amounts, books: Books) -> tuple[Line, ...]:
    turned = is_turned(rule, amounts.header_minor, books.policy.money_back_sign)
    flip = amounts.header_minor < 0  # the signs of lines are read relative to the header's
    lines: list[Line] = []
    for n, (line, split) in enumerate(zip(item.accounting_entry_lines or (), amounts.lines, strict=True), 1):
        lines += _main_lines(item, rule, line, n, _relative(split, flip), turned, amounts.currency, books)
    counter = counter_account(rule.counter, amounts.currency, item, books.reference)
    lines.append(_line(counter, abs(amounts.header_minor), turned, counter=True))
    return tuple(lines)


def _main_lines(
    item: ExportItem, rule: Rule, line: ItemLine, n: int, split: LineAmounts, turned: bool, currency: str, books: Books
) -> list[Line]:
    """One line of the expense: its cost, and its tax where the type books to the line's own account."""
    account = main_account(rule.main, line, n, currency, item, books.reference)
    code = one_line(line.tax.code or "", _MAX_TAX_CODE) if line.tax is not None else ""
    about = _About(code or None, dimensions_of(line))
    supplier = supplier_money(line.line_amount)
    if rule.main is not None or split.tax_minor == 0 or line.tax is None:
        return [_line(account, split.gross_minor, not turned, about, supplier=supplier)]
    ingoing = tax_account(Role.INPUT_TAX, line.tax.ingoing_tax_account, currency, item, books.reference)
    lines = [
        _line(account, split.cost_minor, not turned, about, supplier=supplier),
        _line(ingoing, split.tax_minor, not turned, about),
    ]
    if split.reverse:
        outgoing = tax_account(Role.OUTPUT_TAX, line.tax.outgoing_tax_account, currency, item, books.reference)
        lines.append(_line(outgoing, split.tax_minor, turned, about))
    return lines


def _relative(split: LineAmounts, flip: bool) -> LineAmounts:
    if not flip:
        return split
    return LineAmounts(-split.gross_minor, -split.cost_minor, -split.tax_minor, split.reverse)


@dataclass(frozen=True, slots=True)
class _About:
    """What all lines that come of one line of the expense have in common."""

    tax_code: str | None = None
    dimensions: tuple[Dimension, ...] = ()


_NOTHING = _About()


def _line(
    account: Account,
    amount_minor: int,
    debit: bool,
    about: _About = _NOTHING,
    *,
    counter: bool = False,
    supplier: Money | None = None,
) -> Line:
    """A line in the debit column, or in the other one where `debit` is false; a negative amount changes columns."""
    size = abs(amount_minor)
    in_debit = debit == (amount_minor >= 0)
    return Line(
        account=account,
        debit_minor=size if in_debit else 0,
        credit_minor=0 if in_debit else size,
        counter=counter,
        tax_code=about.tax_code,
        dimensions=about.dimensions,
        supplier=supplier,
    )
