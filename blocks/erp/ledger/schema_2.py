"""The second schema version: charts, vendors, documents and their settlement, attachments, a company's own currency."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.erp.ledger.schema_1 import AMOUNT, MAX_AMOUNT_MINOR, UNCHANGED, date_check, row_of

_SOURCE = "TEXT NOT NULL DEFAULT 'pleo' CHECK (source IN ('pleo', 'chart'))"
_YES_NO = "CHECK ({0} IN (0, 1))"
_ACTIVE = "active INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1))"
_ENTRY_UNCHANGED = f"{UNCHANGED}, journal, details, rounding_minor, company_currency"
_COMPANY_AMOUNT = "iif(credit_minor > 0, -company_minor, company_minor)"
_DOCUMENT_LINES = "FROM line WHERE entry_id = NEW.id AND document_no = d.document_no"

_CLOSED_PERIOD = """
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in a closed period')
        WHERE EXISTS (SELECT 1 FROM period
                      WHERE state = 'closed' AND NEW.posting_date BETWEEN first_date AND last_date);
    SELECT RAISE (ABORT, 'closed_period: the posting date lies in no period')
        WHERE EXISTS (SELECT 1 FROM chart WHERE kind = 'periods')
            AND NOT EXISTS (SELECT 1 FROM period WHERE NEW.posting_date BETWEEN first_date AND last_date);
"""


def _stays(table: str, what: str) -> tuple[str, str]:
    return (
        f"""CREATE TRIGGER {table}_stays BEFORE UPDATE ON {table} BEGIN
    SELECT RAISE (ABORT, '{what} that is recorded cannot be changed');
END""",
        f"""CREATE TRIGGER {table}_remains BEFORE DELETE ON {table} BEGIN
    SELECT RAISE (ABORT, '{what} that is recorded cannot be deleted');
END""",
    )


def _only_of_the_chart(table: str, kind: str, key: str, refusal: str) -> str:
    """Once a kind has a chart, nothing of it opens because an entry names it."""
    return f"""CREATE TRIGGER {table}_of_the_chart BEFORE INSERT ON {table}
WHEN NEW.source = 'pleo' AND EXISTS (SELECT 1 FROM chart WHERE kind = '{kind}')
    AND NOT EXISTS (SELECT 1 FROM {table} WHERE {key}) BEGIN
    SELECT RAISE (ABORT, '{refusal}');
END"""  # noqa: S608  constants of ours


def settled(document: str) -> str:
    """The condition that the row `document` of the table of that name is settled."""
    return f"""(EXISTS (SELECT 1 FROM settlement AS s
        WHERE s.entry_id = {document}.entry_id AND s.document_no = {document}.document_no)
    OR EXISTS (SELECT 1 FROM settlement AS s
        WHERE s.settled_by_entry_id = {document}.entry_id AND s.settled_by_document_no = {document}.document_no))"""  # noqa: S608


VERSION_2: Sequence[str] = (
    # What amounts count, and the currency of the books where they are kept in one: fixed once there are entries.
    """ALTER TABLE company ADD COLUMN minor_units TEXT NOT NULL DEFAULT 'hundredths'
    CHECK (minor_units IN ('hundredths', 'iso4217'))""",
    "ALTER TABLE company ADD COLUMN company_currency TEXT CHECK (company_currency GLOB '[A-Z][A-Z][A-Z]')",
    """CREATE TRIGGER company_keeps_units BEFORE UPDATE ON company
WHEN (NEW.minor_units <> OLD.minor_units OR NEW.company_currency IS NOT OLD.company_currency)
    AND EXISTS (SELECT 1 FROM entry) BEGIN
    SELECT RAISE (ABORT, 'books with entries keep their currency and what amounts count');
