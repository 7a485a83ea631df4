"""What is recorded in a simulated Tryton, and the run that does it, with the real parts of the adapter."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import (
    Account,
    AccountKind,
    Attachment,
    Bill,
    Document,
    DocumentKind,
    Entry,
    EntryState,
    JournalEntry,
    Line,
    Vendor,
)
from blocks.erp.errors import ErpOutcomeUnknown, RefusalKind, Refused
from blocks.erp.remote.calls import CallRefused, NotThere
from blocks.erp.remote.names import Currency, Journal
from blocks.erp.tryton.claims import Writer
from blocks.erp.tryton.directory import AccountingPeriod, Directory, LedgerAccount, Party
from blocks.erp.tryton.finder import Finder
from blocks.erp.tryton.payloads import EntryPayload, payload_of
from blocks.erp.tryton.records import Model, RecordKey, RecordRole, chosen
from blocks.erp.tryton.stock_recorder import PendingEntry, StockRecorder
from tests.support.erp.tryton.simulated_runs import RECORDS, Attempt, Faults, SimulatedClient, Violation, World, counts
from tests.support.erp.tryton.simulated_runs import Writer as SimulatedWriter
from tests.support.erp.tryton.simulated_server import REFUSED_AT_CREATE, REFUSED_AT_POST, Stored

DAY = date(2026, 10, 5)
COST = Account("6010", "Travel", AccountKind.EXPENSE)
WALLET = Account("5820", "Pleo wallet", AccountKind.ASSET)
PAYABLE = Account("2900", "Accounts payable", AccountKind.LIABILITY)
SUPPLIER = Vendor("V1", "DSB", PAYABLE)
DKK = Currency(1, "DKK", 2)
DIRECTORY = Directory(
    company_id=1,
    company_name="Acme ApS",
    currency=DKK,
    currencies={"DKK": DKK},
    accounts={
        "6010": LedgerAccount(1, COST),
        "5820": LedgerAccount(2, WALLET),
        "2900": LedgerAccount(3, PAYABLE, party_required=True),  # found as payable it would only be settled, too
    },
    parties={"V1": Party(1, 1)},
    journals={"GENERAL": Journal(1, "general")},
    periods=(AccountingPeriod(1, date(2026, 10, 1), date(2026, 10, 31), is_open=True),),
)
MAX_ATTACHMENT_BYTES = 1000
UNITS = MinorUnits.HUNDREDTHS


def entry_id(seed: int, number: int) -> str:
    """The id of an expense."""
    return str(uuid.UUID(int=seed * 1000 + number))


def a_purchase(id_: str, state: EntryState, text: str = "", **changes: Any) -> JournalEntry:
    """One move."""
    lines = (Line(COST, 1250, text=text), Line(WALLET, 0, 1250, counter=True))
    return JournalEntry(**_head(id_, state), **changes, lines=lines, journal="GENERAL")


def a_bill(id_: str, state: EntryState, text: str = "", *, paid: bool = True, **changes: Any) -> Bill:
    """A supplier invoice, and the move that pays it; `text` is on the last of them."""
    cost = Line(COST, 1250, text="" if paid else text)
    documents = [
        Document(kind=DocumentKind.BILL, journal="GENERAL", owed_minor=1250, lines=(cost, Line(PAYABLE, 0, 1250)))
    ]
    if paid:
        pays = (Line(PAYABLE, 1250), Line(WALLET, 0, 1250, counter=True, text=text))
        documents.append(Document(kind=DocumentKind.PAYMENT, journal="GENERAL", owed_minor=-1250, lines=pays))
    return Bill(**_head(id_, state), **changes, vendor=SUPPLIER, payable=PAYABLE, documents=tuple(documents))


def a_receipt(folder: Path) -> Attachment:
    """A file that lies there."""
    content = b"%PDF-1.7 receipt"
    path = folder / "receipt"
    if not path.exists():
        path.write_bytes(content)
    return Attachment(
        1, "receipt.pdf", "application/pdf", len(content), hashlib.sha256(content).hexdigest(), folder / "receipt"
    )


@dataclass(frozen=True)
class Parts:
    """The parts of the adapter that a run is put together of; a test may put a wrong one in place of a right one."""

    recorder: Callable[..., StockRecorder] = StockRecorder
    writer: Callable[..., Writer] = Writer


@dataclass(frozen=True)
class Mode:
    """How a company's runs record: posted or as drafts, with user and password or with the key alone."""

    posted: bool
    password: bool

    def __str__(self) -> str:
        return f"{'posted' if self.posted else 'drafts'}, {'password' if self.password else 'key alone'}"

    @property
    def state(self) -> EntryState:
        """What is to become of an entry."""
        return EntryState.POSTED if self.posted else EntryState.DRAFT


