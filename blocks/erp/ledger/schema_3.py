"""The third schema version: entries that are replaced, reversed or deleted, what Pleo said of them, and their history.

An entry is *in force* unless it was reversed, is a reversal, or was deleted; of one accounting entry id one entry is.
A draft is replaced in one transaction: `changing` is set to 0, its lines, dimensions and documents are deleted and
written anew, and as the entry's other columns are set, `changing` becomes null again. As no entry has the number 0, the
foreign key keeps a transaction from ending in between. A deleted draft keeps its number, and loses its lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from blocks.erp.ledger.schema_1 import MAX_AMOUNT_MINOR, date_check, row_of
from blocks.erp.ledger.schema_3_batches import BATCHES
from blocks.erp.ledger.schema_3_history import HISTORY, HISTORY_TRIGGERS
from blocks.erp.ledger.schema_3_settlement import (
    SETTLEMENT,
    SETTLEMENT_TRIGGERS,
    is_expected_difference,
    line_currency,
    settled,
    settled_by_another,
)

_KEPT = (
    "id, accounting_entry_id, company_id, job_id, item_type, posting_date, original_date, currency, amount_minor, "
    "description, reference, state, recorded_at, supplier_currency, supplier_minor, journal, details, rounding_minor, "
    "company_currency"
)
_IDENTITY = "id, accounting_entry_id, company_id, recorded_at, reverses"
_CONTENT = (
    "job_id, item_type, posting_date, original_date, currency, amount_minor, description, reference, "
    "supplier_currency, supplier_minor, journal, details, rounding_minor, company_currency, statement"
)
_COMPANY_AMOUNT = "iif(credit_minor > 0, -company_minor, company_minor)"
_DOCUMENT_LINES = "FROM line WHERE entry_id = NEW.id AND document_no = d.document_no"
_MIRRORED = "account, counter, tax_code, is_tax, company_minor, document_no, settlement"
_NEXT = "(SELECT coalesce(max(id), 0) + 1 FROM entry)"

OPPOSITE_KINDS = """CASE {0} WHEN 'bill' THEN 'credit_note' WHEN 'credit_note' THEN 'bill'
    WHEN 'payment' THEN 'refund' ELSE 'payment' END"""
"""The kind of document that takes back one of the kind that stands in a column, to be put in for {0}."""

_BALANCED = f"""
    SELECT RAISE (ABORT, 'an exchange difference is booked by its settlement alone')
        WHERE NEW.reverses IS NULL AND EXISTS (
            SELECT 1 FROM line WHERE entry_id = NEW.id AND settlement IS NOT NULL);
    SELECT RAISE (ABORT, 'unbalanced: the entry has no lines')
        WHERE NOT EXISTS (SELECT 1 FROM line WHERE entry_id = NEW.id);
    SELECT RAISE (ABORT, 'unbalanced: debits and credits differ')
        WHERE (SELECT sum(debit_minor) - sum(credit_minor) FROM line WHERE entry_id = NEW.id) <> 0;
    SELECT RAISE (ABORT, 'unbalanced: the counter lines do not add up to the amount of the entry')
        WHERE (SELECT abs(coalesce(sum(debit_minor) - sum(credit_minor), 0)) FROM line
               WHERE entry_id = NEW.id AND counter = 1) <> abs(NEW.amount_minor);
    SELECT RAISE (ABORT, 'the entry is not in the currency that these books are kept in')
        WHERE EXISTS (SELECT 1 FROM company
                      WHERE company_currency IS NOT NEW.company_currency
                          AND (NEW.company_currency IS NOT NULL OR company_currency <> NEW.currency));
    SELECT RAISE (ABORT, 'unbalanced: a line has no amount in the company''s currency, or one too many')
        WHERE EXISTS (SELECT 1 FROM line
                      WHERE entry_id = NEW.id AND (company_minor IS NOT NULL)
                          <> (coalesce(NEW.company_currency, NEW.currency) <> NEW.currency));
    SELECT RAISE (ABORT, 'unbalanced: debits and credits differ in the company''s currency')
        WHERE (SELECT sum({_COMPANY_AMOUNT}) FROM line WHERE entry_id = NEW.id) <> 0;
    SELECT RAISE (ABORT, 'unbalanced: a line belongs to no document')
        WHERE EXISTS (SELECT 1 FROM document WHERE entry_id = NEW.id)
            AND EXISTS (SELECT 1 FROM line WHERE entry_id = NEW.id AND document_no IS NULL);
    SELECT RAISE (ABORT, 'unbalanced: a document does not balance by itself')
        WHERE EXISTS (SELECT 1 FROM document AS d WHERE d.entry_id = NEW.id AND (
            (SELECT sum(debit_minor) - sum(credit_minor) {_DOCUMENT_LINES}) IS NOT 0
            OR (SELECT sum({_COMPANY_AMOUNT}) {_DOCUMENT_LINES}) <> 0));
    SELECT RAISE (ABORT, 'unbalanced: the lines on the payable account do not add up to what is owed')
        WHERE EXISTS (SELECT 1 FROM document AS d WHERE d.entry_id = NEW.id AND d.owed_minor <>
            (SELECT coalesce(sum(credit_minor) - sum(debit_minor), 0) {_DOCUMENT_LINES}
                AND account = d.payable_account AND settlement IS NULL));
    SELECT RAISE (ABORT, 'the documents of the entry do not settle each other')
        WHERE EXISTS (SELECT 1 FROM document AS d
                      WHERE d.entry_id = NEW.id AND d.paired_with IS NOT NULL AND NOT EXISTS (
                          SELECT 1 FROM document AS p
                          WHERE p.entry_id = NEW.id AND p.document_no = d.paired_with
                              AND p.paired_with = d.document_no AND p.owed_minor = -d.owed_minor));
