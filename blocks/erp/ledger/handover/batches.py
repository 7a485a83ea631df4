"""Batches in the books: which entries the next one has, the bytes of its file, and the files that are put out.

A batch is made in one transaction, its file's bytes in it, so that it is wholly there or not at all, and is the same
file under the same name whenever it is asked for. Its files are put out behind that: by temporary name and rename,
never over others, and once more at the next chance if the run was killed in between.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.ledger.charts import TaxKey
from blocks.erp.ledger.handover import csv_file, datev, sie4
from blocks.erp.ledger.handover.encoding import Encoder
from blocks.erp.ledger.handover.members import members
from blocks.erp.ledger.handover.settings import HandoverFormat, HandoverSettings
from blocks.erp.ledger.schema_3_settlement import company_value, line_currency

_PART = 1 << 20
_OPEN = """
    FROM entry AS e WHERE e.state = 'posted' AND e.posting_date >= ?
        AND NOT EXISTS (SELECT 1 FROM batch_entry WHERE format = ? AND entry_id = e.id)
"""
_TAKE = f"""
    INSERT INTO batch_entry (format, entry_id, number, receipts)
    SELECT ?, e.id, ?, (SELECT json_group_array(number) FROM (
        SELECT number FROM attachment WHERE entry_id = e.id ORDER BY number))
    {_OPEN} AND e.posting_date BETWEEN ? AND ? ORDER BY e.id
"""  # noqa: S608  constants of ours
_TOTALS = f"""
    SELECT {line_currency("l", "e")} AS currency, l.account, sum(l.debit_minor), sum(l.credit_minor)
    FROM batch_entry AS m CROSS JOIN entry AS e ON e.id = m.entry_id CROSS JOIN line AS l ON l.entry_id = e.id
    WHERE m.format = ? AND m.number = ? GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608  constants of ours
_COMPANY_TOTALS = f"""
    SELECT coalesce(e.company_currency, e.currency), l.account,
        sum(max({company_value("l")}, 0)), sum(max(-({company_value("l")}), 0))
    FROM batch_entry AS m CROSS JOIN entry AS e ON e.id = m.entry_id CROSS JOIN line AS l ON l.entry_id = e.id
    WHERE m.format = ? AND m.number = ? GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608  constants of ours
_COLUMNS = "format, number, name, first_date, last_date, entries, sha256, size, manifest, issued_at IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Plan:
    """What batches are made from: the settings, whose books these are, and what their amounts count."""

    settings: HandoverSettings
    company_id: str
    keys: Mapping[str, TaxKey]
    units: MinorUnits
    company_currency: str | None

    def currency(self, wanted: HandoverFormat) -> str:
        """The currency of a batch: the books', else the one that the format was made for."""
        return self.company_currency or {HandoverFormat.DATEV: "EUR", HandoverFormat.SIE4: "SEK"}.get(wanted, "")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was made. `manifest` is what people should know of it, `issued` whether its files were put out."""

    format: HandoverFormat
    number: int
    name: str
    first_date: date
    last_date: date
    entries: int
    sha256: str
    size: int
    manifest: dict[str, Any]
    issued: bool

    @property
    def key(self) -> tuple[str, int]:
        """What it is known by in the books."""
        return self.format.value, self.number


def keep_plan(connection: sqlite3.Connection, plan: Plan, folder: Path) -> None:
    """Keep by what batches are made, in the transaction that is open, for the bookkeeper's tool."""
    kept = {
        "settings": plan.settings.model_dump(mode="json"),
        "keys": {code: [key.key, key.automatic] for code, key in sorted(plan.keys.items())},
    }
    connection.execute(
        "INSERT INTO handover (id, settings, folder) VALUES (1, ?1, ?2) "
        "ON CONFLICT (id) DO UPDATE SET settings = ?1, folder = ?2 WHERE (settings, folder) IS NOT (?1, ?2)",
        (json.dumps(kept, ensure_ascii=False), str(folder.absolute())),
    )


def kept_plan(
    connection: sqlite3.Connection, company_id: str, units: MinorUnits, company_currency: str | None
) -> tuple[Plan, Path] | None:
    """By what the last run made batches, and where it put them; None where no run did."""
    row = connection.execute("SELECT settings, folder FROM handover").fetchone()
    if row is None:
        return None
    kept = json.loads(row[0])
    keys = {code: TaxKey(key, automatic) for code, (key, automatic) in kept["keys"].items()}
    settings = HandoverSettings.model_validate(kept["settings"])
    return Plan(settings, company_id, keys, units, company_currency), Path(row[1])


def batches(connection: sqlite3.Connection, *, only_open: bool = False) -> list[Batch]:
    """The batches that were made, by format and number; with `only_open` those whose files were not put out."""
    condition = "WHERE issued_at IS NULL" if only_open else ""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM batch {condition} ORDER BY format, number")  # noqa: S608
    return [_batch(row) for row in rows]


