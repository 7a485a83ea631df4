"""Settlement in the third schema version: documents that come to nothing together, and the exchange differences left.

A settlement is written in moves of one transaction: its documents first, under the next free number, then the row in
`settlement`, whose trigger sees all of them and refuses what does not come to nothing. It names the entry that was
posted last. What is left in the company's currency, as rates were different ones, the trigger books itself, as two
lines of that entry that stand in the company's currency whatever the entry's own is.

It holds as long as the entry that it names is in force: with that one reversed, its documents are open again, and may
be settled by another. Therefore no other of its entries can be reversed before.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_DOCUMENTS = 9
"""How many documents one settlement has at most: as many of the largest amounts can be added up in 64 bits."""


def line_currency(line: str, entry: str) -> str:
    """SQL for the currency of a line's debit and credit."""
    return f"iif({line}.settlement IS NULL, {entry}.currency, coalesce({entry}.company_currency, {entry}.currency))"


def company_value(line: str) -> str:
    """SQL for a line's debit less credit in the currency that the books are kept in."""
    own = f"iif({line}.credit_minor > 0, -{line}.company_minor, {line}.company_minor)"
    return f"coalesce({own}, {line}.debit_minor - {line}.credit_minor)"


def settled(document: str) -> str:
    """The condition that the row `document` of the table of that name is settled."""
    return f"""EXISTS (SELECT 1 FROM settled_document AS m JOIN settlement AS s ON s.number = m.settlement
        JOIN entry AS settling ON settling.id = s.entry_id
        WHERE m.entry_id = {document}.entry_id AND m.document_no = {document}.document_no AND settling.in_force = 1)"""  # noqa: S608


def settled_by_another(entry_id: str) -> str:
    """The condition that a document of that entry is settled by an entry that was posted after it."""
    return f"""EXISTS (SELECT 1 FROM settled_document AS m JOIN settlement AS s ON s.number = m.settlement
        JOIN entry AS settling ON settling.id = s.entry_id
        WHERE m.entry_id = {entry_id} AND s.entry_id <> {entry_id} AND settling.in_force = 1)"""  # noqa: S608


def invoice_currency(entry: str) -> str:
    """SQL for the currency that a supplier asked for, else that of the entry."""
    return f"coalesce({entry}.supplier_currency, {entry}.currency)"


def invoice_minor(document: str, entry: str) -> str:
    """SQL for what a document owes in that currency, where it is the only one of its entry."""
    return f"""iif(coalesce({entry}.supplier_currency, {entry}.currency) = {entry}.currency, {document}.owed_minor,
        iif({document}.owed_minor < 0, -1, 1) * abs({entry}.supplier_minor))"""


_PAYABLE_LINES = f"""(SELECT coalesce(sum({company_value("l")}), 0) FROM line AS l
        WHERE l.entry_id = d.entry_id AND l.document_no = d.document_no AND l.account = d.payable_account)"""  # noqa: S608
_MEMBERS = """FROM settled_document AS m
        JOIN document AS d ON d.entry_id = m.entry_id AND d.document_no = m.document_no
        JOIN entry AS e ON e.id = d.entry_id WHERE m.settlement = NEW.number"""
_PAYABLE = f"(SELECT d.payable_account {_MEMBERS} LIMIT 1)"
_CLOSED_DAY = """EXISTS (SELECT 1 FROM period
            WHERE state = 'closed' AND {0}.posting_date BETWEEN first_date AND last_date)
        OR (EXISTS (SELECT 1 FROM chart WHERE kind = 'periods')
            AND NOT EXISTS (SELECT 1 FROM period WHERE {0}.posting_date BETWEEN first_date AND last_date))"""


def closed_day(entry: str) -> str:
    """The condition that the posting date of that entry is in no open period."""
    return _CLOSED_DAY.format(entry)


def is_expected_difference(line: str) -> str:
    """The condition that a line is the next one by which its settlement books what is left."""
    signed = f"{line}.debit_minor - {line}.credit_minor"
    return f"""EXISTS (SELECT 1 FROM settlement AS s
        WHERE s.number = {line}.settlement AND s.entry_id = {line}.entry_id AND s.exchange_minor <> 0
            AND {line}.counter = 0 AND {line}.is_tax = 0 AND {line}.tax_code IS NULL
            AND CASE (SELECT count(*) FROM line WHERE entry_id = s.entry_id AND settlement = s.number)
                WHEN 0 THEN {signed} = s.exchange_minor AND {line}.account = (
                    SELECT d.payable_account FROM settled_document AS m JOIN document AS d
                        ON d.entry_id = m.entry_id AND d.document_no = m.document_no
                    WHERE m.settlement = s.number LIMIT 1)
                WHEN 1 THEN {signed} = -s.exchange_minor AND {line}.account = s.exchange_account
                ELSE 0 END)"""  # noqa: S608