"""  # noqa: S608  constants of ours

_CLOSED_PERIOD = """
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in a closed period')
        WHERE EXISTS (SELECT 1 FROM period
                      WHERE state = 'closed' AND NEW.posting_date BETWEEN first_date AND last_date);
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in no period')
        WHERE EXISTS (SELECT 1 FROM chart WHERE kind = 'periods')
            AND NOT EXISTS (SELECT 1 FROM period WHERE NEW.posting_date BETWEEN first_date AND last_date);
"""

_REVERSAL = f"""
    SELECT RAISE (ABORT, 'a reversal takes back a posted entry that is in force, and is posted itself')
        WHERE NEW.state <> 'posted' OR NOT EXISTS (
            SELECT 1 FROM entry AS o WHERE o.id = NEW.reverses AND o.state = 'posted' AND o.in_force = 1
                AND {row_of("o", "accounting_entry_id, company_id, item_type, currency, company_currency")}
                    IS {row_of("NEW", "accounting_entry_id, company_id, item_type, currency, company_currency")}
                AND o.amount_minor = -NEW.amount_minor);
    SELECT RAISE (ABORT, 'a document of the entry is settled by one of another entry, which goes first')
        WHERE {settled_by_another("NEW.reverses")};
    SELECT RAISE (ABORT, 'unbalanced: the lines of a reversal are those of its entry on the other side')
        WHERE (SELECT count(*) FROM line WHERE entry_id = NEW.id)
                <> (SELECT count(*) FROM line WHERE entry_id = NEW.reverses)
            OR EXISTS (
                SELECT 1 FROM line AS l WHERE l.entry_id = NEW.id AND NOT EXISTS (
                    SELECT 1 FROM line AS o WHERE o.entry_id = NEW.reverses AND o.line_no = l.line_no
                        AND o.debit_minor = l.credit_minor AND o.credit_minor = l.debit_minor
                        AND {row_of("o", _MIRRORED)}
                            IS {row_of("l", _MIRRORED)}));
