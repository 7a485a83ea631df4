"""A Tryton in memory, as far as recording needs one: transactions on PostgreSQL as trytond makes them.

A transaction sees the database as it was when it began (*repeatable read*) and gives out its ids then; what it wrote is
seen once it commits, however much later. Where one that committed meanwhile has changed or deleted a row that it
changes too, it is begun anew, a few times. What may be changed of a row is what a stock Tryton 8.0 lets be changed:
`tests/erp/test_server_writers.py` asks a real one for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from blocks.erp.remote.calls import CallRefused, NotThere
from blocks.erp.tryton.client import Row

Key = tuple[str, int]
RETRIES = 5
"""How often trytond begins a transaction anew."""

REFUSED_AT_CREATE, REFUSED_AT_POST = "refused at create", "refused at post"
"""Texts on a line that have Tryton refuse the record."""

ATTACHMENT = "ir.attachment"
_BEGINNING = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(frozen=True)
class Stored:
    """A row as it was committed, by whom it was created, and `written`, the moment that Tryton calls `_timestamp`."""

    model: str
    id: int
    values: Mapping[str, Any]
    made_by: str
    created: int
    written: int


class Overtaken(Exception):
    """Another transaction has changed a row meanwhile, once more than trytond tries."""


Watcher = Callable[[Stored | None, Stored | None], None]


@dataclass
class Database:
    """What is committed. `watch` is told of every row that changes: as it was and as it is, None for none."""

    watch: Watcher
    rows: dict[Key, Stored] = field(default_factory=dict)
    clock: int = 0
    _ids: int = 0
    commits: int = 0

    def next_id(self) -> int:
        """An id that no row has, given out whether or not its transaction commits."""
        self._ids += 1
        return self._ids

    def tick(self) -> int:
        """The next moment."""
        self.clock += 1
        return self.clock

    def of(self, *models: str) -> list[Stored]:
        """The rows of these models, by id."""
        return sorted((one for one in self.rows.values() if one.model in models), key=lambda one: one.id)


Work = Callable[["Transaction"], Any]


class Transaction:
    """One call's transaction. `begin` computes its answer, `commit` makes it so."""

    def __init__(self, database: Database, work: Work, by: str) -> None:
        self._database = database
        self._work = work
        self._tries = 0
        self.by = by
        self.seen: dict[Key, Stored] = {}
        self._changed: dict[Key, Stored | None] = {}
        self.began = 0
        self.answer: Any = None
        self.refusal: CallRefused | None = None

    def begin(self) -> None:
        """See the database as it is now, and do the work on that."""
        self.seen = dict(self._database.rows)
        self._changed = {}
        self.began = self._database.tick()
        self.answer, self.refusal = None, None
        try:
            self.answer = self._work(self)
        except CallRefused as refusal:
            self._changed, self.refusal = {}, refusal

    def commit(self) -> bool:
        """Make it so; False where it had to be begun anew. Raises Overtaken."""
        rows = self._database.rows
        if any(rows.get(key) is not self.seen.get(key) for key in self._changed):
            self._tries += 1
            if self._tries > RETRIES:
                raise Overtaken
            self.begin()
            return False
        self._database.commits += bool(self._changed)
        for key, now in self._changed.items():
            before = rows.pop(key, None)
            if now is not None:
                rows[key] = now
            self._database.watch(before, now)
        return True

    @property
    def made(self) -> set[Key]:
        """The rows that were not there before it."""
        return {key for key, now in self._changed.items() if now is not None and key not in self.seen}

    def row(self, model: str, id_: int) -> Stored | None:
        """A row as this transaction sees it, its own changes among them."""
        key = model, id_
        return self._changed[key] if key in self._changed else self.seen.get(key)

    def visible(self, model: str) -> list[Stored]:
        """The rows of a model that it sees."""
        return sorted((one for one in self.seen.values() if one.model == model), key=lambda one: one.id)

    def put(self, model: str, id_: int, values: Mapping[str, Any]) -> None:
        """Have a row hold these values."""
        old = self.row(model, id_)
        made_by, created = (old.made_by, old.created) if old is not None else (self.by, self.began)
        self._changed[model, id_] = Stored(model, id_, values, made_by, created, self.began)

    def take(self, model: str, id_: int) -> None:
        """Take a row away."""
        self._changed[model, id_] = None

    def next_id(self) -> int:
        """An id for a new row."""
        return self._database.next_id()


def search(model: str, domain: Sequence[Any], fields: Sequence[str]) -> Work:
    """The rows of a domain, with all that is known of them; what they refer to as ids, where no dot leads on."""

    def work(transaction: Transaction) -> list[Row]:
        return [_read(one, fields) for one in transaction.visible(model) if _fits(one, domain)]

    return work


