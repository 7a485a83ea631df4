"""Acme Books as an ERP: the example of `blocks/erp/README.md`. What every system over HTTP needs is `remote`'s; here is
what is Acme's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from blocks.erp.base import Capabilities, Outcome, Writers, replaces_nothing, reverses_nothing
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import (
    Account,
    AccountKind,
    Attachment,
    Entry,
    EntryState,
    NotAttached,
    Recorded,
    Statement,
    account_balances,
    account_codes,
)
from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError, ErpLoginRefused, RefusalKind, Refused
from blocks.erp.reference import Chart, JournalUse, Period, Periods, Reference, rates_by_date
from blocks.erp.remote import receipts
from blocks.erp.remote.adapter import RemoteErp
from blocks.erp.remote.calls import Answer as HttpAnswer
from blocks.erp.remote.calls import Call, CallRefused, KeyLogin, Meaning, NotAllowed, Verdict, read_by_status, writing
from blocks.erp.remote.checks import check_entry
from blocks.erp.remote.client import RemoteClient
from blocks.erp.remote.compare import StandingLine, differences, meant_line
from blocks.erp.remote.pages import all_rows, pages_after_key
from blocks.erp.remote.recording import Recorder, halved

Row = dict[str, Any]  # an entry as Acme shows it
PAGE = 3


def read(answer: HttpAnswer) -> Verdict:
    """Acme says by 422 that it refuses, and why."""
    if answer.status == 422:
        try:
            return Verdict(Meaning.REFUSED, str(answer.document()["error"]))
        except (ValueError, KeyError, TypeError):
            return Verdict(Meaning.TROUBLE)
    return read_by_status(answer)


class AcmeErp(RemoteErp[RemoteClient, "_Books"]):
    """Entries in Acme Books at `base_url`, entered with `key`."""

    system = "Acme"

    def __init__(
        self, base_url: str, key: str, *, currency: str, timeout_s: float = 20.0, max_attachment_bytes: int = 2_000_000
    ) -> None:
        def connect() -> RemoteClient:
            login = KeyLogin({"authorization": f"Bearer {key}"}, key)
            return RemoteClient(base_url, system="Acme", login=login, read=read, timeout_s=timeout_s)

        super().__init__(connect, base_url=base_url, max_attachment_bytes=max_attachment_bytes)
        self._currency = currency
        self._reference = Reference()

    def describe(self) -> Capabilities:
        return Capabilities(
            name="Acme", max_entries=100, max_description=200, max_reference=80, max_amount_minor=10**12,
            dimensions=False, max_attachment_bytes=self._max_attachment_bytes, remote=True, logs_in=True,
            writers=Writers.ANY,
        )  # fmt: skip

    async def validate(self) -> None:
        try:
            await self._opened().send(_ask("/me"))
        except NotAllowed:
            text = "the key may not book in Acme: give its user the role Accountant there"
            raise ErpConfigurationError(text, ConfigurationProblem.PERMISSION) from None
        except ErpLoginRefused as error:
            raise ErpConfigurationError(str(error), ConfigurationProblem.AUTHENTICATION) from None

    async def load_reference(self) -> Reference:
        client, books = self._opened(), await self._ready()

        async def after(code: str) -> Sequence[Row]:
            rows: Sequence[Row] = await client.send(_ask(f"/accounts?after={code}"))
            return rows

        accounts = await all_rows(pages_after_key(after, lambda row: row["code"], size=PAGE, first=""))
        rates = await client.send(_ask("/rates"))
        self._reference = Reference(
            journals={use: use.value for use in JournalUse},
            chart=Chart(Account(one["code"], one["name"], AccountKind(one["kind"])) for one in accounts),
            tax_codes=frozenset({"I25"}),
            periods=await books.periods(),
            company_currency=self._currency,
            rates=rates_by_date((one["currency"], _day(one["first"]), Decimal(one["rate"])) for one in rates),
        )
        return self._reference

    def check(self, entry: Entry) -> Refused | None:
        return check_entry(entry, company_id=self._company_id, limits=self.describe(), reference=self._reference)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        books = await self._ready()
        return {id_: books.recorded(row) for id_, row in (await books.look_up(accounting_entry_ids)).items()}

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        return await (await self._writable()).recorder.record(entries, self.check)

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        books = await self._writable()
        with writing():
            for row in (await books.look_up([accounting_entry_id])).values():
                return await books.attach(row, attachments)
        return [NotAttached(one.number, "the entry does not stand in Acme any more") for one in attachments]

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        books, refused = await self._writable(), []
        with writing():
            rows = (await books.look_up(accounting_entry_ids)).values()
            async for row, error in halved([row for row in rows if not row["posted"]], books.post):
                if error is not None:
                    refused.append(await books.why(row["id"], _day(row["date"]), error))
        return refused

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        return replaces_nothing(entries)

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        return reverses_nothing(entries)

    def link(self, external_id: str) -> str:
        return _link(self._base_url, external_id)

    async def _read_books(self) -> _Books:
        return _Books(self._opened(), self._max_attachment_bytes)


class _Books:
    """What the recorder asks of the books: `Books` of `remote`."""

    def __init__(self, client: RemoteClient, max_bytes: int) -> None:
        self._client, self._max_bytes = client, max_bytes
        self.recorder = Recorder(self, system="Acme", batch=20, max_attachment_bytes=max_bytes)

    async def look_up(self, ids: Sequence[str]) -> Mapping[str, Row]:
        found = await self._client.send(_ask("/entries/search", {"ids": [id_.lower() for id_ in ids]}))
        return {row["id"]: row for row in found["entries"]}

    async def create(self, entries: Sequence[Entry]) -> None:
        await self._client.send(_change("/entries", {"entries": [_sent(entry) for entry in entries]}))

    async def post(self, standing: Sequence[Row]) -> Sequence[None]:
        await self._client.send(_change("/entries/post", {"ids": [row["id"] for row in standing]}))
        return [None] * len(standing)

    async def remove(self, standing: Row) -> None:
        await self._client.send(_change(f"/entries/{standing['id']}", method="DELETE"))

    async def attach(self, standing: Row, files: Sequence[Attachment]) -> list[NotAttached]:
        return await receipts.attach(_Shelf(self._client, self, standing["id"]), files, self._max_bytes, "Acme")

    def differences(self, entry: Entry, standing: Row) -> Sequence[str]:
        lines = [
            StandingLine(one["account"], standing["currency"], one["amount_minor"], one["company_minor"])
            for one in standing["lines"]
        ]
        day, units = _day(standing["date"]), MinorUnits.HUNDREDTHS
        return differences(entry, lines, posting_date=day, units=units, told={"company_minor"})

    async def explain(self, entry: Entry, error: CallRefused) -> Refused:
        return await self.why(entry.accounting_entry_id, entry.posting_date, error)

    async def why(self, id_: str, day: date, error: CallRefused) -> Refused:
        """By what Acme has now, and never by its words."""
        if not (await self.periods()).is_open(day):
            return Refused(id_, RefusalKind.CLOSED_PERIOD, day.isoformat(), str(error))
        return Refused(id_, RefusalKind.OTHER, "entry", f"Acme refuses it: {error}")

    async def periods(self) -> Periods:
        rows = await self._client.send(_ask("/periods"))
        return Periods([Period(_day(one["first"]), _day(one["last"]), one["open"]) for one in rows])

    def recorded(self, standing: Row) -> Recorded:
        about, lines = standing["about"], standing["lines"]
        return Recorded(
            accounting_entry_id=standing["id"],
            external_id=f"A-{standing['number']}",
            url=_link(self._client.base_url, f"A-{standing['number']}"),
            recorded_at=datetime.fromisoformat(standing["made"]),
            currency=standing["currency"],
            amount_minor=about["amount_minor"],
            accounts=account_codes(one["account"] for one in lines),
            state=EntryState.POSTED if standing["posted"] else EntryState.DRAFT,
            found=True,
            posting_date=_day(standing["date"]),
            original_date=_day(about["original_date"]),
            attached=frozenset(one["number"] for one in standing["files"]),
            statement=Statement.read(about["statement"]),
            balances=account_balances((one["account"], one["amount_minor"]) for one in lines),
        )


class _Shelf:
    """The files of one entry."""

    def __init__(self, client: RemoteClient, books: _Books, id_: str) -> None:
        self._client, self._books, self._id = client, books, id_

    async def there(self) -> Sequence[tuple[int, int]]:
        row = (await self._books.look_up([self._id])).get(self._id, {"files": []})
        return [(one["number"], one["id"]) for one in row["files"]]

    async def put(self, file: Attachment, content: bytes) -> Any:
        path = f"/entries/{self._id}/files?number={file.number}"
        answer = await self._client.send(Call(path, content, headers={"content-type": file.media_type}))
        return answer["id"]

    async def take_down(self, id_: int) -> None:
        await self._client.send(_change(f"/files/{id_}", method="DELETE"))


def _sent(entry: Entry) -> Row:
    lines = [meant_line(line, entry.currency) for line in entry.all_lines]
    return {
        "id": entry.accounting_entry_id,
        "date": entry.posting_date.isoformat(),
        "currency": entry.currency,
        "text": f"{entry.description} ({entry.reference})",
        "lines": [
            {name: getattr(one, name) for name in ("account", "amount_minor", "company_minor", "tax_code")}
            for one in lines
        ],
        "about": {
            "amount_minor": entry.amount_minor,
            "original_date": entry.original_date.isoformat(),
            "statement": entry.statement.text if entry.statement is not None else "",
        },
    }


def _ask(path: str, body: Any = None) -> Call:
    return _call("GET" if body is None else "POST", path, body, changes=False)


def _change(path: str, body: Any = None, *, method: str = "POST") -> Call:
    return _call(method, path, body, changes=True)


def _call(method: str, path: str, body: Any, *, changes: bool) -> Call:
    return Call(path, None if body is None else json.dumps(body).encode(), method, changes=changes)


def _link(base_url: str, external_id: str) -> str:
    return f"{base_url}/show/{external_id}"


def _day(text: str) -> date:
    return date.fromisoformat(text)