"""  # noqa: S608  constants of ours


_NO_MORE_LINES = "lines are written for the next entry only; an entry that stands takes no more"


def _changes_only_drafts(table: str, what: str) -> tuple[str, str]:
    return (
        f"DROP TRIGGER {table}_remains",
        f"""CREATE TRIGGER {table}_remains BEFORE DELETE ON {table} BEGIN
    SELECT RAISE (ABORT, '{what} that is recorded cannot be deleted')
        WHERE NOT EXISTS (SELECT 1 FROM entry WHERE id = OLD.entry_id AND changing = 0);
END""",  # noqa: S608
    )


def _belongs_to_next(message: str, unless: str = "") -> str:
    return f"""SELECT RAISE (ABORT, '{message}')
        WHERE NEW.entry_id <> {_NEXT}
            AND NOT EXISTS (SELECT 1 FROM entry WHERE id = NEW.entry_id AND changing = 0){unless};"""  # noqa: S608


VERSION_3: Sequence[str] = (
    # The table `entry` is made anew, as its rule of one entry an id cannot be taken out; what names it goes first.
    "DROP VIEW journal",
    "DROP VIEW open_item",
    "DROP TRIGGER line_before_entry",
    "DROP TRIGGER line_dimension_before_entry",
    "DROP TRIGGER document_before_entry",
    "DROP TRIGGER settlement_in_order",
    "DROP TRIGGER attachment_in_order",
    "DROP TRIGGER company_keeps_units",
    f"""CREATE TABLE entry_anew (
    id INTEGER PRIMARY KEY CHECK (id > 0),
    external_id TEXT NOT NULL GENERATED ALWAYS AS (printf('PX-%06d', id)) VIRTUAL,
    accounting_entry_id TEXT NOT NULL
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
    state TEXT NOT NULL CHECK (state IN ('draft', 'posted', 'deleted')),
    recorded_at TEXT NOT NULL,
    supplier_currency TEXT,
    supplier_minor INTEGER,
    journal TEXT NOT NULL DEFAULT '',
    details TEXT NOT NULL DEFAULT '{{}}' CHECK (json_valid(details)),
    rounding_minor INTEGER NOT NULL DEFAULT 0,
    company_currency TEXT CHECK (company_currency GLOB '[A-Z][A-Z][A-Z]'),
    -- What Pleo said of the expense when this was written; null in entries of older books.
    statement TEXT CHECK (statement IS NULL OR json_valid(statement)),
    -- The entry that this one takes back.
    reverses INTEGER REFERENCES entry (id),
    in_force INTEGER NOT NULL DEFAULT 1 CHECK (in_force IN (0, 1)),
    -- When it was posted, replaced or deleted last.
    changed_at TEXT,
    -- 0 while a draft is replaced: no transaction ends so.
    changing INTEGER CHECK (changing = 0) REFERENCES entry (id) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((supplier_currency IS NULL) = (supplier_minor IS NULL)),
    CHECK (reverses IS NULL OR in_force = 0),
    CHECK ((state = 'deleted') <= (in_force = 0))
) STRICT""",
    f"INSERT INTO entry_anew ({_KEPT}) SELECT {_KEPT} FROM entry",  # noqa: S608
    "DROP TABLE entry",
    "ALTER TABLE entry_anew RENAME TO entry",
    "CREATE INDEX entry_by_date ON entry (posting_date)",
    "CREATE UNIQUE INDEX entry_in_force ON entry (accounting_entry_id) WHERE in_force = 1",
    "CREATE UNIQUE INDEX entry_reversed_once ON entry (reverses) WHERE reverses IS NOT NULL",
    "CREATE INDEX entry_by_expense ON entry (accounting_entry_id)",
    "CREATE INDEX entry_by_type ON entry (item_type) WHERE in_force = 1",
    # Whoever adds an entry looks for rows that name it by this key: without an index that reads all of them.
    "CREATE INDEX entry_changing ON entry (changing) WHERE changing IS NOT NULL",
    # A decimal fraction, and on a line of tax what it was computed on, positive on the line's own side.
    "ALTER TABLE line ADD COLUMN tax_rate TEXT CHECK (tax_rate <> '')",
    f"""ALTER TABLE line ADD COLUMN tax_base_minor INTEGER
    CHECK (tax_base_minor IS NULL
        OR (tax_base_minor BETWEEN -{MAX_AMOUNT_MINOR} AND {MAX_AMOUNT_MINOR} AND is_tax = 1))""",
    # The settlement of which a line books what is left: it stands in the company's currency.
    "ALTER TABLE line ADD COLUMN settlement INTEGER REFERENCES settlement (number)",
    *HISTORY,
    *SETTLEMENT,
    """CREATE TRIGGER company_keeps_units BEFORE UPDATE ON company