def _difference(account: str, minor: str) -> str:
    return f"""
    INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text, company_minor, document_no,
        settlement)
    SELECT NEW.entry_id, (SELECT max(line_no) + 1 FROM line WHERE entry_id = NEW.entry_id), {account},
        max(0, {minor}), max(0, -({minor})), 0, 'Exchange difference',
        iif(coalesce(e.company_currency, e.currency) <> e.currency, abs({minor}), NULL),
        (SELECT min(document_no) FROM settled_document WHERE settlement = NEW.number AND entry_id = NEW.entry_id),
        NEW.number
    FROM entry AS e WHERE e.id = NEW.entry_id;"""  # noqa: S608


SETTLEMENT: Sequence[str] = (
    "DROP TRIGGER settlement_stays",
    "DROP TRIGGER settlement_remains",
    """CREATE TABLE settled_document (
    settlement INTEGER NOT NULL REFERENCES settlement_anew (number) DEFERRABLE INITIALLY DEFERRED,
    entry_id INTEGER NOT NULL,
    document_no INTEGER NOT NULL,
    PRIMARY KEY (settlement, entry_id, document_no),
    FOREIGN KEY (entry_id, document_no) REFERENCES document (entry_id, document_no)
) STRICT, WITHOUT ROWID""",
    # `exchange_minor` is what the payable account is debited with: a gain, or below 0 a loss.
    """CREATE TABLE settlement_anew (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    entry_id INTEGER NOT NULL REFERENCES entry (id),
    settled_at TEXT NOT NULL,
    exchange_minor INTEGER NOT NULL DEFAULT 0,
    exchange_account TEXT REFERENCES account (code),
    CHECK ((exchange_minor = 0) = (exchange_account IS NULL))
) STRICT""",
    """INSERT INTO settlement_anew (number, entry_id, settled_at)
    SELECT row_number() OVER (ORDER BY settled_at, entry_id, document_no), max(entry_id, settled_by_entry_id),
        settled_at
    FROM settlement""",
    """INSERT INTO settled_document (settlement, entry_id, document_no)
    WITH old AS (SELECT row_number() OVER (ORDER BY settled_at, entry_id, document_no) AS number, * FROM settlement)
    SELECT number, entry_id, document_no FROM old
    UNION ALL SELECT number, settled_by_entry_id, settled_by_document_no FROM old""",
    "DROP TABLE settlement",
    "ALTER TABLE settlement_anew RENAME TO settlement",
    "CREATE INDEX settled_document_by_document ON settled_document (entry_id, document_no)",
    "CREATE INDEX settlement_by_entry ON settlement (entry_id)",
    # Where exchange differences go, as the last run that named accounts said.
    "ALTER TABLE company ADD COLUMN exchange_gain_account TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE company ADD COLUMN exchange_loss_account TEXT NOT NULL DEFAULT ''",
)
"""The tables, made of those of the second version."""