MODES = [Mode(posted, password) for posted in (True, False) for password in (True, False)]


def a_run(entries: Sequence[Entry], parts: Parts) -> Attempt:
    """What the export does with a page: look all up, record what is missing, post what was left a draft, and read what
    it reports back from the books."""

    async def run(client: SimulatedClient, world: World) -> dict[str, str | Refused]:
        finder = Finder(client, DIRECTORY, UNITS, list(Model), by_module=False)  # type: ignore[arg-type]
        ids = [entry.accounting_entry_id for entry in entries]
        found = await finder.find(ids)
        told: dict[str, str | Refused] = {}
        missing = [payload_of(entry, DIRECTORY, UNITS) for entry in entries]
        missing = [one for one in missing if one.entry.accounting_entry_id not in found]
        for post in (False, True):
            pending = [PendingEntry(one) for one in missing if one.post is post]
            writer = parts.writer(client, post=post)
            await parts.recorder(client, finder, writer, _explain, MAX_ATTACHMENT_BYTES, world.nap).record(pending)
            for one in pending:
                assert one.refused is not None or one.is_done
                told[one.id_] = one.refused or one.by_role[RecordRole.MAIN].external_id
        late = [
            one.accounting_entry_id
            for one in entries
            if one.state is EntryState.POSTED
            and (stands := found.get(one.accounting_entry_id)) is not None
            and stands.state is EntryState.DRAFT
        ]
        if late:
            seen = [chosen(records) for records in (await finder.read(late)).values()]
            drafts = [one for several in seen for one in several.values() if one.state is EntryState.DRAFT]
            async for _, refused in parts.writer(client, post=True).claim(drafts):
                assert refused is None or isinstance(refused, NotThere) or "post" in str(refused), refused
        stands_now = await finder.find([id_ for id_ in ids if not isinstance(told.get(id_), Refused)])
        for id_ in ids:
            if isinstance(told.get(id_), Refused):
                continue
            if id_ not in stands_now:
                raise ErpOutcomeUnknown(f"{told.get(id_)} is not found, just recorded")
            if told.setdefault(id_, stands_now[id_].external_id) != stands_now[id_].external_id:
                raise AssertionError(f"{told[id_]} was recorded, and {stands_now[id_].external_id} stands")
        return told

    return run


async def _explain(payload: EntryPayload, error: CallRefused) -> Refused:
    return Refused(payload.entry.accounting_entry_id, RefusalKind.OTHER, "entry", str(error))


