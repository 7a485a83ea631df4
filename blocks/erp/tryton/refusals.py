"""Why Tryton refuses an entry: told from the directory before anything is sent, and afterwards by what it holds now.

Never by its words, which follow the user's language.
"""

from __future__ import annotations

from dataclasses import replace

from blocks.erp.base import Capabilities
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.reference import JournalUse
from blocks.erp.remote import checks
from blocks.erp.remote.calls import CallRefused
from blocks.erp.remote.names import ByCode
from blocks.erp.tryton.client import TrytonClient
from blocks.erp.tryton.directory import BILLS_MODULE, Directory
from blocks.erp.tryton.payloads import EntryPayload, amount_of, is_invoice
from blocks.erp.tryton.records import Model, TrytonRecord

_FOR_BILLS = {JournalUse.BILLS, JournalUse.CREDIT_NOTES}


def check_entry(
    entry: Entry, directory: Directory, units: MinorUnits, *, company_id: str, limits: Capabilities
) -> Refused | None:
    """The first thing that is wrong with an entry, or None."""
    refused = checks.check_entry(entry, company_id=company_id, limits=limits, reference=directory.reference)
    if refused is not None:
        return replace(refused, message=_reason(refused, directory) or refused.message)
    finding = _check_period(entry, directory) or _check_currency(entry, directory, units)
    finding = finding or (_check_bill(entry, directory) if isinstance(entry, Bill) else None)
    finding = finding or _check_journals(entry, directory) or _check_accounts(entry, directory)
    return None if finding is None else Refused(entry.accounting_entry_id, *finding)


def _reason(refused: Refused, directory: Directory) -> str | None:
    """Why a code leads nowhere, where Tryton has more to say than that."""
    names = {RefusalKind.UNKNOWN_ACCOUNT: directory.accounts, RefusalKind.UNKNOWN_TAX_CODE: directory.taxes}
    known = names.get(refused.kind)
    return known.why_not(refused.subject) if isinstance(known, ByCode) else None


def _check_period(entry: Entry, directory: Directory) -> checks.Finding | None:
    if directory.period(entry.posting_date) is not None:
        return None
    day = entry.posting_date.isoformat()
    return RefusalKind.CLOSED_PERIOD, day, f"The period of {day} is closed in Tryton, or there is none."


def _check_currency(entry: Entry, directory: Directory, units: MinorUnits) -> checks.Finding | None:
    currency = directory.currencies.get(entry.currency)
    if currency is None:
        return RefusalKind.OTHER, entry.currency, f"Tryton has no active currency {entry.currency}: add it there"
    is_foreign = currency.code != directory.currency.code
    for line in entry.all_lines:
        if amount_of(line.amount_minor, currency, units) is None:
            amount = units.amount(line.amount_minor, currency.code)
            return RefusalKind.OTHER, amount, f"{amount} has more decimals than Tryton keeps of {currency.code}"
        if is_foreign and line.company_minor is None:
            return RefusalKind.UNBALANCED, entry.currency, f"the amount in {directory.currency.code} is missing"
        if is_foreign and amount_of(line.company_minor or 0, directory.currency, units) is None:
            amount = units.amount(line.company_minor or 0, directory.currency.code)
            return RefusalKind.OTHER, amount, f"{amount} has more decimals than Tryton keeps"
    return None


def _check_bill(entry: Bill, directory: Directory) -> checks.Finding | None:
    if entry.vendor is None:
        return None
    invoiced = entry_is_invoiced(entry)
    if invoiced and not directory.invoices:
        text = f"Tryton keeps no bills: activate its module {BILLS_MODULE}."
        return RefusalKind.OTHER, entry.vendor.code, text
    dimension = next((one for line in entry.all_lines for one in line.dimensions), None)
    if invoiced and dimension is not None and not directory.analytic_invoices:
        text = "Tryton's bills take no analytic accounts: activate its module analytic_invoice."
        return RefusalKind.UNKNOWN_DIMENSION, dimension.code, text
    party = directory.parties.get(entry.vendor.code)
    if party is None:
        return RefusalKind.UNKNOWN_VENDOR, entry.vendor.code, f"Tryton has no active party {entry.vendor.code}"
    if party.address_id is None and invoiced:
        return (
            RefusalKind.OTHER,
            entry.vendor.code,
            f"Vendor {entry.vendor.code} has no address in Tryton: add one to the party, as its bills need it.",
        )
    if not directory.accounts[entry.payable.code].payable:
        return (
            RefusalKind.OTHER,
            entry.payable.code,
            f"Account {entry.payable.code} is not of a payable type in Tryton: choose another for accounts payable.",
        )
    return None