def find_batch(connection: sqlite3.Connection, wanted: HandoverFormat, number: int) -> Batch | None:
    """The batch of that number, or None."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM batch WHERE format = ? AND number = ?",  # noqa: S608
        (wanted.value, number),
    ).fetchone()
    return _batch(row) if row is not None else None


def open_periods(
    connection: sqlite3.Connection, wanted: HandoverFormat, plan: Plan, since: date
) -> list[tuple[date, date]]:
    """The periods that a batch of that format would be made for now: DATEV's are months, SIE's fiscal years."""
    days = [
        date.fromisoformat(day)
        for (day,) in connection.execute(
            f"SELECT DISTINCT e.posting_date {_OPEN} ORDER BY 1",
            (since.isoformat(), wanted.value),
        )
    ]
    if not days:
        return []
    match wanted:
        case HandoverFormat.DATEV:
            return sorted({_month(day) for day in days})
        case HandoverFormat.SIE4:
            return sorted({fiscal_year(day, plan.settings.sie4.fiscal_year_start) for day in days})
        case _:
            return [(days[0], days[-1])]


def make_batch(
    connection: sqlite3.Connection,
    wanted: HandoverFormat,
    plan: Plan,
    period: tuple[date, date],
    since: date,
    made_at: datetime,
) -> Batch:
    """Make the next batch, of that period, in the transaction that is open.

    Raises ErpConfigurationError for an entry that the format cannot take, sqlite3.Error.
    """
    format_ = wanted.value
    number: int = connection.execute(
        "SELECT coalesce(max(number), 0) + 1 FROM batch WHERE format = ?", (format_,)
    ).fetchone()[0]
    first, last = period[0].isoformat(), period[1].isoformat()
    taken = connection.execute(_TAKE, (format_, number, since.isoformat(), format_, first, last)).rowcount
    file = _File(connection, wanted, number, plan, period)
    digest, size = hashlib.sha256(), 0
    compressor = zlib.compressobj(6)
    part, waiting = 0, bytearray()
    for content in file.content():
        digest.update(content)
        size += len(content)
        waiting += compressor.compress(content)
        if len(waiting) >= _PART:
            part += 1
            _store_part(connection, (format_, number), part, waiting)
    waiting += compressor.flush()
    _store_part(connection, (format_, number), part + 1, waiting)
    name = _name(wanted, plan.company_id, number, period)
    manifest = file.manifest(name, taken, digest.hexdigest(), size)
    connection.execute(
        "INSERT INTO batch (format, number, name, first_date, last_date, entries, sha256, size, manifest, made_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (format_, number, name, first, last, taken, digest.hexdigest(), size,
         json.dumps(manifest, ensure_ascii=False), made_at.isoformat()),
    )  # fmt: skip
    made = find_batch(connection, wanted, number)
    assert made is not None  # noqa: S101 - it was just written
    return made


def note_issued(connection: sqlite3.Connection, batch: Batch, at: datetime) -> None:
    """Note that the batch's files were put out, in the transaction that is open. Raises sqlite3.Error."""
    connection.execute("UPDATE batch SET issued_at = ? WHERE format = ? AND number = ?", (at.isoformat(), *batch.key))


def content_of(connection: sqlite3.Connection, batch: Batch) -> Iterator[bytes]:
    """The bytes of a batch's file, in pieces."""
    reader = zlib.decompressobj()
    rows = connection.execute("SELECT content FROM batch_part WHERE format = ? AND number = ? ORDER BY part", batch.key)
    for (content,) in rows:
        waiting = content
        while waiting:
            yield reader.decompress(waiting, _PART)
            waiting = reader.unconsumed_tail
    yield reader.flush()


def fiscal_year(day: date, start: str) -> tuple[date, date]:
    """The fiscal year of a day, of years that begin on `start` (month and day, such as 07-01)."""
    month, first = map(int, start.split("-"))
    begin = date(day.year, month, first)
    if begin > day:
        begin = date(day.year - 1, month, first)
    return begin, date(begin.year + 1, month, first) - timedelta(days=1)


