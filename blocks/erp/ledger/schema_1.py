"""The first schema version: company, accounts, tax codes, dimensions, periods, entries and their lines.

It stays as it is: files that were made with it are upgraded by what `schema_2` says.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_AMOUNT_MINOR = 10**18 - 1
"""The largest amount of a line or an entry, in minor units: nine of them can be added up in 64 bits."""

AMOUNT = f"BETWEEN 0 AND {MAX_AMOUNT_MINOR}"
_SUPPLIER = """supplier_currency TEXT,
    supplier_minor INTEGER,
    CHECK ((supplier_currency IS NULL) = (supplier_minor IS NULL))"""
UNCHANGED = (
    "id, accounting_entry_id, company_id, job_id, item_type, posting_date, original_date, currency, amount_minor, "
    "description, reference, supplier_currency, supplier_minor, recorded_at"
)


def date_check(column: str) -> str:
    """The condition that a column holds a date as ISO 8601 writes it."""
    # SQLite's date() takes 2026-02-30 until it has to reckon with it, and knows a year 0.
    pattern = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
    return f"{column} GLOB '{pattern}' AND {column} > '0001' AND coalesce(date({column}, '+0 days'), '') = {column}"


def row_of(which: str, columns: str = UNCHANGED) -> str:
    """These columns of the row OLD or NEW of a trigger, as one value to compare."""
    return "(" + ", ".join(f"{which}.{column}" for column in columns.split(", ")) + ")"


VERSION_1: Sequence[str] = (
    # `write_proofs` counts the small writes that prove the file writable: one of the same value would write nothing.
    """CREATE TABLE company (
    company_id TEXT NOT NULL PRIMARY KEY CHECK (company_id <> ''),
    last_opened_at TEXT NOT NULL,
    write_proofs INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID""",
    # `source` tells accounts that were opened as Pleo named them from those of a chart.
    """CREATE TABLE account (
    code TEXT NOT NULL PRIMARY KEY CHECK (trim(code) <> ''),
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('asset', 'liability', 'equity', 'income', 'expense')),
    source TEXT NOT NULL DEFAULT 'pleo' CHECK (source IN ('pleo', 'chart'))
) STRICT, WITHOUT ROWID""",
    "CREATE TABLE tax_code (code TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID",
    """CREATE TABLE dimension (
    dimension_group TEXT NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (dimension_group, code)
) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE period (
    first_date TEXT NOT NULL PRIMARY KEY CHECK ({date_check("first_date")}),
    last_date TEXT NOT NULL CHECK ({date_check("last_date")} AND last_date >= first_date),
    state TEXT NOT NULL CHECK (state IN ('open', 'closed'))
) STRICT, WITHOUT ROWID""",
    f"""CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    external_id TEXT NOT NULL GENERATED ALWAYS AS (printf('PX-%06d', id)) VIRTUAL,
    accounting_entry_id TEXT NOT NULL UNIQUE
        CHECK (accounting_entry_id <> '' AND accounting_entry_id = lower(accounting_entry_id)),
    company_id TEXT NOT NULL REFERENCES company (company_id),
    job_id TEXT NOT NULL,
    item_type TEXT NOT NULL,
    posting_date TEXT NOT NULL CHECK ({date_check("posting_date")}),
    original_date TEXT NOT NULL CHECK ({date_check("original_date")}),
    currency TEXT NOT NULL CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    amount_minor INTEGER NOT NULL CHECK (amount_minor BETWEEN -{MAX_AMOUNT_MINOR} AND {MAX_AMOUNT_MINOR}),
    description TEXT NOT NULL,
    reference TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'posted')),
    recorded_at TEXT NOT NULL,
    {_SUPPLIER}
) STRICT""",
    "CREATE INDEX entry_by_date ON entry (posting_date)",
    f"""CREATE TABLE line (
    entry_id INTEGER NOT NULL REFERENCES entry (id) DEFERRABLE INITIALLY DEFERRED,
    line_no INTEGER NOT NULL CHECK (line_no > 0),
    account TEXT NOT NULL REFERENCES account (code),
    debit_minor INTEGER NOT NULL CHECK (debit_minor {AMOUNT}),
    credit_minor INTEGER NOT NULL CHECK (credit_minor {AMOUNT}),
    counter INTEGER NOT NULL CHECK (counter IN (0, 1)),
    text TEXT NOT NULL,
    tax_code TEXT REFERENCES tax_code (code),
    {_SUPPLIER},
    CHECK (debit_minor = 0 OR credit_minor = 0),
    PRIMARY KEY (entry_id, line_no)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE line_dimension (
    entry_id INTEGER NOT NULL,
    line_no INTEGER NOT NULL,
    dimension_group TEXT NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (entry_id, line_no, dimension_group, code),
    FOREIGN KEY (entry_id, line_no) REFERENCES line (entry_id, line_no),
    FOREIGN KEY (dimension_group, code) REFERENCES dimension (dimension_group, code)
) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER line_before_entry BEFORE INSERT ON line BEGIN
    SELECT RAISE (ABORT, 'lines are written for the next entry only; an entry that stands takes no more')
        WHERE NEW.entry_id <> (SELECT coalesce(max(id), 0) + 1 FROM entry);
    SELECT RAISE (ABORT, 'unknown_account: there is no such account')
        WHERE NOT EXISTS (SELECT 1 FROM account WHERE code = NEW.account);
END""",
    """CREATE TRIGGER line_stays BEFORE UPDATE ON line BEGIN
    SELECT RAISE (ABORT, 'a line that is recorded cannot be changed');
END""",
    """CREATE TRIGGER line_remains BEFORE DELETE ON line BEGIN
    SELECT RAISE (ABORT, 'a line that is recorded cannot be deleted');
END""",
    """CREATE TRIGGER line_dimension_before_entry BEFORE INSERT ON line_dimension BEGIN
    SELECT RAISE (ABORT, 'an entry that stands takes no more dimensions')
        WHERE NEW.entry_id <> (SELECT coalesce(max(id), 0) + 1 FROM entry);
END""",
    """CREATE TRIGGER line_dimension_stays BEFORE UPDATE ON line_dimension BEGIN
    SELECT RAISE (ABORT, 'a line that is recorded cannot be changed');
END""",
    """CREATE TRIGGER line_dimension_remains BEFORE DELETE ON line_dimension BEGIN
    SELECT RAISE (ABORT, 'a line that is recorded cannot be changed');
END""",
    """CREATE TRIGGER entry_in_order BEFORE INSERT ON entry BEGIN
    SELECT RAISE (ABORT, 'entries are numbered without a gap')
        WHERE NEW.id IS NOT (SELECT coalesce(max(id), 0) + 1 FROM entry);
    SELECT RAISE (ABORT, 'an entry of this accounting entry id stands already')
        WHERE EXISTS (SELECT 1 FROM entry WHERE accounting_entry_id = NEW.accounting_entry_id);
    SELECT RAISE (ABORT, 'the entry belongs to another company')
        WHERE NOT EXISTS (SELECT 1 FROM company WHERE company_id = NEW.company_id);
    SELECT RAISE (ABORT, 'unbalanced: the entry has no lines')
        WHERE NOT EXISTS (SELECT 1 FROM line WHERE entry_id = NEW.id);
    SELECT RAISE (ABORT, 'unbalanced: debits and credits differ')
        WHERE (SELECT sum(debit_minor) - sum(credit_minor) FROM line WHERE entry_id = NEW.id) <> 0;
    SELECT RAISE (ABORT, 'unbalanced: the counter lines do not add up to the amount of the entry')
        WHERE (SELECT abs(coalesce(sum(debit_minor) - sum(credit_minor), 0)) FROM line
               WHERE entry_id = NEW.id AND counter = 1) <> abs(NEW.amount_minor);
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in a closed period')
        WHERE EXISTS (SELECT 1 FROM period
                      WHERE state = 'closed' AND NEW.posting_date BETWEEN first_date AND last_date);
END""",
    f"""CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN
    SELECT RAISE (ABORT, 'an entry that is recorded cannot be changed, but for draft to posted')
        WHERE {row_of("NEW")} IS NOT {row_of("OLD")}
            OR NOT (OLD.state = 'draft' AND NEW.state = 'posted');
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in a closed period')
        WHERE EXISTS (SELECT 1 FROM period
                      WHERE state = 'closed' AND NEW.posting_date BETWEEN first_date AND last_date);
END""",  # noqa: S608  constants of ours
    """CREATE TRIGGER entry_remains BEFORE DELETE ON entry BEGIN
    SELECT RAISE (ABORT, 'an entry that is recorded cannot be deleted');
END""",
    """CREATE TRIGGER account_remains BEFORE DELETE ON account BEGIN
    SELECT RAISE (ABORT, 'an account cannot be deleted');
END""",
    """CREATE TRIGGER account_keeps_code BEFORE UPDATE ON account WHEN NEW.code <> OLD.code BEGIN
    SELECT RAISE (ABORT, 'an account keeps its code');
END""",
    """CREATE TRIGGER one_company BEFORE INSERT ON company WHEN EXISTS (SELECT 1 FROM company) BEGIN
    SELECT RAISE (ABORT, 'a ledger file holds one company');
END""",
    """CREATE TRIGGER company_stays BEFORE UPDATE ON company WHEN NEW.company_id <> OLD.company_id BEGIN
    SELECT RAISE (ABORT, 'a ledger file keeps its company');
END""",
    """CREATE TRIGGER company_remains BEFORE DELETE ON company BEGIN
    SELECT RAISE (ABORT, 'a ledger file keeps its company');
END""",
    """CREATE VIEW journal AS
    -- One row a line of an entry, in the order of recording.
    --   accounting_entry_id  Pleo's id of the expense, in lower case
    --   external_id          the voucher number, PX-000001 and on
    --   job_id               the export job that recorded it
    --   posting_date         the date it is booked on, YYYY-MM-DD
    --   account              the account's code; its name and kind stand in the table account
    --   description          what the entry is for
    --   currency             ISO 4217, of both amounts
    --   debit_minor          hundredths of the currency's unit, 0 on a credit line
    --   credit_minor         hundredths of the currency's unit, 0 on a debit line
    --   state                draft or posted
    SELECT e.accounting_entry_id, e.external_id, e.job_id, e.posting_date, l.account, e.description, e.currency,
        l.debit_minor, l.credit_minor, e.state
    FROM entry AS e JOIN line AS l ON l.entry_id = e.id
    ORDER BY e.id, l.line_no""",
)
