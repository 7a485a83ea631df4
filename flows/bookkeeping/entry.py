"""An export item as a balanced entry, or the reason why it cannot be one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TypedDict

from blocks.erp.entries import Bill, Details, Entry, EntryState, JournalEntry, Line, Money
from blocks.erp.settings import ReverseChargeCheck
from blocks.pleo.items import ExportItem
from flows.bookkeeping.accounts import Accounts, Rule, is_turned, rule_for
from flows.bookkeeping.amounts import Amounts, amounts_of, reverse_charge_problems, supplier_money, wallet_minor
from flows.bookkeeping.bills import (
    bill_accounts,
    documents_of,
    invoice_notices,
    invoice_number,
    is_payable,
    stays_open,
)
from flows.bookkeeping.context import BookingContext, accounting_date
from flows.bookkeeping.exchange import company_difference_minor, exchange_for
from flows.bookkeeping.lines import expense_lines, fee_lines, line_of, owed_by, transfer_lines
from flows.bookkeeping.statement import statement_of
from flows.bookkeeping.text import description_of, details_of, reference_of
from flows.failures import Failure, ItemFails, invalid


def book(item: ExportItem, context: BookingContext) -> Entry | Failure:
    """The item's `JournalEntry` or `Bill`, every part of it balanced, or why it cannot be booked."""
    try:
        return replace(_entry(item, context), statement=statement_of(item))
    except ItemFails as error:
        return error.failure


def _entry(item: ExportItem, context: BookingContext) -> Entry:
    if item.company_id != context.company_id:
        raise invalid(
            f"The expense belongs to company {item.company_id}, not to this job's company {context.company_id}."
        )
    rule = rule_for(item.type, item.sub_type)
    payable = is_payable(item, rule, context)
    currency, _ = wallet_minor(item.amount, "The expense", context.settings.minor_units)
    notices = invoice_notices(item)
    accounts = Accounts(item, currency, context.reference, context.settings)
    entry = _bill(item, rule, accounts, context) if payable else _journal_entry(item, rule, accounts, context)
    return _checked(_exchanged(replace(entry, notices=(*entry.notices, *notices)), context), context)


def _journal_entry(item: ExportItem, rule: Rule, accounts: Accounts, context: BookingContext) -> JournalEntry:
    mains = accounts.main(rule.main)
    counter = accounts.of_role(rule.counter)
    journal = context.journal(rule.journal)
    settings = context.settings
    amounts = _amounts(item, context)
    turned = is_turned(rule, amounts.header_minor, settings.money_back_sign)
    if rule.main is None:
        lines = expense_lines(item, mains, amounts, not turned, accounts, settings)
        lines += fee_lines(amounts, not turned, accounts, settings)
    else:
        lines = transfer_lines(item, mains, amounts, not turned, owed_by(item, rule.main, settings))
    owed = owed_by(item, rule.counter, settings)
    settling = line_of(counter, abs(amounts.header_minor), turned, counter=True, dimensions=owed)
    return JournalEntry(**_head(item, rule, amounts, turned, context), lines=(*lines, settling), journal=journal)


def _bill(item: ExportItem, rule: Rule, accounts: Accounts, context: BookingContext) -> Bill:
    on = bill_accounts(item, rule, accounts, context)
    amounts = _amounts(item, context)
    turned = is_turned(rule, amounts.header_minor, context.settings.money_back_sign)
    documents = documents_of(item, on, amounts, turned, accounts, context)
    return Bill(
        **_head(item, rule, amounts, turned, context),
        vendor=on.vendor,
        payable=on.payable,
        documents=documents,
        invoice_number=invoice_number(item, context.settings),
        stays_open=stays_open(item),
    )


def _amounts(item: ExportItem, context: BookingContext) -> Amounts:
    settings = context.settings
    return amounts_of(item, settings.minor_units, takes_fees=bool(settings.card_fee_account))


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
    notices: tuple[str, ...]


def _head(item: ExportItem, rule: Rule, amounts: Amounts, turned: bool, context: BookingContext) -> _Head:
    limits, settings = context.limits, context.settings
    original = accounting_date(item, settings.zone)
    rounding = amounts.rounding_minor if rule.main is None else 0  # only a cost is ever rounded
    problems = list(reverse_charge_problems(item, amounts, settings.minor_units)) if rule.main is None else []
    if problems and settings.reverse_charge_check is ReverseChargeCheck.FAIL:
        raise invalid(
            f"{problems[0][:1].upper()}{problems[0][1:]}. Correct it in Pleo, or let the settings "
            "(reverse_charge_check) book it as it is stated."
        )
    return _Head(
        accounting_entry_id=item.accounting_entry_id,
        job_id=context.job_id,
        company_id=context.company_id,
        item_type=item.type,
        posting_date=context.posting_date(original),
        original_date=original,
        currency=amounts.currency,
        amount_minor=amounts.header_minor,
        description=description_of(item, limits.max_description),
        reference=reference_of(item, limits.max_reference),
        state=settings.posting,
        supplier=supplier_money(item.amount),
        details=details_of(item, limits.max_detail, settings.zone),
        rounding_minor=-rounding if turned else rounding,
        notices=tuple(problems),
    )


def _exchanged(entry: JournalEntry | Bill, context: BookingContext) -> JournalEntry | Bill:
    """The entry with its amounts in the company's currency too, where that is another one."""
    exchange = exchange_for(entry.currency, entry.posting_date, context.reference, context.settings.minor_units)
    if exchange is None:
        return entry
    company = exchange.company_currency
    if isinstance(entry, JournalEntry):
        return replace(entry, company_currency=company, lines=exchange.convert(entry.lines))
    documents = tuple(replace(document, lines=exchange.convert(document.lines)) for document in entry.documents)
    return replace(entry, company_currency=company, documents=documents)


def _checked(entry: JournalEntry | Bill, context: BookingContext) -> Entry:
    """The entry, if each of its parts balances in both currencies and it settles the item's amount."""
    parts = [entry.lines] if isinstance(entry, JournalEntry) else [document.lines for document in entry.documents]
    units = context.settings.minor_units
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