END""",
    # The kinds of reference data that a chart was given for; from then on entries can name nothing else.
    """CREATE TABLE chart (
    kind TEXT NOT NULL PRIMARY KEY
        CHECK (kind IN ('accounts', 'tax_codes', 'dimensions', 'vendors', 'periods', 'rates')),
    read_at TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER chart_remains BEFORE DELETE ON chart BEGIN
    SELECT RAISE (ABORT, 'books that were given a chart keep it');
END""",
    # `active` is 0 for what a later chart no longer has: entries keep it, new ones do not take it.
    "ALTER TABLE account ADD COLUMN identifier TEXT NOT NULL DEFAULT ''",
    f"ALTER TABLE account ADD COLUMN {_ACTIVE}",
    f"ALTER TABLE tax_code ADD COLUMN source {_SOURCE}",
    f"ALTER TABLE tax_code ADD COLUMN {_ACTIVE}",
    f"ALTER TABLE dimension ADD COLUMN source {_SOURCE}",
    f"ALTER TABLE dimension ADD COLUMN {_ACTIVE}",
    f"""CREATE TABLE vendor (
    code TEXT NOT NULL PRIMARY KEY CHECK (trim(code) <> ''),
    name TEXT NOT NULL,
    external_id TEXT NOT NULL DEFAULT '',
    account TEXT NOT NULL DEFAULT '',
    tax_number TEXT NOT NULL DEFAULT '',
    payable_account TEXT REFERENCES account (code),
    blocked INTEGER NOT NULL DEFAULT 0 {_YES_NO.format("blocked")},
    source {_SOURCE},
    {_ACTIVE}
) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER vendor_remains BEFORE DELETE ON vendor BEGIN
    SELECT RAISE (ABORT, 'a vendor cannot be deleted');
END""",
    """CREATE TRIGGER vendor_keeps_code BEFORE UPDATE ON vendor WHEN NEW.code <> OLD.code BEGIN
    SELECT RAISE (ABORT, 'a vendor keeps its code');
END""",
    _only_of_the_chart("account", "accounts", "code = NEW.code", "unknown_account: there is no such account"),
    _only_of_the_chart("tax_code", "tax_codes", "code = NEW.code", "unknown_tax_code: there is no such tax code"),
    _only_of_the_chart(
        "dimension",
        "dimensions",
        "dimension_group = NEW.dimension_group AND code = NEW.code",
        "unknown_dimension: there is no such dimension value",
    ),
    _only_of_the_chart("vendor", "vendors", "code = NEW.code", "unknown_vendor: there is no such vendor"),
    # What one unit of a currency costs in the company's, as a decimal number, until the next date.
    f"""CREATE TABLE rate (
    currency TEXT NOT NULL CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    first_date TEXT NOT NULL CHECK ({date_check("first_date")}),
    rate TEXT NOT NULL CHECK (CAST(rate AS REAL) > 0),
    PRIMARY KEY (currency, first_date)
) STRICT, WITHOUT ROWID""",
    # `journal` is the code of a journal entry's journal; documents have their own.
    "ALTER TABLE entry ADD COLUMN journal TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE entry ADD COLUMN details TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(details))",
    "ALTER TABLE entry ADD COLUMN rounding_minor INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE entry ADD COLUMN company_currency TEXT CHECK (company_currency GLOB '[A-Z][A-Z][A-Z]')",
    f"ALTER TABLE line ADD COLUMN is_tax INTEGER NOT NULL DEFAULT 0 {_YES_NO.format('is_tax')}",
    # On the line's own side.
    f"""ALTER TABLE line ADD COLUMN company_minor INTEGER
    CHECK (company_minor {AMOUNT} AND (debit_minor <> 0 OR credit_minor <> 0 OR company_minor = 0))""",
    "ALTER TABLE line ADD COLUMN document_no INTEGER",
    # A bill, credit note, payment or refund of accounts payable. `owed_minor` is by how much it raises what is owed to
    # the vendor; `paired_with` the document of the same entry that it settles or is settled by.
    f"""CREATE TABLE document (
    entry_id INTEGER NOT NULL REFERENCES entry (id) DEFERRABLE INITIALLY DEFERRED,
    document_no INTEGER NOT NULL CHECK (document_no > 0),
    kind TEXT NOT NULL CHECK (kind IN ('bill', 'credit_note', 'payment', 'refund')),
    journal TEXT NOT NULL,
    vendor TEXT REFERENCES vendor (code),
    payable_account TEXT NOT NULL REFERENCES account (code),
    owed_minor INTEGER NOT NULL CHECK (
        CASE WHEN kind IN ('bill', 'refund') THEN owed_minor ELSE -owed_minor END BETWEEN 0 AND {MAX_AMOUNT_MINOR}),
    invoice_number TEXT NOT NULL,
    stays_open INTEGER NOT NULL {_YES_NO.format("stays_open")},
    paired_with INTEGER CHECK (paired_with <> document_no),
    PRIMARY KEY (entry_id, document_no)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX document_by_invoice ON document (vendor, invoice_number)",
    """CREATE TRIGGER document_before_entry BEFORE INSERT ON document BEGIN
    SELECT RAISE (ABORT, 'an entry that stands takes no more documents')
        WHERE NEW.entry_id <> (SELECT coalesce(max(id), 0) + 1 FROM entry);
    SELECT RAISE (ABORT, 'unknown_vendor: there is no such vendor, or it is blocked')
        WHERE NEW.vendor IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM vendor WHERE code = NEW.vendor AND active = 1 AND blocked = 0);
    SELECT RAISE (ABORT, 'unknown_account: there is no such account')
        WHERE NOT EXISTS (SELECT 1 FROM account WHERE code = NEW.payable_account AND active = 1);
END""",
    *_stays("document", "a document"),
    """CREATE TABLE settlement (
    entry_id INTEGER NOT NULL,
    document_no INTEGER NOT NULL,
    settled_by_entry_id INTEGER NOT NULL,
    settled_by_document_no INTEGER NOT NULL,
    settled_at TEXT NOT NULL,
    PRIMARY KEY (entry_id, document_no),
    UNIQUE (settled_by_entry_id, settled_by_document_no),
    FOREIGN KEY (entry_id, document_no) REFERENCES document (entry_id, document_no),
    FOREIGN KEY (settled_by_entry_id, settled_by_document_no) REFERENCES document (entry_id, document_no)
) STRICT, WITHOUT ROWID""",
    # A bill is settled by its payment, a credit note by its refund: of one entry, or of one vendor and invoice.
    """CREATE TRIGGER settlement_in_order BEFORE INSERT ON settlement BEGIN
    SELECT RAISE (ABORT, 'a document is settled once')
        WHERE EXISTS (SELECT 1 FROM settlement
                      WHERE (entry_id = NEW.entry_id AND document_no = NEW.document_no)
                          OR (settled_by_entry_id = NEW.settled_by_entry_id
                              AND settled_by_document_no = NEW.settled_by_document_no));
    SELECT RAISE (ABORT, 'these documents do not settle each other')
        WHERE NOT EXISTS (
            SELECT 1 FROM document AS d JOIN entry AS e ON e.id = d.entry_id,
                document AS p JOIN entry AS f ON f.id = p.entry_id
            WHERE d.entry_id = NEW.entry_id AND d.document_no = NEW.document_no
                AND p.entry_id = NEW.settled_by_entry_id AND p.document_no = NEW.settled_by_document_no
                AND (d.kind, p.kind) IN (VALUES ('bill', 'payment'), ('credit_note', 'refund'))
                AND d.owed_minor = -p.owed_minor
                AND d.payable_account = p.payable_account
                AND e.state = 'posted' AND f.state = 'posted' AND e.currency = f.currency
                AND CASE WHEN d.entry_id = p.entry_id
                    THEN d.paired_with = p.document_no
                    ELSE d.paired_with IS NULL AND p.paired_with IS NULL AND d.vendor = p.vendor
                        AND d.invoice_number = p.invoice_number AND d.invoice_number <> ''
                        AND d.stays_open = 0 AND p.stays_open = 0 END);
END""",
    *_stays("settlement", "a settlement"),
    # The bytes of a file lie in the folder of receipts beside the books, under the name `file`.
    """CREATE TABLE attachment (
    entry_id INTEGER NOT NULL REFERENCES entry (id),
    number INTEGER NOT NULL CHECK (number > 0),
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
    file TEXT NOT NULL,
    attached_at TEXT NOT NULL,
    PRIMARY KEY (entry_id, number)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX attachment_by_file ON attachment (file)",
    """CREATE TRIGGER attachment_in_order BEFORE INSERT ON attachment BEGIN
    SELECT RAISE (ABORT, 'there is no entry to attach this to')
        WHERE NOT EXISTS (SELECT 1 FROM entry WHERE id = NEW.entry_id);
    SELECT RAISE (ABORT, 'an attachment of this number is there already')
        WHERE EXISTS (SELECT 1 FROM attachment WHERE entry_id = NEW.entry_id AND number = NEW.number);
END""",
    *_stays("attachment", "an attachment"),
    "DROP TRIGGER line_before_entry",
    """CREATE TRIGGER line_before_entry BEFORE INSERT ON line BEGIN
    SELECT RAISE (ABORT, 'lines are written for the next entry only; an entry that stands takes no more')
        WHERE NEW.entry_id <> (SELECT coalesce(max(id), 0) + 1 FROM entry);
    SELECT RAISE (ABORT, 'unknown_account: there is no such account')
        WHERE NOT EXISTS (SELECT 1 FROM account WHERE code = NEW.account AND active = 1);
    SELECT RAISE (ABORT, 'unknown_tax_code: there is no such tax code')
        WHERE NEW.tax_code IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM tax_code WHERE code = NEW.tax_code AND active = 1);
    SELECT RAISE (ABORT, 'a line belongs to a document that is not there')
        WHERE NEW.document_no IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM document WHERE entry_id = NEW.entry_id AND document_no = NEW.document_no);