@dataclass
class Scene:
    """A world with its writers, and what is known of its expenses: those that Tryton refuses, and all others, each with
    the keys of its records in any writer's eyes."""

    world: World
    mode: Mode
    good: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    keys: set[RecordKey] = field(default_factory=set)

    def play(self) -> Scene:
        """Let it come to its end, and look whether that is as it should be. Raises Violation."""
        world = self.world
        world.go_on()
        unknown = {key for transaction in world.unanswered for key in transaction.made}
        for row in self.left_over():
            if row.made_by not in world.broken_off and (row.model, row.id) not in unknown:
                raise Violation(f"{row.made_by} came to its end and left {row.model},{row.id}")
        if refused := self.good & world.refusals.keys():
            raise Violation(f"refused without need: {[world.refusals[id_][0].message for id_ in sorted(refused)]}")
        if reported := self.bad & world.reports.keys():
            raise Violation(f"reported in spite of everything: {reported}")
        for key in self.keys:
            if key.accounting_entry_id in self.good and not world.counting(key):
                raise Violation(f"nothing counts for {key}")
        return self

    def left_over(self) -> list[Stored]:
        """The records that count for nothing."""
        return [row for row in self.world.database.of(*RECORDS) if not counts(row)]


def a_scene(
    seed: int, mode: Mode, folder: Path, *, faults: bool = True, parts: Parts | None = None, sound: bool = True
) -> Scene:
    """Two to four writers with the same and with overlapping expenses of every kind. With `sound` no expense is one
    that Tryton refuses."""
    choose = random.Random(f"{seed} {mode}")
    world = World(
        seed,
        Faults(choose.choice([2, 5, 10]), choose.choice([0.005, 0.02, 0.05]), choose.choice([0.0, 0.05, 0.15]))
        if faults
        else Faults(),
    )
    scene = Scene(world, mode)
    entries = [_any_entry(choose, entry_id(seed, n), mode.state, folder, sound) for n in range(choose.randint(1, 4))]
    for entry, is_good in entries:
        (scene.good if is_good else scene.bad).add(entry.accounting_entry_id)
    receipts = {entry.accounting_entry_id for entry, _ in entries if entry.attachments_required}
    world.receipts = frozenset(receipts)
    for n in range(choose.choice([2, 2, 3, 4])):
        some = [entry for entry, _ in entries if n < 2 or choose.random() < 0.7]
        choose.shuffle(some)
        if choose.random() < 0.1:  # the vendor was mended in between: one sees a purchase, the other a bill
            some = [_seen_otherwise(entry) if entry.accounting_entry_id in scene.good else entry for entry in some]
        if choose.random() < 0.1 and sound:  # and so was the setting for posting
            some = [replace(entry, state=choose.choice(list(EntryState))) for entry in some]
        scene.keys |= {payload.key for entry in some for payload in payload_of(entry, DIRECTORY, UNITS).records}
        world.writers.append(SimulatedWriter(f"w{n}", a_run(some, parts or Parts()), mode.password))
    return scene


def _any_entry(choose: random.Random, id_: str, state: EntryState, folder: Path, sound: bool) -> tuple[Entry, bool]:
    required: dict[str, Any] = {}
    if choose.random() < 0.25:
        required = {"attachments": (a_receipt(folder),), "attachments_required": True}
    wrong = "" if sound or choose.random() < 0.6 else choose.choice([REFUSED_AT_CREATE, REFUSED_AT_POST])
    is_good = not wrong or (wrong == REFUSED_AT_POST and state is EntryState.DRAFT)
    kind = choose.random()
    if kind < 0.5:
        return a_purchase(id_, state, wrong, **required), is_good
    return a_bill(id_, state, wrong, paid=kind < 0.85, **required), is_good


def _seen_otherwise(entry: Entry) -> Entry:
    if isinstance(entry, Bill) and len(entry.documents) > 1:
        return entry
    other = a_purchase if isinstance(entry, Bill) else a_bill
    made = other(entry.accounting_entry_id, entry.state, **({} if other is a_purchase else {"paid": False}))
    return replace(made, attachments=entry.attachments, attachments_required=entry.attachments_required)


def _head(id_: str, state: EntryState) -> dict[str, Any]:
    return {
        "accounting_entry_id": id_,
        "job_id": "job-1",
        "company_id": "company-1",
        "item_type": "card_purchase",
        "posting_date": DAY,
        "original_date": DAY,
        "currency": "DKK",
        "amount_minor": 1250,
        "description": "Expense",
        "reference": "",
        "state": state,
    }
