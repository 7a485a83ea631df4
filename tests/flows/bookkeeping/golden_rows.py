"""Our side of the golden table: an entry, a bill or a failure in the words of the table."""

from __future__ import annotations

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Document, Entry, JournalEntry, Line
from flows.failures import Failure


def outcome_rows(outcome: Entry | Failure, units: MinorUnits = MinorUnits.HUNDREDTHS) -> tuple[str, ...]:
    """What came of an item, row by row."""
    if isinstance(outcome, Failure):
        return (f"fails  {outcome.type}  {outcome.reason}",)
    rows = [f"dated  {outcome.posting_date}"] if outcome.posting_date != outcome.original_date else []
    if outcome.rounding_minor:
        rows.append(f"rounding  {units.number(outcome.rounding_minor, outcome.currency)}")
    rows += [f"notice  {notice}" for notice in outcome.notices]
    if isinstance(outcome, JournalEntry):
        rows += [f"entry  journal {outcome.journal}"] if outcome.journal != "GEN" else []
        return (*rows, *(_row(line, outcome, units) for line in outcome.lines))
    assert isinstance(outcome, Bill)
    for n, document in enumerate(outcome.documents):
        rows.append(_document(outcome, document, n, units))
        rows += [_row(line, outcome, units) for line in document.lines]
    return tuple(rows)


def _document(bill: Bill, document: Document, n: int, units: MinorUnits) -> str:
    vendor = f"{bill.vendor.code} {bill.vendor.name}" if bill.vendor is not None else "nobody"
    fields = [document.kind.replace("_", " "), vendor, units.number(document.owed_minor, bill.currency)]
    fields.append(f"journal {document.journal}")
    if n == 0:
        fields += [f"invoice {bill.invoice_number}"] if bill.invoice_number else []
        fields += ["stays open"] if bill.stays_open else []
    return "  ".join(fields)


def _row(line: Line, entry: Entry, units: MinorUnits) -> str:
    amount = line.debit_minor or line.credit_minor
    side = "debit" if line.debit_minor else "credit" if line.credit_minor else "zero"
    both = line.debit_minor and line.credit_minor
    account = f"{line.account.code} {line.account.name}"
    fields = [side if not both else "both sides", account, units.number(amount, entry.currency)]
    if line.company_minor is not None:
        fields.append(f"in {entry.company_currency} {units.number(line.company_minor, entry.company_currency or '')}")
    fields += [f"code {line.tax_code}"] if line.tax_code is not None else []
    fields += [f"tag {dimension.group} {dimension.code}" for dimension in line.dimensions]
    fields += ["settles"] if line.counter else []
    return "  ".join(fields)