END""",
    "DROP TRIGGER line_dimension_before_entry",
    """CREATE TRIGGER line_dimension_before_entry BEFORE INSERT ON line_dimension BEGIN
    SELECT RAISE (ABORT, 'an entry that stands takes no more dimensions')
        WHERE NEW.entry_id <> (SELECT coalesce(max(id), 0) + 1 FROM entry);
    SELECT RAISE (ABORT, 'unknown_dimension: there is no such dimension value')
        WHERE NOT EXISTS (SELECT 1 FROM dimension
                          WHERE dimension_group = NEW.dimension_group AND code = NEW.code AND active = 1);
END""",
    "DROP TRIGGER entry_in_order",
    f"""CREATE TRIGGER entry_in_order BEFORE INSERT ON entry BEGIN
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
                AND account = d.payable_account));
    SELECT RAISE (ABORT, 'the documents of the entry do not settle each other')
        WHERE EXISTS (SELECT 1 FROM document AS d
                      WHERE d.entry_id = NEW.id AND d.paired_with IS NOT NULL AND NOT EXISTS (
                          SELECT 1 FROM document AS p
                          WHERE p.entry_id = NEW.id AND p.document_no = d.paired_with
                              AND p.paired_with = d.document_no AND p.owed_minor = -d.owed_minor));
    {_CLOSED_PERIOD}