WHEN (NEW.minor_units <> OLD.minor_units OR NEW.company_currency IS NOT OLD.company_currency)
    AND EXISTS (SELECT 1 FROM entry) BEGIN
    SELECT RAISE (ABORT, 'books with entries keep their currency and what amounts count');
END""",
    f"""CREATE TRIGGER line_before_entry BEFORE INSERT ON line BEGIN
    {_belongs_to_next(_NO_MORE_LINES, f" AND NOT (NEW.settlement IS NOT NULL AND {is_expected_difference('NEW')})")}
    SELECT RAISE (ABORT, 'a line of this number is there already')
        WHERE EXISTS (SELECT 1 FROM line WHERE entry_id = NEW.entry_id AND line_no = NEW.line_no);
    SELECT RAISE (ABORT, 'unknown_account: there is no such account')
        WHERE NOT EXISTS (SELECT 1 FROM account WHERE code = NEW.account AND active = 1);
    SELECT RAISE (ABORT, 'unknown_tax_code: there is no such tax code')
        WHERE NEW.tax_code IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM tax_code WHERE code = NEW.tax_code AND active = 1);
    SELECT RAISE (ABORT, 'a line belongs to a document that is not there')
        WHERE NEW.document_no IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM document WHERE entry_id = NEW.entry_id AND document_no = NEW.document_no);
END""",  # noqa: S608  constants of ours
    f"""CREATE TRIGGER line_dimension_before_entry BEFORE INSERT ON line_dimension BEGIN
    {_belongs_to_next("an entry that stands takes no more dimensions")}
    SELECT RAISE (ABORT, 'unknown_dimension: there is no such dimension value')
        WHERE NOT EXISTS (SELECT 1 FROM dimension
                          WHERE dimension_group = NEW.dimension_group AND code = NEW.code AND active = 1);
END""",  # noqa: S608  constants of ours
    f"""CREATE TRIGGER document_before_entry BEFORE INSERT ON document BEGIN
    {_belongs_to_next("an entry that stands takes no more documents")}
    SELECT RAISE (ABORT, 'a document of this number is there already')
        WHERE EXISTS (SELECT 1 FROM document WHERE entry_id = NEW.entry_id AND document_no = NEW.document_no);
    SELECT RAISE (ABORT, 'unknown_vendor: there is no such vendor, or it is blocked')
        WHERE NEW.vendor IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM vendor WHERE code = NEW.vendor AND active = 1 AND blocked = 0);
    SELECT RAISE (ABORT, 'unknown_account: there is no such account')
        WHERE NOT EXISTS (SELECT 1 FROM account WHERE code = NEW.payable_account AND active = 1);