def create(model: str, vlist: Sequence[Row]) -> Work:
    """Rows of these values, all or none."""

    def work(transaction: Transaction) -> list[int]:
        made = []
        for values in vlist:
            if model == ATTACHMENT:
                owner, _, id_ = values["resource"].partition(",")
                if transaction.row(owner, int(id_)) is None:
                    raise CallRefused('A value is required for field "Resource".')
            if REFUSED_AT_CREATE in _texts(values):
                raise CallRefused("the values are not valid")
            number = transaction.next_id()
            lines = _with_commands(transaction, (), values.get("lines", ()))
            transaction.put(model, number, {**values, "lines": lines, "state": "draft"})
            made.append(number)
        return made

    return work


def write(model: str, changes: Sequence[tuple[int, Row]], *, rest: bool) -> Work:
    """Other values for rows. What is missing is told by REST alone."""

    def work(transaction: Transaction) -> None:
        for id_, values in changes:
            row = _there(transaction, model, id_, rest=rest)
            if row.values["state"] == "posted":
                raise CallRefused("You cannot modify posted move.")
            changed = {**row.values, **values}
            if "lines" in values:
                changed["lines"] = _with_commands(transaction, row.values["lines"], values["lines"])
            transaction.put(model, id_, changed)

    return work


def delete(model: str, id_: int, timestamp: str | None = None, *, rest: bool) -> Work:
    """A row less, and what hangs on it; only if it is as it was at that moment, where one is given."""

    def work(transaction: Transaction) -> None:
        row = _there(transaction, model, id_, rest=rest)
        if row.values["state"] == "posted":
            raise CallRefused("You cannot modify posted move.")
        if timestamp is not None and str(row.written) != timestamp:
            raise CallRefused("the record was changed meanwhile")
        transaction.take(model, id_)
        for one in transaction.visible(ATTACHMENT):
            if one.values["resource"] == f"{model},{id_}":
                transaction.take(ATTACHMENT, one.id)

    return work


def post(model: str, ids: Sequence[int], *, rest: bool) -> Work:
    """Post drafts, all or none. All who post number theirs by one sequence."""

    def work(transaction: Transaction) -> None:
        for id_ in ids:
            row = _there(transaction, model, id_, rest=rest)
            if row.values["state"] == "posted":
                raise CallRefused('You can not call "post".')
            if not row.values["lines"]:
                raise CallRefused("To post a move, you must fill in its lines.")
            if any(REFUSED_AT_POST in (line["description"] or "") for _, line in row.values["lines"]):
                raise CallRefused("it is not balanced")
            transaction.put(model, id_, {**row.values, "state": "posted"})
        transaction.put("ir.sequence.strict", 0, {"state": "", "lines": ()})

    return work


def _read(row: Stored, fields: Sequence[str]) -> Row:
    read: Row = {
        "origin": None,
        "party": None,
        "comment": None,
        "accounting_date": None,
        **row.values,
        "id": row.id,
        "create_date": _BEGINNING + timedelta(seconds=row.created),
        "_timestamp": str(row.written),
        "lines_to_pay": [],
        "taxes": [],
        "total_amount": Decimal(0),
        "period": {"state": "open"},
    }
    if "currency.code" in fields:
        read |= {"currency": {"code": "DKK"}, "account": _ACCOUNT}
    read["lines"] = [
        id_ if "lines" in fields else {**_NO_AMOUNTS, **line, "id": id_, "account": _ACCOUNT}
        for id_, line in row.values["lines"]
    ]
    return read


_ACCOUNT = {"id": 1, "code": "6010"}
_NO_AMOUNTS = {"party": None, "amount": Decimal(0), "second_currency": None, "amount_second_currency": None}


def _there(transaction: Transaction, model: str, id_: int, *, rest: bool) -> Stored:
    row = transaction.row(model, id_)
    if row is None:
        raise NotThere("nothing there") if rest else CallRefused("records that do not exist")
    return row


def _with_commands(
    transaction: Transaction, lines: Iterable[tuple[int, Row]], commands: Iterable[Sequence[Any]]
) -> tuple[tuple[int, Row], ...]:
    """Lines after what a `lines` field is written with. A line is deleted once: who comes later is refused."""
    now = dict(lines)
    for command in commands:
        match command:
            case ["create", [*made]]:
                now |= {transaction.next_id(): line for line in made}
            case ["delete", [*ids]]:
                for id_ in ids:
                    if now.pop(id_, None) is None:
                        raise CallRefused(f'You are trying to read records "{id_}" that don\'t exist.')
            case _:
                raise NotImplementedError(command)
    return tuple(now.items())


def _texts(values: Row) -> str:
    lines = [line for command in values.get("lines", ()) if command[0] == "create" for line in command[1]]
    return " ".join(line["description"] or "" for line in lines)


def _fits(row: Stored, domain: Sequence[Any]) -> bool:
    return all(_holds(row, *clause) for clause in domain)


def _holds(row: Stored, name: str, operator: str, value: Any) -> bool:
    has = row.id if name == "id" else row.values.get(name)
    match operator:
        case "=":
            return bool(has == value)
        case "in":
            return has in value
        case _:
            raise NotImplementedError(operator)