SETTLEMENT_TRIGGERS: Sequence[str] = (
    """CREATE TRIGGER settled_document_before_settlement BEFORE INSERT ON settled_document BEGIN
    SELECT RAISE (ABORT, 'a settlement that stands takes no more documents')
        WHERE NEW.settlement <> (SELECT coalesce(max(number), 0) + 1 FROM settlement);
    SELECT RAISE (ABORT, 'a document is settled once')
        WHERE EXISTS (SELECT 1 FROM settled_document WHERE settlement = NEW.settlement
                      AND entry_id = NEW.entry_id AND document_no = NEW.document_no);
END""",
    f"""CREATE TRIGGER settlement_in_order BEFORE INSERT ON settlement BEGIN
    SELECT RAISE (ABORT, 'settlements are numbered without a gap')
        WHERE NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM settlement);
    SELECT RAISE (ABORT, 'a document is settled once')
        WHERE EXISTS (SELECT 1 {_MEMBERS} AND {settled("d")});
    SELECT RAISE (ABORT, 'these documents do not settle each other')
        WHERE NOT EXISTS (
            SELECT 1 {_MEMBERS}
            GROUP BY m.settlement
            HAVING count(*) BETWEEN 2 AND {MOST_DOCUMENTS}
                AND min(e.state = 'posted' AND e.in_force = 1) = 1
                AND max(e.id = NEW.entry_id) = 1
                AND count(DISTINCT d.payable_account) = 1
                AND CASE WHEN count(DISTINCT d.entry_id) = 1
                    THEN count(*) = 2 AND min(d.paired_with IS NOT NULL) = 1
                        AND max(d.paired_with) = max(d.document_no) AND sum(d.owed_minor) = 0
                    ELSE min(d.paired_with IS NULL AND d.stays_open = 0 AND d.vendor IS NOT NULL
                            AND d.invoice_number <> '') = 1
                        AND count(DISTINCT d.vendor) = 1 AND count(DISTINCT d.invoice_number) = 1
                        AND (count(DISTINCT e.currency) = 1
                            OR NOT EXISTS (SELECT 1 FROM company WHERE company_currency IS NULL))
                        AND ((count(DISTINCT e.currency) = 1 AND sum(d.owed_minor) = 0)
                            OR (count(DISTINCT {invoice_currency("e")}) = 1
                                AND sum({invoice_minor("d", "e")}) = 0
                                AND min((SELECT count(*) FROM document WHERE entry_id = d.entry_id)) = 1
                                AND max((SELECT count(*) FROM document WHERE entry_id = d.entry_id)) = 1)) END);
    SELECT RAISE (ABORT, 'a settlement comes to nothing, with what it books of it')
        WHERE (SELECT sum({_PAYABLE_LINES}) {_MEMBERS}) IS NOT -NEW.exchange_minor;
    SELECT RAISE (ABORT, 'unknown_account: there is no such account')
        WHERE NEW.exchange_account = {_PAYABLE}
            OR (NEW.exchange_minor <> 0
                AND NOT EXISTS (SELECT 1 FROM account WHERE code = NEW.exchange_account AND active = 1));
    SELECT RAISE (ABORT, 'an entry that was handed over takes no exchange difference')
        WHERE NEW.exchange_minor <> 0
            AND EXISTS (SELECT 1 FROM batch_entry WHERE entry_id = NEW.entry_id);
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in a closed period')
        WHERE NEW.exchange_minor <> 0
            AND EXISTS (SELECT 1 FROM entry AS e WHERE e.id = NEW.entry_id AND ({closed_day("e")}));
END""",  # noqa: S608  constants of ours
    f"""CREATE TRIGGER settlement_books_difference AFTER INSERT ON settlement WHEN NEW.exchange_minor <> 0 BEGIN
    {_difference(_PAYABLE, "NEW.exchange_minor")}
    {_difference("NEW.exchange_account", "-NEW.exchange_minor")}
END""",
    *(
        f"""CREATE TRIGGER {table}_{name} BEFORE {what} ON {table} BEGIN
    SELECT RAISE (ABORT, 'a settlement that is recorded cannot be {done}');
END"""
        for table in ("settlement", "settled_document")
        for name, what, done in (("stays", "UPDATE", "changed"), ("remains", "DELETE", "deleted"))
    ),
    """CREATE TRIGGER settlement_told AFTER INSERT ON settlement BEGIN
    INSERT INTO history (at, accounting_entry_id, entry_id, event, detail)
        SELECT NEW.settled_at, e.accounting_entry_id, e.id, 'settled', json_patch(
            json_object('with', coalesce((SELECT group_concat(external_id, ', ') FROM (
                SELECT o.external_id FROM entry AS o WHERE o.id <> e.id AND o.id IN (
                    SELECT entry_id FROM settled_document WHERE settlement = NEW.number) ORDER BY o.id)),
                e.external_id)),
            iif(NEW.exchange_minor <> 0 AND e.id = NEW.entry_id,
                json_object('exchange_minor', NEW.exchange_minor, 'exchange_account', NEW.exchange_account,
                    'exchange_currency', coalesce(e.company_currency, e.currency)), '{}'))
        FROM entry AS e WHERE e.id IN (SELECT entry_id FROM settled_document WHERE settlement = NEW.number)
        ORDER BY e.id;
END""",
)
"""The rules, once the tables are there."""