END""",  # noqa: S608  constants of ours
    *_changes_only_drafts("line", "a line"),
    *_changes_only_drafts("line_dimension", "a dimension"),
    *_changes_only_drafts("document", "a document"),
    *SETTLEMENT_TRIGGERS,
    """CREATE TRIGGER attachment_in_order BEFORE INSERT ON attachment BEGIN
    SELECT RAISE (ABORT, 'there is no entry to attach this to')
        WHERE NOT EXISTS (SELECT 1 FROM entry WHERE id = NEW.entry_id AND state <> 'deleted');
    SELECT RAISE (ABORT, 'an attachment of this number is there already')
        WHERE EXISTS (SELECT 1 FROM attachment WHERE entry_id = NEW.entry_id AND number = NEW.number);
END""",
    f"""CREATE TRIGGER entry_in_order BEFORE INSERT ON entry BEGIN
    SELECT RAISE (ABORT, 'entries are numbered without a gap')
        WHERE NEW.id IS NOT {_NEXT};
    SELECT RAISE (ABORT, 'an entry of this accounting entry id stands already')
        WHERE NEW.reverses IS NULL
            AND EXISTS (SELECT 1 FROM entry WHERE accounting_entry_id = NEW.accounting_entry_id AND in_force = 1);
    SELECT RAISE (ABORT, 'a new entry is in force, and a reversal is not')
        WHERE NEW.in_force <> (NEW.reverses IS NULL) OR NEW.changing IS NOT NULL OR NEW.state = 'deleted';
    SELECT RAISE (ABORT, 'the entry belongs to another company')
        WHERE NOT EXISTS (SELECT 1 FROM company WHERE company_id = NEW.company_id);
    {_BALANCED}
    {_CLOSED_PERIOD}
END""",  # noqa: S608  constants of ours
    f"""CREATE TRIGGER entry_reversal_in_order BEFORE INSERT ON entry WHEN NEW.reverses IS NOT NULL BEGIN
    {_REVERSAL}
END""",
    # What may become of an entry: posted; replaced or deleted, in two moves; reversed.
    f"""CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN
    SELECT RAISE (ABORT, 'an entry that is recorded cannot be changed, but for a draft')
        WHERE {row_of("NEW", _IDENTITY)} IS NOT {row_of("OLD", _IDENTITY)} OR NOT (
            CASE
                WHEN OLD.changing IS NULL AND NEW.changing IS NULL THEN
                    {row_of("NEW", _CONTENT)} IS {row_of("OLD", _CONTENT)} AND CASE
                        WHEN OLD.state = 'draft' AND NEW.state = 'posted' THEN NEW.in_force = OLD.in_force
                        ELSE OLD.state = 'posted' AND NEW.state = 'posted' AND OLD.in_force = 1 AND NEW.in_force = 0
                            AND NEW.changed_at IS OLD.changed_at
                            AND EXISTS (SELECT 1 FROM entry WHERE reverses = OLD.id) END
                WHEN OLD.changing IS NULL THEN
                    {row_of("NEW", _CONTENT)} IS {row_of("OLD", _CONTENT)} AND OLD.state = 'draft'
                    AND NEW.state = 'draft' AND NEW.in_force = OLD.in_force AND NEW.changed_at IS OLD.changed_at
                WHEN NEW.changing IS NULL AND NEW.state = 'draft' THEN NEW.in_force = 1
                ELSE NEW.changing IS NULL AND NEW.state = 'deleted' AND NEW.in_force = 0
                    AND {row_of("NEW", _CONTENT)} IS {row_of("OLD", _CONTENT)}
                    AND NOT EXISTS (SELECT 1 FROM line WHERE entry_id = OLD.id)
                    AND NOT EXISTS (SELECT 1 FROM document WHERE entry_id = OLD.id)
            END);
END""",  # noqa: S608  constants of ours
    f"""CREATE TRIGGER entry_posted_in_order BEFORE UPDATE ON entry
WHEN NEW.state = 'posted' AND OLD.state = 'draft' BEGIN
    {_CLOSED_PERIOD}
END""",
    f"""CREATE TRIGGER entry_replaced_in_order BEFORE UPDATE ON entry
