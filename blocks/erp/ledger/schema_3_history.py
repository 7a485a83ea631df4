"""The history of each expense, a part of the third schema version: a table that is only added to.

Triggers write it, in the transaction of what it tells of, whoever writes to the file.
"""

from __future__ import annotations

from collections.abc import Sequence


def written_text(entry: str) -> str:
    """An expression for what a person can change in the entry of row `entry`, as one JSON text.

    It has `posting_date`, `description` and `lines`; a line is [account, debit, credit, tax code, text, dimensions as
    group=code]. Exchange differences, which settlements book, are not among them.
    """
    return f"""json_object('posting_date', {entry}.posting_date, 'description', {entry}.description, 'lines', json((
        SELECT json_group_array(json_array(account, debit_minor, credit_minor, tax_code, text, dimensions))
        FROM (SELECT w.account, w.debit_minor, w.credit_minor, w.tax_code, w.text, (
                SELECT group_concat(one, '; ') FROM (
                    SELECT dimension_group || '=' || code AS one FROM line_dimension
                    WHERE entry_id = w.entry_id AND line_no = w.line_no ORDER BY dimension_group, code)) AS dimensions
            FROM line AS w WHERE w.entry_id = {entry}.id AND w.settlement IS NULL ORDER BY w.line_no))))"""  # noqa: S608


def _told(event: str, at: str, entry: str, *, written: str = "NULL", detail: str = "'{}'", job: str = "''") -> str:
    """A statement of a trigger that writes what has happened to the entry in row `entry` into the history."""
    return f"""
    INSERT INTO history (at, accounting_entry_id, entry_id, job_id, event, written, detail)
        VALUES ({at}, {entry}.accounting_entry_id, {entry}.id, {job}, '{event}', {written}, {detail});"""  # noqa: S608


_NOW = "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')"
_HEADER = """json_object('state', {0}.state, 'posting_date', {0}.posting_date, 'currency', {0}.currency,
            'amount_minor', {0}.amount_minor, 'item_type', {0}.item_type{1})"""
HISTORY: Sequence[str] = (
    # What happened to each expense, in order; nothing is ever taken from it. `entry_id` is null for what Pleo was told
    # of an expense that has no entry. `written` is the entry as it was written, see `written_text`.
    """CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    accounting_entry_id TEXT NOT NULL CHECK (accounting_entry_id = lower(accounting_entry_id)),
    entry_id INTEGER REFERENCES entry (id),
    job_id TEXT NOT NULL DEFAULT '',
    event TEXT NOT NULL CHECK (event IN
        ('recorded', 'replaced', 'posted', 'reversed', 'deleted', 'receipt', 'settled', 'answered', 'handed_over')),
    written TEXT CHECK (written IS NULL OR json_valid(written)),
    detail TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail))
) STRICT""",
    "CREATE INDEX history_by_expense ON history (accounting_entry_id)",
    """CREATE TRIGGER history_is_added_to BEFORE INSERT ON history BEGIN
    SELECT RAISE (ABORT, 'what has happened cannot be changed')
        WHERE EXISTS (SELECT 1 FROM history WHERE id = NEW.id);
END""",
    """CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN
    SELECT RAISE (ABORT, 'what has happened cannot be changed');
END""",
    """CREATE TRIGGER history_remains BEFORE DELETE ON history BEGIN
    SELECT RAISE (ABORT, 'what has happened cannot be forgotten');
END""",
    # Of older books, what can still be told.
    f"""INSERT INTO history (at, accounting_entry_id, entry_id, job_id, event, written, detail)
    SELECT at, accounting_entry_id, id, job_id, event, written, detail FROM (
        SELECT recorded_at AS at, 1 AS step, accounting_entry_id, id, job_id, 'recorded' AS event,
            {written_text("entry")} AS written, {_HEADER.format("entry", "")} AS detail
        FROM entry
        UNION ALL
        SELECT a.attached_at, 2, e.accounting_entry_id, e.id, '', 'receipt', NULL,
            json_object('number', a.number, 'name', a.name, 'sha256', a.sha256)
        FROM attachment AS a JOIN entry AS e ON e.id = a.entry_id
        UNION ALL
        SELECT s.settled_at, 3, e.accounting_entry_id, e.id, '', 'settled', NULL,
            json_object('with', o.external_id)
        FROM settlement AS s JOIN entry AS e, entry AS o
            ON (e.id = s.entry_id AND o.id = s.settled_by_entry_id)
                OR (e.id = s.settled_by_entry_id AND o.id = s.entry_id AND e.id <> o.id)
    ) ORDER BY at, step, id""",  # noqa: S608  constants of ours
)

HISTORY_TRIGGERS: Sequence[str] = (
    f"""CREATE TRIGGER entry_recorded AFTER INSERT ON entry WHEN NEW.reverses IS NULL BEGIN
    {_told("recorded", "NEW.recorded_at", "NEW", written=written_text("NEW"), detail=_HEADER.format("NEW", ""),
           job="NEW.job_id")}
END""",
    """CREATE TRIGGER entry_reversed AFTER INSERT ON entry WHEN NEW.reverses IS NOT NULL BEGIN
    UPDATE entry SET in_force = 0 WHERE id = NEW.reverses;
    INSERT INTO history (at, accounting_entry_id, entry_id, job_id, event, detail)
        VALUES (NEW.recorded_at, NEW.accounting_entry_id, NEW.reverses, NEW.job_id, 'reversed',
            json_object('by', NEW.external_id, 'posting_date', NEW.posting_date));
END""",
    f"""CREATE TRIGGER entry_posted AFTER UPDATE ON entry WHEN OLD.state = 'draft' AND NEW.state = 'posted' BEGIN
    {_told("posted", f"coalesce(NEW.changed_at, {_NOW})", "NEW")}
END""",
    f"""CREATE TRIGGER entry_replaced AFTER UPDATE ON entry
WHEN OLD.changing IS NOT NULL AND NEW.changing IS NULL AND NEW.state = 'draft' BEGIN
    {_told("replaced", f"coalesce(NEW.changed_at, {_NOW})", "NEW", written=written_text("NEW"),
           detail=_HEADER.format("NEW", ", 'said_before', json(OLD.statement), 'says', json(NEW.statement)"),
           job="NEW.job_id")}
END""",
    f"""CREATE TRIGGER entry_deleted AFTER UPDATE ON entry WHEN OLD.state = 'draft' AND NEW.state = 'deleted' BEGIN
    {_told("deleted", f"coalesce(NEW.changed_at, {_NOW})", "NEW")}
END""",
    """CREATE TRIGGER attachment_told AFTER INSERT ON attachment BEGIN
    INSERT INTO history (at, accounting_entry_id, entry_id, event, detail)
        SELECT NEW.attached_at, e.accounting_entry_id, e.id, 'receipt',
            json_object('number', NEW.number, 'name', NEW.name, 'sha256', NEW.sha256)
        FROM entry AS e WHERE e.id = NEW.entry_id;
END""",
)  # fmt: skip