def _check_journals(entry: Entry, directory: Directory) -> checks.Finding | None:
    for use, code in checks.journals_of(entry):
        journal = directory.journals.get(code)
        if journal is None:
            return RefusalKind.MISSING_JOURNAL, code or use.value, f"Tryton has no journal {code}"
        if use in _FOR_BILLS and entry_is_invoiced(entry) and journal.type != "expense":
            return (
                RefusalKind.OTHER,
                code,
                f"Journal {code} is not of type Expense in Tryton, and supplier invoices need one that is.",
            )
    return None


def entry_is_invoiced(entry: Entry) -> bool:
    """Whether a supplier invoice is among the records of the entry."""
    return isinstance(entry, Bill) and any(is_invoice(entry, document) for document in entry.documents)


def _check_accounts(entry: Entry, directory: Directory) -> checks.Finding | None:
    has_party = isinstance(entry, Bill) and entry.vendor is not None
    for line in entry.all_lines:
        account = directory.accounts[line.account.code]
        code, day = line.account.code, entry.posting_date
        if (account.first and day < account.first) or (account.last and day > account.last):
            return RefusalKind.UNKNOWN_ACCOUNT, code, f"account {code} is not in use on {day.isoformat()}"
        if account.party_required and not has_party:
            return (
                RefusalKind.OTHER,
                code,
                f"Account {code} takes only lines with a party in Tryton, and this entry has none: "
                "choose another account, or take Party Required off this one.",
            )
        if account.second_currency not in (None, entry.currency):
            return (
                RefusalKind.OTHER,
                code,
                f"Account {code} takes only {account.second_currency} in Tryton, and the expense is in "
                f"{entry.currency}: choose another account.",
            )
    return None


class Refusals:
    """Explains refusals of one company's entries."""

    def __init__(self, client: TrytonClient, directory: Directory) -> None:
        self._client = client
        self._directory = directory

    async def explain(self, payload: EntryPayload, error: CallRefused) -> Refused:
        """The refusal in words of the contract, with Tryton's own text as its message."""
        entry = payload.entry
        period = self._directory.period(entry.posting_date)
        if period is not None and await self._is_closed(period.id):
            day = entry.posting_date.isoformat()
            return Refused(entry.accounting_entry_id, RefusalKind.CLOSED_PERIOD, day, str(error))
        closed = await self._closed_account(entry.accounts)
        if closed is not None:
            return Refused(entry.accounting_entry_id, RefusalKind.UNKNOWN_ACCOUNT, closed, str(error))
        return Refused(entry.accounting_entry_id, RefusalKind.OTHER, "entry", f"Tryton refuses it: {error}")

    @staticmethod
    def is_late(record: TrytonRecord) -> bool:
        """Whether the period of a move was closed since it was made: Tryton itself would post the draft even then."""
        return record.model is Model.MOVE and record.row["period"]["state"] != "open"

    @staticmethod
    def closed(record: TrytonRecord) -> Refused:
        """The refusal of a draft whose period was closed."""
        day = record.row["date"].isoformat()
        text = f"The period of {day} was closed in Tryton."
        return Refused(record.key.accounting_entry_id, RefusalKind.CLOSED_PERIOD, day, text)

    async def of_posting(self, record: TrytonRecord, error: CallRefused) -> Refused:
        """The same for a draft that stands and could not be posted."""
        field = "date" if record.model is Model.MOVE else "accounting_date"
        id_, day = record.key.accounting_entry_id, record.row[field]
        domain = [["company", "=", self._directory.company_id], ["start_date", "<=", day], ["end_date", ">=", day]]
        rows = await self._client.search("account.period", domain, ("state",)) if day is not None else []
        if any(row["state"] == "open" for row in rows):
            return Refused(id_, RefusalKind.OTHER, "entry", f"Tryton refuses to post it: {error}")
        return Refused(id_, RefusalKind.CLOSED_PERIOD, day.isoformat() if day else "date", str(error))

    async def _is_closed(self, period_id: int) -> bool:
        rows = await self._client.search("account.period", [["id", "=", period_id]], ("state",))
        return not rows or rows[0]["state"] != "open"

    async def _closed_account(self, codes: tuple[str, ...]) -> str | None:
        """The first of these accounts that was closed or taken away since the directory was read."""
        ids = {self._directory.accounts[code].id: code for code in codes if code in self._directory.accounts}
        domain = [["id", "in", sorted(ids)], ["closed", "!=", True], ["type", "!=", None]]
        usable = {row["id"] for row in await self._client.search("account.account", domain, ("id",))}
        return next((code for id_, code in ids.items() if id_ not in usable), None)
