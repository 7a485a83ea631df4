"""Why Tryton refused an entry: told by what Tryton holds now, never by its words, which follow the user's language."""

from __future__ import annotations

from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.tryton.client import TrytonClient, TrytonRefused
from blocks.erp.tryton.directory import Directory
from blocks.erp.tryton.marks import Model
from blocks.erp.tryton.records import Standing
from blocks.erp.tryton.values import WantedEntry


class Reasons:
    """Explains refusals of one company's entries."""

    def __init__(self, client: TrytonClient, directory: Directory) -> None:
        self._client = client
        self._directory = directory

    async def explain(self, wanted: WantedEntry, error: TrytonRefused) -> Refused:
        """The refusal in words of the contract, with Tryton's own text as its message."""
        entry = wanted.entry
        period = self._directory.period(entry.posting_date)
        if period is not None and await self._is_closed(period.id):
            day = entry.posting_date.isoformat()
            return Refused(entry.accounting_entry_id, RefusalKind.CLOSED_PERIOD, day, str(error))
        closed = await self._closed_account(entry.accounts)
        if closed is not None:
            return Refused(entry.accounting_entry_id, RefusalKind.UNKNOWN_ACCOUNT, closed, str(error))
        return Refused(entry.accounting_entry_id, RefusalKind.OTHER, "entry", f"Tryton refuses it: {error}")

    @staticmethod
    def is_late(record: Standing) -> bool:
        """Whether the period of a move was closed since it was made: Tryton itself would post the draft even then."""
        return record.model is Model.MOVE and record.row["period"]["state"] != "open"

    @staticmethod
    def closed(record: Standing) -> Refused:
        """The refusal of a draft whose period was closed."""
        day = record.row["date"].isoformat()
        text = f"The period of {day} was closed in Tryton."
        return Refused(record.mark.accounting_entry_id, RefusalKind.CLOSED_PERIOD, day, text)

    async def of_posting(self, record: Standing, error: TrytonRefused) -> Refused:
        """The same for a draft that stands and could not be posted."""
        field = "date" if record.model is Model.MOVE else "accounting_date"
        id_, day = record.mark.accounting_entry_id, record.row[field]
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
