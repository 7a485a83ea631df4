"""A company whose expenses change while its books are at work on them, beside a model of a few lines.

Every step does one thing: exports some expenses, changes one in Pleo, posts, reverses, deletes or edits an entry,
closes or opens a month, or changes the settings. An export may be killed at any call to the books: before it, after
it, or in its midst. After each step the file is read without the adapter and compared with the model.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from blocks.erp.choices import Attachments, ChangedExpense
from blocks.erp.entries import Answer, Entry, EntryState
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.ledger.schema_3_history import written_text
from blocks.erp.settings import ErpSettings
from blocks.pleo.items import ExportItem, parse_item
from blocks.pleo.models import ItemStatus
from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from flows.bookkeeping import BookingContext, book
from flows.recording import PagePart, Recording
from flows.session import Session
from flows.steps import plain_steps
from flows.steps.record import record_page
from flows.stop import Stop
from tests.support.erp.ledger_samples import edit_lines
from tests.support.exporting import page_of
from tests.support.pleo.pleo_items import Json, account, an_item, entry_id, line, money, vendor

T = TypeVar("T")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EXPENSES = 9
MONTHS = ("2026-09", "2026-10", "2026-11")
_LAST = {"2026-09": 30, "2026-10": 31, "2026-11": 30}
TAX = {"code": "I25", "rate": 0.25, "type": "inclusive", "ingoingTaxAccount": "7910"}


class Killed(BaseException):
    """The run is gone, as with `kill -9`."""


class KilledLedger(Ledger):
    """A ledger of which the run is killed at the `kill_at`-th call: before it, after it, or while it is written."""

    kill_at = 0
    when = "before"
    moments = 0
    """How far a call comes that is broken off in its midst, in units of SQLite's virtual machine."""

    async def _run(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if call.__name__ in ("_open", "_close"):
            return await super()._run(call, *args, **kwargs)
        self.kill_at -= 1
        if self.kill_at != 0:
            return await super()._run(call, *args, **kwargs)
        if self.when == "before":
            raise Killed
        books = self._books
        assert books is not None
        if self.when == "amid":
            left = self.moments

            def is_over() -> bool:
                nonlocal left
                left -= 1
                return left < 0

            await super()._run(books._connection.set_progress_handler, is_over, 25)
        try:
            await super()._run(call, *args, **kwargs)
        except Exception as error:  # it was broken off, and rolled back as the next who opens the file would do
            raise Killed from error
        finally:
            if self.when == "amid":
                await super()._run(books._connection.set_progress_handler, None, 0)
        raise Killed


@dataclass
class Standing:
    """An entry in force, by the model: what Pleo said when it was written, and what has become of it since."""

    said: Json
    external_id: str
    posted: bool
    balances: tuple[tuple[str, int], ...]
    edited: bool = False
    replaced: int = 0


@dataclass
class Company:
    """Pleo's expenses, the model, and the books in a file of `folder`."""

    folder: Path
    choose: random.Random
    expenses: dict[str, Json] = field(default_factory=dict)
    standing: dict[str, Standing] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    settings: ErpSettings = field(default_factory=lambda: ErpSettings(attachments=Attachments.SKIP))
    answers: set[tuple[str, str]] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    job: int = 0

    def __post_init__(self) -> None:
        self.path = self.folder / "books.sqlite"
        for number in range(1, EXPENSES + 1):
            self.expenses[entry_id(number)] = an_item(number, value=1000 * number)

    # -- what happens -----------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """One thing that somebody does, and a look at all that must be true after it."""
        acts: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self.export),
            (8, self.change),
            (2, self.post),
            (2, self.reverse),
            (1, self.delete),
            (1, self.edit),
            (1, self.close_or_open),
            (1, self.change_settings),
        ]
        (act,) = self.choose.choices([act for _, act in acts], [weight for weight, _ in acts])
        self.seen[act.__name__] += 1
        await act()
        if self.path.exists():
            self.check()

    async def export(self) -> None:
        ids = self.choose.sample(sorted(self.expenses), self.choose.randint(1, 5))
        self.job += 1
        if self.choose.random() < 0.4:
            try:
                await self._exported(ids, self.choose.randint(1, 6), self.choose.choice(["before", "amid", "after"]))
            except Killed:
                self.seen["killed"] += 1
        told = await self._exported(ids)
        expected = {id_: self._expect(id_) for id_ in ids}
        assert {id_: row.status == ItemStatus.SUCCESSFUL for id_, row in told.items()} == expected, told

    async def change(self) -> None:
        id_ = self.choose.choice(sorted(self.expenses))
        item = dict(self.expenses[id_])
        value = self.choose.randrange(100, 9000)
        more: list[Json] = [
            {"amount": money(value), "accountingEntryLines": [line(value)]},
            {"accountingEntryLines": [line(item["amount"]["inWalletCurrency"]["value"], account=account("6020"))]},
            {"amount": money(value), "accountingEntryLines": [self._taxed(value)]},
            {"type": self.choose.choice(["card_purchase", "personal_spend", "out_of_pocket"])},
            {"date": f"{self.choose.choice(MONTHS)}-{self.choose.choice(['05', '17'])}T10:00:00Z"},
            {"note": self.choose.choice(["coffee", "tea", None])},
            {
                "bookkeeping": {"method": self.choose.choice(["journal", "accounts_payable"])},
                "vendor": vendor(),
                "additionalInformation": {"invoiceInformation": {"invoiceNumber": f"N-{id_[-14:-12]}-{id_[-3:]}"}},
            },
        ]
        self.expenses[id_] = {**item, **self.choose.choice(more)}

    def _taxed(self, value: int) -> Json:
        tax = value // 5
        return line(value, netAmount=money(value - tax), tax={**TAX, "amount": money(tax)})

    async def post(self) -> None:
        if not self.standing:
            return
        id_ = self.choose.choice(sorted(self.standing))
        one = self.standing[id_]
        async with _Opened(self._ledger()) as ledger:
            refused = await ledger.post([id_])
        assert bool(refused) == (not one.posted and self._is_closed(one.said))
        one.posted = one.posted or not refused

    async def reverse(self) -> None:
        if not self.standing:
            return
        id_ = self.choose.choice(sorted(self.standing))
        one = self.standing[id_]
        async with _Opened(self._ledger()) as ledger:
            found = (await ledger.find([id_]))[id_]
            refused = await ledger.reverse([found], found.posting_date)
        assert bool(refused) == (not one.posted or self._is_closed(one.said))
        if not refused:
            del self.standing[id_]

    async def delete(self) -> None:
        if not self.standing:
            return
        id_ = self.choose.choice(sorted(self.standing))
        one = self.standing[id_]
        async with _Opened(self._ledger()) as ledger:
            assert ledger._books is not None
            refused = await ledger._run(ledger._books.delete_draft, one.external_id, NOW)
        assert bool(refused) == one.posted
        if not refused:
            del self.standing[id_]

    async def edit(self) -> None:
        drafts = sorted(id_ for id_, one in self.standing.items() if not one.posted and not one.edited)
        if drafts:
            one = self.standing[self.choose.choice(drafts)]
            edit_lines(self.path, f"UPDATE line SET text = 'mine' WHERE entry_id = {int(one.external_id[3:])}")
            one.edited = True

    async def close_or_open(self) -> None:
        self.closed ^= {self.choose.choice(MONTHS)}

    async def change_settings(self) -> None:
        self.settings = self.settings.model_copy(
            update={
                "posting": self.choose.choice(list(EntryState)),
                "changed_expense": self.choose.choice(list(ChangedExpense)),
                "out_of_pocket_account": self.choose.choice(["", "2920"]),
            }
        )

    # -- the model --------------------------------------------------------------------------------------------------

    def _expect(self, id_: str) -> bool:
        """Bring the model to where an export takes it, and tell whether the expense is a success."""
        now, one, settings = self.expenses[id_], self.standing.get(id_), self.settings
        posts, entry = settings.posting is EntryState.POSTED, self._booked(now)
        if one is None:
            return entry is not None and self._stands(id_, now, entry, posted=posts)
        facts, words = _facts(now) != _facts(one.said), now["note"] != one.said["note"]
        if facts and (one.edited or settings.changed_expense is ChangedExpense.FAIL or entry is None):
            return False
        if facts and one.posted:
            if settings.changed_expense is not ChangedExpense.REVERSE:
                return False
            assert entry is not None
            return self._stands(id_, now, entry, posted=posts)
        is_free = not one.posted and not one.edited and settings.changed_expense is not ChangedExpense.FAIL
        if facts or (words and is_free and entry is not None):
            assert entry is not None
            one.said, one.balances, one.replaced = now, entry.balances, one.replaced + 1
        if posts and not one.posted:
            one.posted = not self._is_closed(one.said)
            return one.posted
        return True

    def _stands(self, id_: str, said: Json, entry: Entry, *, posted: bool) -> bool:
        self.standing[id_] = Standing(said, "", posted, entry.balances)
        return True

    def _booked(self, document: Json) -> Entry | None:
        """What bookkeeping makes of it, on an open day."""
        item = parse_item(document)
        assert isinstance(item, ExportItem)
        made = book(item, self._context)
        return made if isinstance(made, Entry) else None

    def _is_closed(self, document: Json) -> bool:
        return document["date"][:7] in self.closed

    # -- the books --------------------------------------------------------------------------------------------------

    def _ledger(self, kind: type[Ledger] = Ledger) -> Ledger:
        periods = self.folder / "periods.csv"
        states = {month: "closed" if month in self.closed else "open" for month in MONTHS}
        rows = [f"{month}-01,{month}-{_LAST[month]},{state}" for month, state in states.items()]
        periods.write_text("\n".join(["first_date,last_date,state", *rows]) + "\n")
        return kind(self.path, clock=lambda: NOW, charts=ChartFiles(periods=periods))

    async def _exported(self, ids: list[str], kill_at: int = 0, when: str = "before") -> dict[str, Any]:
        """Export these expenses; the rows by id. Raises Killed at the `kill_at`-th call to the books."""
        ledger = self._ledger(KilledLedger)
        assert isinstance(ledger, KilledLedger)
        page = page_of({"data": [self.expenses[id_] for id_ in ids], "pagination": {"hasNextPage": False}})
        async with _Opened(ledger):
            reference = self.settings.applied_to(await ledger.load_reference())
            self._context = BookingContext(
                f"job-{self.job}", SANDBOX_COMPANY_ID, reference, ledger.describe(), self.settings, NOW.date()
            )
            ledger.kill_at, ledger.when, ledger.moments = kill_at, when, self.choose.randrange(1, 40)
            session = Session(
                cast(Any, None), cast(Any, None), ledger, plain_steps(), Stop(), settings=self.settings, now=lambda: NOW
            )
            rows: dict[str, Any] = {}
            left = ids
            for _ in range(4):
                recording = Recording(self._context, patience_s=60)
                done = await record_page(session, recording, PagePart(page, left, links_are_fresh=True), 1)
                rows |= {row.accounting_entry_id: row for row in done.rows}
                left = done.left
                if not left:
                    break
            assert not left
            told = [
                Answer(id_, f"job-{self.job}", row.status == ItemStatus.SUCCESSFUL, row.external_id or "", "no")
                for id_, row in rows.items()
            ]
            await ledger.note_answers(told)
            self.answers |= {(id_, f"job-{self.job}") for id_ in ids}
            return rows

    def check(self) -> None:
        """Compare the file with the model, by SQL alone."""
        with closing(sqlite3.connect(self.path)) as connection:
            self._check_entries(connection)
            self._check_sums(connection)
            self._check_history(connection)

    def _check_entries(self, connection: sqlite3.Connection) -> None:
        numbers, last = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM entry").fetchone()
        assert numbers == last, "numbers have a gap"
        in_force = connection.execute(
            "SELECT accounting_entry_id, external_id, state FROM entry WHERE in_force = 1"
        ).fetchall()
        assert len({id_ for id_, *_ in in_force}) == len(in_force), "an expense has two entries in force"
        states = {id_: state == "posted" for id_, _, state in in_force}
        assert states == {id_: one.posted for id_, one in self.standing.items()}
        names = {id_: name for id_, name, _ in in_force}
        for id_, one in self.standing.items():
            assert one.external_id in ("", names[id_]), "an entry has another number than it had"
            one.external_id = names[id_]
        assert not connection.execute("SELECT 1 FROM entry WHERE changing IS NOT NULL").fetchall()

    def _check_sums(self, connection: sqlite3.Connection) -> None:
        expected: Counter[str] = Counter()
        for one in self.standing.values():
            for code, minor in one.balances:
                expected[code] += minor
        journal = "SELECT account, sum(debit_minor - credit_minor) FROM journal GROUP BY account"
        sums = {code: minor for code, minor in connection.execute(journal) if minor}
        assert sums == {code: minor for code, minor in expected.items() if minor}
        assert sum(sums.values()) == 0
        taxes = "SELECT account, sum(debit_minor - credit_minor), sum(tax_base_minor * iif(credit_minor > 0, -1, 1)) "
        for code, tax, base in connection.execute(f"{taxes} FROM line WHERE is_tax = 1 GROUP BY account"):
            assert tax == sums.get(code, 0), "tax and trial balance differ"
            assert base is None or abs(base - 4 * tax) <= 4 * EXPENSES

    def _check_history(self, connection: sqlite3.Connection) -> None:
        events: dict[int, Counter[str]] = {}
        for number, event in connection.execute("SELECT entry_id, event FROM history WHERE entry_id IS NOT NULL"):
            events.setdefault(number, Counter())[event] += 1
        recorded = {
            number: json.loads(detail)["state"]
            for number, detail in connection.execute("SELECT entry_id, detail FROM history WHERE event = 'recorded'")
        }
        by_number = {int(one.external_id[3:]): one for one in self.standing.values()}
        for number, state, reverses, is_reversed in connection.execute(
            "SELECT id, state, reverses, EXISTS (SELECT 1 FROM entry AS r WHERE r.reverses = entry.id) FROM entry"
        ):
            told = events.get(number, Counter())
            assert told["recorded"] == (reverses is None)
            assert told["reversed"] == is_reversed
            assert told["deleted"] == (state == "deleted")
            assert told["posted"] == (state == "posted" and recorded.get(number) == "draft")
            if number in by_number:
                assert told["replaced"] == by_number[number].replaced
        answered = connection.execute("SELECT accounting_entry_id, job_id FROM history WHERE event = 'answered'")
        assert self.answers <= set(answered)
        differing = connection.execute(
            f"SELECT accounting_entry_id FROM entry WHERE in_force = 1 AND {written_text('entry')} IS NOT "
            "(SELECT written FROM history WHERE entry_id = entry.id AND written IS NOT NULL ORDER BY id DESC LIMIT 1)"
        )
        assert {id_ for (id_,) in differing} == {id_ for id_, one in self.standing.items() if one.edited}


class _Opened:
    """A ledger, open for the company; whatever happens, it is let go of."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __aenter__(self) -> Ledger:
        await self._ledger.open(SANDBOX_COMPANY_ID, dry_run=False)
        return self._ledger

    async def __aexit__(self, *_: object) -> None:
        await self._ledger.close()


def _facts(document: Json) -> Json:
    return {name: value for name, value in document.items() if name != "note"}


async def play(folder: Path, seed: int, steps: int) -> Counter[str]:
    """Let so many things happen; what did, by name."""
    company = Company(folder, random.Random(seed))
    for _ in range(steps):
        await company.step()
    return company.seen