WHEN OLD.changing IS NOT NULL AND NEW.changing IS NULL AND NEW.state = 'draft' BEGIN
    {_BALANCED}
    {_CLOSED_PERIOD}
END""",
    """CREATE TRIGGER entry_remains BEFORE DELETE ON entry BEGIN
    SELECT RAISE (ABORT, 'an entry that is recorded cannot be deleted');
END""",
    *HISTORY_TRIGGERS,
    *BATCHES,
    f"""CREATE VIEW journal AS
    -- One row a line of an entry, in the order of recording.
    --   accounting_entry_id  Pleo's id of the expense, in lower case
    --   external_id          the voucher number, PX-000001 and on
    --   job_id               the export job that recorded it
    --   posting_date         the date it is booked on, YYYY-MM-DD
    --   account              the account's code; its name and kind stand in the table account
    --   description          what the entry is for
    --   currency             ISO 4217, of both amounts; on an exchange difference the one that the books are kept in
    --   debit_minor          in minor units, see company.minor_units; 0 on a credit line
    --   credit_minor         in minor units, see company.minor_units; 0 on a debit line
    --   state                draft or posted
    --   tax_code             the tax code, null where the line has none
    --   dimensions           such as project=P-17; team=T-2, empty where the line has none
    --   vendor               the vendor's code on lines of bills and payments, else null
    --   in_force             1; 0 for an entry that was reversed, and for its reversal
    --   tax_base_minor       on a line of tax, what it was computed on, positive on the line's own side; else null
    --   tax_rate             a decimal fraction such as 0.25, null where nobody says
    --   supplier_country     the supplier's country, null where nobody says
    --   supplier_tax_number  the supplier's tax number, null where nobody says
    SELECT e.accounting_entry_id, e.external_id, e.job_id, e.posting_date, l.account, e.description,
        {line_currency("l", "e")} AS currency, l.debit_minor, l.credit_minor, e.state, l.tax_code,
        coalesce((SELECT group_concat(one, '; ') FROM (
            SELECT dimension_group || '=' || code AS one FROM line_dimension
            WHERE entry_id = l.entry_id AND line_no = l.line_no ORDER BY dimension_group, code)), '') AS dimensions,
        (SELECT vendor FROM document WHERE entry_id = l.entry_id AND document_no = l.document_no) AS vendor,
        e.in_force, l.tax_base_minor, l.tax_rate,
        json_extract(e.details, '$.supplier_country') AS supplier_country,
        json_extract(e.details, '$.supplier_tax_number') AS supplier_tax_number
    FROM entry AS e JOIN line AS l ON l.entry_id = e.id
    ORDER BY e.id, l.line_no""",  # noqa: S608  constants of ours
    f"""CREATE VIEW open_item AS
    -- One row a document of accounts payable, in the order of recording.
    --   external_id          the voucher number of its entry
    --   accounting_entry_id  Pleo's id of the expense, in lower case
    --   vendor               the vendor's code, null where the settings book unknown vendors on an account of their own
    --   kind                 bill, credit_note, payment or refund
    --   invoice_number       the vendor's number of the invoice, empty where it is not known
    --   currency             ISO 4217, of both amounts
    --   owed_minor           by how much it raises what is owed to the vendor, in minor units
    --   open_minor           what of that is not settled: all of it, or 0; 0 for what was reversed
    --   state                draft or posted; drafts are not settled
    SELECT e.external_id, e.accounting_entry_id, d.vendor, d.kind, d.invoice_number, e.currency, d.owed_minor,
        iif(e.in_force = 0 OR {settled("d")}, 0, d.owed_minor) AS open_minor, e.state
    FROM entry AS e JOIN document AS d ON d.entry_id = e.id
    ORDER BY e.id, d.document_no""",  # noqa: S608  constants of ours
)
"""The statements that lead from version 2 to version 3, with foreign keys switched off."""