class _File:
    """The content of one batch's file."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        wanted: HandoverFormat,
        number: int,
        plan: Plan,
        period: tuple[date, date],
    ) -> None:
        self._connection = connection
        self._format = wanted
        self._key = (wanted.value, number)
        self._plan = plan
        self._period = period
        self._encoder = Encoder(_ENCODINGS.get(wanted) or plan.settings.csv.encoding)
        self._reversals = 0
        self._figures: dict[str, int] = {}

    def content(self) -> Iterator[bytes]:
        """The file in pieces."""
        match self._format:
            case HandoverFormat.DATEV:
                yield from self._datev()
            case HandoverFormat.SIE4:
                yield from self._sie4()
            case _:
                yield from self._csv()

    def manifest(self, name: str, entries: int, sha256: str, size: int) -> dict[str, Any]:
        """What is in the file, for people and programs; `content` comes first."""
        return {
            "format": self._format.value,
            "number": self._key[1],
            "file": name,
            "company_id": self._plan.company_id,
            "first_date": self._period[0].isoformat(),
            "last_date": self._period[1].isoformat(),
            "entries": entries,
            "reversals": self._reversals,
            **self._figures,
            "totals": self._totals(),
            "company_totals": self._totals(_COMPANY_TOTALS) if self._plan.company_currency else {},
            "sha256": sha256,
            "bytes": size,
            "replaced_characters": [
                {"character": character, "written_as": taken, "times": times}
                for (character, taken), times in sorted(self._encoder.replaced.items())
            ],
        }

    def _totals(self, sql: str = _TOTALS) -> dict[str, Any]:
        """Debit, credit and what each account comes to, by currency."""
        totals: dict[str, Any] = {}
        number = self._plan.units.number
        for currency, account, debit, credit in self._connection.execute(sql, self._key):
            one = totals.setdefault(currency, {"debit_minor": 0, "credit_minor": 0, "accounts": {}})
            one["debit_minor"] += debit
            one["credit_minor"] += credit
            one["accounts"][account] = number(debit - credit, currency)
        for currency, one in totals.items():
            one["debit"] = number(one.pop("debit_minor"), currency)
            one["credit"] = number(one.pop("credit_minor"), currency)
        return totals

    def _datev(self) -> Iterator[bytes]:
        chosen = self._plan.settings.datev
        writer = datev.DatevWriter(chosen, self._plan.keys, self._plan.currency(self._format), self._encoder)
        year = fiscal_year(self._period[0], chosen.fiscal_year_start)[0]
        yield writer.head(datev.Period(*self._period, year, self._key[1]))
        for member in members(self._connection, self._key):
            self._reversals += member.reverses is not None
            yield writer.entry(member)
        self._figures = {
            "rows": writer.rows,
            "without_amount": writer.without_amount,
            "lines_as_net_and_tax": writer.in_net_and_tax,
        }

    def _sie4(self) -> Iterator[bytes]:
        writer = sie4.Sie4Writer(self._plan.settings, self._plan.currency(self._format), self._encoder)
        writer.declare(members(self._connection, self._key))
        before: int = self._connection.execute(
            "SELECT coalesce(sum(entries), 0) FROM batch WHERE format = ? AND first_date = ?",
            (self._key[0], self._period[0].isoformat()),
        ).fetchone()[0]
        days = self._connection.execute(
            "SELECT max(e.posting_date) FROM batch_entry AS m JOIN entry AS e ON e.id = m.entry_id "
            "WHERE m.format = ? AND m.number = ?",
            self._key,
        )
        last = date.fromisoformat(days.fetchone()[0])
        yield writer.head(self._plan.company_id, last, self._period)
        for number, member in enumerate(members(self._connection, self._key), before + 1):
            self._reversals += member.reverses is not None
            yield writer.entry(member, number)
        self._figures = {"rows": writer.rows, "first_voucher": before + 1}

    def _csv(self) -> Iterator[bytes]:
        writer = csv_file.CsvWriter(self._plan.settings.csv, self._plan.units, self._encoder)
        yield writer.head()
        for member in members(self._connection, self._key):
            self._reversals += member.reverses is not None
            yield writer.entry(member)
        self._figures = {"rows": writer.rows}


_ENCODINGS = {HandoverFormat.DATEV: datev.ENCODING, HandoverFormat.SIE4: sie4.ENCODING}


def _store_part(connection: sqlite3.Connection, key: tuple[str, int], part: int, waiting: bytearray) -> None:
    connection.execute(
        "INSERT INTO batch_part (format, number, part, content) VALUES (?, ?, ?, ?)", (*key, part, bytes(waiting))
    )
    waiting.clear()


def _batch(row: tuple[Any, ...]) -> Batch:
    format_, number, name, first, last, entries, sha256, size, manifest, issued = row
    return Batch(
        format=HandoverFormat(format_),
        number=number,
        name=name,
        first_date=date.fromisoformat(first),
        last_date=date.fromisoformat(last),
        entries=entries,
        sha256=sha256,
        size=size,
        manifest=json.loads(manifest),
        issued=bool(issued),
    )


def _month(day: date) -> tuple[date, date]:
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def _name(wanted: HandoverFormat, company_id: str, number: int, period: tuple[date, date]) -> str:
    """The name of a batch's file. DATEV's have to begin with EXTF."""
    of = f"{company_id[:8]}_{number:06d}"
    match wanted:
        case HandoverFormat.DATEV:
            return f"EXTF_{of}_{period[0]:%Y-%m}.csv"
        case HandoverFormat.SIE4:
            return f"{of}_{period[0]:%Y}.si"
        case _:
            return f"{of}.csv"


def folder_beside(ledger: Path) -> Path:
    """The folder of the batches where the settings name none."""
    return ledger.with_name(f"{ledger.name.removesuffix('.sqlite')}-handover")
