"""Why Tryton refuses an entry: told from the directory before anything is sent, and afterwards by what it holds now.

Never by its words, which follow the user's language.
"""

from __future__ import annotations

from blocks.erp.base import Capabilities
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.remote import checks
from blocks.erp.remote.calls import CallRefused
from blocks.erp.tryton.client import TrytonClient
from blocks.erp.tryton.directory import BILLS_MODULE, Directory
from blocks.erp.tryton.payloads import EntryPayload
from blocks.erp.tryton.records import Model, TrytonRecord


def check_entry(
    entry: Entry, directory: Directory, units: MinorUnits, *, company_id: str, limits: Capabilities
) -> Refused | None:
    """The first thing that is wrong with an entry, or None."""
    refused = checks.check_entry(entry, company_id=company_id, limits=limits, reference=directory.reference)
    if refused is not None:
        return checks.with_reason(refused, accounts=directory.accounts, taxes=directory.taxes)
    finding = _check_period(entry, directory)
    finding = finding or checks.check_digits(entry, directory.currencies, directory.currency, units, "Tryton")
    finding = finding or (_check_bill(entry, directory) if isinstance(entry, Bill) else None)
    finding = finding or checks.check_journal_types(entry, directory.journals, "expense", "Tryton")
    finding = finding or _check_accounts(entry, directory)
    return None if finding is None else Refused(entry.accounting_entry_id, *finding)


def _check_period(entry: Entry, directory: Directory) -> checks.Finding | None:
    if directory.period(entry.posting_date) is not None:
        return None
    day = entry.posting_date.isoformat()
    return RefusalKind.CLOSED_PERIOD, day, f"The period of {day} is closed in Tryton, or there is none."


def _check_bill(entry: Bill, directory: Directory) -> checks.Finding | None:
    if entry.vendor is None:
        return None
    invoiced = checks.is_invoiced(entry)
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
        return checks.not_payable(entry, "Tryton")
    return None


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
        if account.second_currency is not None and account.second_currency != entry.currency:
            return checks.takes_only(code, account.second_currency, entry, "Tryton")
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
