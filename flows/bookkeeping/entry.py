"""An export item as a balanced entry, or the reason why it cannot be one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TypedDict

from blocks.erp.entries import Bill, Details, Entry, EntryState, JournalEntry, Line, Money
from blocks.erp.reference import JournalUse
from blocks.pleo.items import ExportItem
from flows.bookkeeping.accounts import Accounts
from flows.bookkeeping.amounts import Amounts, amounts_of, supplier_money
from flows.bookkeeping.bill import bill_accounts, documents_of, invoice_number, stays_open
from flows.bookkeeping.books import Books
from flows.bookkeeping.direction import Rule, is_turned, rule_for
from flows.bookkeeping.exchange import company_difference_minor, exchange_for
from flows.bookkeeping.lines import expense_lines, line_of, transfer_lines
from flows.bookkeeping.method import is_payable
from flows.bookkeeping.money import wallet_minor
from flows.bookkeeping.period import accounting_date, posting_date
from flows.bookkeeping.text import description_of, details_of, reference_of
from flows.failures import Failure, ItemFails, invalid


def book(item: ExportItem, books: Books) -> Entry | Failure:
    """The item's `JournalEntry` or `Bill`, every part of it balanced, or why it cannot be booked."""
    try:
        return _entry(item, books)
    except ItemFails as error:
        return error.failure


def _entry(item: ExportItem, books: Books) -> Entry:
    if item.company_id != books.company_id:
        raise invalid(
            f"The expense belongs to company {item.company_id}, not to this job's company {books.company_id}."
        )
    rule = rule_for(item.type, item.sub_type)
    payable = is_payable(item, rule, books)
    currency, _ = wallet_minor(item.amount, "The expense", books.settings.minor_units)
    accounts = Accounts(item, currency, books.reference)
    entry = _bill(item, rule, accounts, books) if payable else _journal_entry(item, rule, accounts, books)
    return _checked(_exchanged(entry, books), books)


def _journal_entry(item: ExportItem, rule: Rule, accounts: Accounts, books: Books) -> JournalEntry:
    mains = accounts.main(rule.main)
    counter = accounts.of_role(rule.counter)
    journal = books.journal(JournalUse.GENERAL)
    amounts = amounts_of(item, books.settings.minor_units)
    turned = is_turned(rule, amounts.header_minor, books.settings.money_back_sign)
    if rule.main is None:
        lines = expense_lines(item, mains, amounts, not turned, accounts, books.settings)
    else:
        lines = transfer_lines(item, mains, amounts, not turned)
    settling = line_of(counter, abs(amounts.header_minor), turned, counter=True)
    return JournalEntry(**_head(item, rule, amounts, turned, books), lines=(*lines, settling), journal=journal)


def _bill(item: ExportItem, rule: Rule, accounts: Accounts, books: Books) -> Bill:
    on = bill_accounts(item, rule, accounts, books)
    amounts = amounts_of(item, books.settings.minor_units)
    turned = is_turned(rule, amounts.header_minor, books.settings.money_back_sign)
    documents = documents_of(item, on, amounts, turned, accounts, books)
    return Bill(
        **_head(item, rule, amounts, turned, books),
        vendor=on.vendor,
        payable=on.payable,
        documents=documents,
        invoice_number=invoice_number(item, books.settings),
        stays_open=stays_open(item),
    )


class _Head(TypedDict):
    """What every entry has, in whichever form it is recorded."""

    accounting_entry_id: str
    job_id: str
    company_id: str
    item_type: str
    posting_date: date
    original_date: date
    currency: str
    amount_minor: int
    description: str
    reference: str
    state: EntryState
    supplier: Money | None
    details: Details
    rounding_minor: int


def _head(item: ExportItem, rule: Rule, amounts: Amounts, turned: bool, books: Books) -> _Head:
    limits, settings = books.limits, books.settings
    original = accounting_date(item, settings.zone)
    rounding = amounts.rounding_minor if rule.main is None else 0  # only a cost is ever rounded
    return _Head(
        accounting_entry_id=item.accounting_entry_id,
        job_id=books.job_id,
        company_id=books.company_id,
        item_type=item.type,
        posting_date=posting_date(original, books),
        original_date=original,
        currency=amounts.currency,
        amount_minor=amounts.header_minor,
        description=description_of(item, limits.max_description),
        reference=reference_of(item, limits.max_reference),
        state=settings.posting,
        supplier=supplier_money(item.amount),
        details=details_of(item, limits.max_detail, settings.zone),
        rounding_minor=-rounding if turned else rounding,
    )


def _exchanged(entry: JournalEntry | Bill, books: Books) -> JournalEntry | Bill:
    """The entry with its amounts in the company's currency too, where that is another one."""
    exchange = exchange_for(entry.currency, entry.posting_date, books.reference, books.settings.minor_units)
    if exchange is None:
        return entry
    company = exchange.company_currency
    if isinstance(entry, JournalEntry):
        return replace(entry, company_currency=company, lines=exchange.convert(entry.lines))
    documents = tuple(replace(document, lines=exchange.convert(document.lines)) for document in entry.documents)
    return replace(entry, company_currency=company, documents=documents)


def _checked(entry: JournalEntry | Bill, books: Books) -> Entry:
    """The entry, if each of its parts balances in both currencies and it settles the item's amount."""
    parts = [entry.lines] if isinstance(entry, JournalEntry) else [document.lines for document in entry.documents]
    units = books.settings.minor_units
    for lines in parts:
        difference = sum(line.amount_minor for line in lines)
        if difference:
            raise invalid(f"The entry would not balance: {units.amount(difference, entry.currency)} too much in debit.")
        difference = company_difference_minor(lines)
        if difference:
            company = entry.company_currency or ""
            raise invalid(f"The entry would not balance: {units.amount(difference, company)} too much in debit.")
    if abs(_settled(entry.all_lines)) != abs(entry.amount_minor):
        raise invalid("The entry would not settle the amount of the expense.")
    return entry


def _settled(lines: tuple[Line, ...]) -> int:
    return sum(line.amount_minor for line in lines if line.counter)
