"""Batches of entries that were handed over as files, a part of the third schema version.

A batch comes into being in one transaction: its members and the parts of its file first, then itself, when its trigger
looks at all that belongs to it. From then on it stays as it is, but for the time at which its files were put out.
"""

from __future__ import annotations

from collections.abc import Sequence

_FORMATS = "('datev', 'sie4', 'csv')"
_NEXT = "(SELECT coalesce(max(number), 0) + 1 FROM batch WHERE format = NEW.format)"


def _never(table: str, event: str, what: str) -> str:
    return f"""CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} BEGIN
    SELECT RAISE (ABORT, '{what} stays as it was handed over');
END"""


BATCHES: Sequence[str] = (
    # By which settings batches are made: those of the last run, for the bookkeeper's tool.
    """CREATE TABLE handover (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    settings TEXT NOT NULL CHECK (json_valid(settings)),
    folder TEXT NOT NULL
) STRICT""",
    # `sha256` and `size` are those of its file `name`, `manifest` what people should know of it.
    f"""CREATE TABLE batch (
    format TEXT NOT NULL CHECK (format IN {_FORMATS}),
    number INTEGER NOT NULL CHECK (number > 0),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    first_date TEXT NOT NULL,
    last_date TEXT NOT NULL CHECK (last_date >= first_date),
    entries INTEGER NOT NULL CHECK (entries > 0),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
    size INTEGER NOT NULL CHECK (size > 0),
    manifest TEXT NOT NULL CHECK (json_valid(manifest)),
    made_at TEXT NOT NULL,
    issued_at TEXT,
    PRIMARY KEY (format, number)
) STRICT, WITHOUT ROWID""",
    # The entries of a batch, each with the numbers of the receipts that it had then, as a JSON array.
    """CREATE TABLE batch_entry (
    format TEXT NOT NULL,
    entry_id INTEGER NOT NULL REFERENCES entry (id),
    number INTEGER NOT NULL,
    receipts TEXT NOT NULL CHECK (json_valid(receipts)),
    PRIMARY KEY (format, entry_id),
    FOREIGN KEY (format, number) REFERENCES batch (format, number) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX batch_entry_by_batch ON batch_entry (format, number)",
    # The bytes of a batch's file, compressed, so that it can be written again whatever is renamed since.
    """CREATE TABLE batch_part (
    format TEXT NOT NULL,
    number INTEGER NOT NULL,
    part INTEGER NOT NULL CHECK (part > 0),
    content BLOB NOT NULL,
    PRIMARY KEY (format, number, part),
    FOREIGN KEY (format, number) REFERENCES batch (format, number) DEFERRABLE INITIALLY DEFERRED
) STRICT""",
    f"""CREATE TRIGGER batch_entry_in_order BEFORE INSERT ON batch_entry BEGIN
    SELECT RAISE (ABORT, 'only the next batch takes entries') WHERE NEW.number <> {_NEXT};
    SELECT RAISE (ABORT, 'an entry is handed over once')
        WHERE EXISTS (SELECT 1 FROM batch_entry WHERE format = NEW.format AND entry_id = NEW.entry_id);
    SELECT RAISE (ABORT, 'only what is posted is handed over')
        WHERE NOT EXISTS (SELECT 1 FROM entry WHERE id = NEW.entry_id AND state = 'posted');
END""",  # noqa: S608  constants of ours
    f"""CREATE TRIGGER batch_part_in_order BEFORE INSERT ON batch_part BEGIN
    SELECT RAISE (ABORT, 'only the next batch is written') WHERE NEW.number <> {_NEXT};
END""",
    f"""CREATE TRIGGER batch_in_order BEFORE INSERT ON batch BEGIN
    SELECT RAISE (ABORT, 'batches are numbered without a gap') WHERE NEW.number <> {_NEXT};
    SELECT RAISE (ABORT, 'the batch has other entries than it says')
        WHERE NEW.entries <> (SELECT count(*) FROM batch_entry WHERE format = NEW.format AND number = NEW.number);
END""",  # noqa: S608  constants of ours
    """CREATE TRIGGER batch_stays BEFORE UPDATE ON batch
WHEN NEW.issued_at IS NULL OR OLD.issued_at IS NOT NULL
    OR (NEW.format, NEW.number, NEW.name, NEW.first_date, NEW.last_date, NEW.entries, NEW.sha256, NEW.size,
        NEW.manifest, NEW.made_at) IS NOT (OLD.format, OLD.number, OLD.name, OLD.first_date, OLD.last_date,
        OLD.entries, OLD.sha256, OLD.size, OLD.manifest, OLD.made_at) BEGIN
    SELECT RAISE (ABORT, 'a batch stays as it was handed over');
END""",
    _never("batch", "DELETE", "a batch"),
    *(
        _never(table, event, what)
        for table, what in (("batch_entry", "an entry of a batch"), ("batch_part", "a part of a batch"))
        for event in ("UPDATE", "DELETE")
    ),
    """CREATE TRIGGER batch_told AFTER INSERT ON batch BEGIN
    INSERT INTO history (at, accounting_entry_id, entry_id, event, detail)
        SELECT NEW.made_at, e.accounting_entry_id, e.id, 'handed_over',
            json_object('format', NEW.format, 'batch', NEW.number, 'file', NEW.name)
        FROM batch_entry AS m JOIN entry AS e ON e.id = m.entry_id
        WHERE m.format = NEW.format AND m.number = NEW.number ORDER BY e.id;
END""",
)