END""",  # noqa: S608  constants of ours
    "DROP TRIGGER entry_stays",
    f"""CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN
    SELECT RAISE (ABORT, 'an entry that is recorded cannot be changed, but for draft to posted')
        WHERE {row_of("NEW", _ENTRY_UNCHANGED)} IS NOT {row_of("OLD", _ENTRY_UNCHANGED)}
            OR NOT (OLD.state = 'draft' AND NEW.state = 'posted');
    {_CLOSED_PERIOD}
END""",
    "DROP VIEW journal",
    """CREATE VIEW journal AS
    -- One row a line of an entry, in the order of recording.
    --   accounting_entry_id  Pleo's id of the expense, in lower case
    --   external_id          the voucher number, PX-000001 and on
    --   job_id               the export job that recorded it
    --   posting_date         the date it is booked on, YYYY-MM-DD
    --   account              the account's code; its name and kind stand in the table account
    --   description          what the entry is for
    --   currency             ISO 4217, of both amounts
    --   debit_minor          in minor units, see company.minor_units; 0 on a credit line
    --   credit_minor         in minor units, see company.minor_units; 0 on a debit line
    --   state                draft or posted
    SELECT e.accounting_entry_id, e.external_id, e.job_id, e.posting_date, l.account, e.description, e.currency,
        l.debit_minor, l.credit_minor, e.state
    FROM entry AS e JOIN line AS l ON l.entry_id = e.id
    ORDER BY e.id, l.line_no""",
    f"""CREATE VIEW open_item AS
    -- One row a document of accounts payable, in the order of recording.
    --   external_id          the voucher number of its entry
    --   accounting_entry_id  Pleo's id of the expense, in lower case
    --   vendor               the vendor's code, null where the settings book unknown vendors on an account of their own
    --   kind                 bill, credit_note, payment or refund
    --   invoice_number       the vendor's number of the invoice, empty where it is not known
    --   currency             ISO 4217, of both amounts
    --   owed_minor           by how much it raises what is owed to the vendor, in minor units
    --   open_minor           what of that is not settled: all of it, or 0
    --   state                draft or posted; drafts are not settled
    SELECT e.external_id, e.accounting_entry_id, d.vendor, d.kind, d.invoice_number, e.currency, d.owed_minor,
        iif({settled("d")}, 0, d.owed_minor) AS open_minor, e.state
    FROM entry AS e JOIN document AS d ON d.entry_id = e.id
    ORDER BY e.id, d.document_no""",  # noqa: S608  constants of ours
)
"""The statements that lead from version 1 to version 2."""
