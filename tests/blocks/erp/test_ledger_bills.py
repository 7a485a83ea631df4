"""Bills, credit notes, payments and refunds in the embedded ledger: what is laid down, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from blocks.erp.entries import (
    Account,
    AccountKind,
    Bill,
    Details,
    Dimension,
    Document,
    EntryState,
    Line,
    Recorded,
    Vendor,
)
from blocks.erp.errors import RefusalKind, Refused
from tests.support.erp.ledger_samples import (
    ACME,
    BILL,
    CREDIT_NOTE,
    INPUT_TAX,
    PAYABLE,
    PAYMENT,
    REFUND,
    TRAVEL,
    WALLET,
    a_bill,
    a_document,
    an_entry,
    entry_id,
    opened,
    rows,
    write,
)

MAX = 10**18 - 1


async def test_a_bill_and_its_payment_stand_under_one_external_id(path: Path) -> None:
    async with opened(path) as ledger:
        assert ledger.describe().bills
        outcomes = await ledger.record([a_bill(1, BILL, PAYMENT), an_entry(2)])

    assert [one.external_id for one in outcomes if isinstance(one, Recorded)] == ["PX-000001", "PX-000002"]
    assert rows(path, "SELECT external_id, account, debit_minor, credit_minor FROM journal LIMIT 4") == [
        ("PX-000001", "6000", 1250, 0),
        ("PX-000001", "pleo-payable", 0, 1250),
        ("PX-000001", "pleo-payable", 1250, 0),
        ("PX-000001", "pleo-wallet-DKK", 0, 1250),
    ]
    assert rows(
        path,
        "SELECT document_no, kind, journal, vendor, payable_account, owed_minor, invoice_number, stays_open, "
        "paired_with FROM document",
    ) == [
        (1, "bill", "bills", "V-1", "pleo-payable", 1250, "2026-17", 0, 2),
        (2, "payment", "payments", "V-1", "pleo-payable", -1250, "2026-17", 0, 1),
    ]
    assert rows(path, "SELECT document_no FROM line") == [(1,), (1,), (2,), (2,), (None,), (None,), (None,)]


async def test_the_open_items_are_all_documents_with_what_is_open_of_them(path: Path) -> None:
    posted = EntryState.POSTED
    async with opened(path) as ledger:
        await ledger.record(
            [
                a_bill(1, BILL, PAYMENT, state=posted),
                a_bill(2, CREDIT_NOTE, vendor=None, invoice_number=""),
                a_bill(3, REFUND, state=posted, amount_minor=7),
                an_entry(4),
            ]
        )
    columns = "external_id, accounting_entry_id, vendor, kind, invoice_number, currency, owed_minor, open_minor, state"
    assert rows(path, "SELECT * FROM open_item") == rows(path, f"SELECT {columns} FROM open_item")
    assert rows(path, "SELECT * FROM open_item") == [
        ("PX-000001", entry_id(1), "V-1", "bill", "2026-17", "DKK", 1250, 0, "posted"),
        ("PX-000001", entry_id(1), "V-1", "payment", "2026-17", "DKK", -1250, 0, "posted"),
        ("PX-000002", entry_id(2), None, "credit_note", "", "DKK", -1250, -1250, "draft"),
        ("PX-000003", entry_id(3), "V-1", "refund", "2026-17", "DKK", 7, 7, "posted"),
    ]
    ((sql,),) = rows(path, "SELECT sql FROM sqlite_schema WHERE name = 'open_item'")
    for column in columns.split(", "):
        assert f"--   {column} " in sql


async def test_what_is_open_is_what_the_payable_accounts_hold(path: Path) -> None:
    kinds = [(BILL,), (BILL, PAYMENT), (PAYMENT,), (CREDIT_NOTE,), (CREDIT_NOTE, REFUND), (REFUND,)]
    async with opened(path) as ledger:
        await ledger.record(
            [
                a_bill(n, *one, amount_minor=10**n, invoice_number=str(n), state=EntryState.POSTED)
                for n, one in enumerate(kinds)
            ]
        )
    on_account = rows(path, "SELECT sum(credit_minor - debit_minor) FROM journal WHERE account = 'pleo-payable'")
    assert rows(path, "SELECT sum(open_minor) FROM open_item") == on_account == [(1 - 10**2 - 10**3 + 10**5,)]


async def test_split_lines_keep_their_document_account_tax_and_dimensions(path: Path) -> None:
    lines = (
        Line(TRAVEL, debit_minor=800, tax_code="I25", dimensions=(Dimension("project", "P-1"),), text="hotel"),
        Line(Account("6100", "Meals", AccountKind.EXPENSE), debit_minor=200),
        Line(INPUT_TAX, debit_minor=250, tax=True, tax_code="I25"),
        Line(PAYABLE, credit_minor=1250),
    )
    bill = a_bill(
        1, documents=(Document(kind=BILL, journal="bills", owed_minor=1250, lines=lines), a_document(PAYMENT))
    )
    async with opened(path) as ledger:
        (recorded,) = await ledger.record([bill])
    assert isinstance(recorded, Recorded)
    assert recorded.accounts == ("6000", "6100", "pleo-input-tax", "pleo-payable", "pleo-wallet-DKK")
    assert rows(path, "SELECT document_no, account, is_tax, tax_code, text FROM line ORDER BY line_no") == [
        (1, "6000", 0, "I25", "hotel"),
        (1, "6100", 0, None, ""),
        (1, "pleo-input-tax", 1, "I25", ""),
        (1, "pleo-payable", 0, None, ""),
        (2, "pleo-payable", 0, None, ""),
        (2, "pleo-wallet-DKK", 0, None, ""),
    ]
    assert rows(path, "SELECT line_no, dimension_group, code FROM line_dimension") == [(1, "project", "P-1")]


async def test_a_vendor_opens_as_the_first_entry_names_it(path: Path) -> None:
    own = Account("2410", "Acme's account", AccountKind.LIABILITY)
    acme = replace(ACME, payable=own)
    async with opened(path) as ledger:
        await ledger.record([a_bill(1, vendor=acme, payable=own), a_bill(2, vendor=Vendor("V-1", "Another name"))])
    assert rows(path, "SELECT code, name, payable_account, blocked, source, active FROM vendor") == [
        ("V-1", "Acme A/S", "2410", 0, "pleo", 1)
    ]


async def test_details_journal_and_rounding_are_kept_where_there_are_any(path: Path) -> None:
    details = Details(note="lunch\0", attendees="A, B", invoice_number="2026-17", due_date=date(2026, 4, 1))
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, details=details, journal="K1", rounding_minor=-1), an_entry(2)])
    assert rows(path, "SELECT details, journal, rounding_minor FROM entry") == [
        (
            '{"note": "lunch\ufffd", "attendees": "A, B", "invoice_number": "2026-17", "due_date": "2026-04-01"}',
            "K1",
            -1,
        ),
        ("{}", "", 0),
    ]


def lopsided() -> Bill:
    """Both documents are one off, and so the entry balances."""
    first, second = a_document(BILL, counter=False), a_document(PAYMENT)
    spoilt = replace(first, lines=(replace(first.lines[0], debit_minor=1251), first.lines[1]))
    other = replace(second, lines=(second.lines[0], Line(WALLET, credit_minor=1251, counter=True)))
    return a_bill(2, amount_minor=1251, documents=(spoilt, other))


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (a_bill(2, documents=()), RefusalKind.UNBALANCED, "the entry has no lines"),
        (
            a_bill(2, documents=(a_document(BILL), Document(kind=PAYMENT, journal="", owed_minor=0, lines=()))),
            RefusalKind.UNBALANCED,
            "the payment has no lines",
        ),
        (lopsided(), RefusalKind.UNBALANCED, "debits and credits of the bill differ by 1 minor units"),
        (
            a_bill(2, documents=(replace(a_document(BILL), owed_minor=1249),)),
            RefusalKind.UNBALANCED,
            "the bill raises account pleo-payable by 1250, but what is owed by 1249",
        ),
        (
            a_bill(2, documents=(replace(a_document(CREDIT_NOTE), kind=BILL),)),
            RefusalKind.OTHER,
            "a bill of -1250 is none",
        ),
        (
            a_bill(2, documents=(replace(a_document(PAYMENT), kind=REFUND),)),
            RefusalKind.OTHER,
            "a refund of -1250 is none",
        ),
        (a_bill(2, vendor=Vendor(" ", "x")), RefusalKind.UNKNOWN_VENDOR, "the vendor has no code"),
        (
            a_bill(2, company_currency="EUR"),
            RefusalKind.UNBALANCED,
            "a line has no amount in the company's currency",
        ),
    ],
)
async def test_what_a_bill_itself_shows_to_be_wrong_is_refused_before_and_at_recording(
    path: Path, bad: Bill, kind: RefusalKind, message: str
) -> None:
    async with opened(path) as ledger:
        told = ledger.check(bad)
        outcomes = await ledger.record([a_bill(1), bad, a_bill(3)])
    assert told is not None
    assert (told.kind, told.message) == (kind, message)
    assert outcomes[1] == told
    assert [isinstance(one, Recorded) for one in outcomes] == [True, False, True]
    assert rows(path, "SELECT DISTINCT entry_id FROM document") == [(1,), (2,)]


async def test_the_largest_bill_is_recorded_exactly(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record([a_bill(1, amount_minor=MAX), a_bill(2, amount_minor=0, invoice_number="0")])
        found = await ledger.find([entry_id(1), entry_id(2)])
    assert [found[entry_id(number)].amount_minor for number in (1, 2)] == [MAX, 0]
    assert rows(path, "SELECT owed_minor, open_minor FROM open_item") == [(MAX, MAX), (0, 0)]


async def test_hostile_texts_of_a_vendor_and_invoice_are_stored_as_text(path: Path) -> None:
    vendor = Vendor("V'); DROP TABLE vendor; --\0", "\ud800 & Søn")
    async with opened(path) as ledger:
        (recorded,) = await ledger.record([a_bill(1, vendor=vendor, invoice_number="\0\u202e'")])
        (again,) = await ledger.record([a_bill(2, vendor=vendor, invoice_number="\0\u202e'", documents=_PAYMENT)])
    assert isinstance(recorded, Recorded)
    assert isinstance(again, Recorded)
    assert again.counterparts == ("PX-000001",)
    assert rows(path, "SELECT code, name FROM vendor") == [("V'); DROP TABLE vendor; --\ufffd", "\ufffd & Søn")]


_PAYMENT = (a_document(PAYMENT),)


async def test_a_document_that_the_file_refuses_leaves_nothing_of_its_entry(path: Path) -> None:
    async with opened(path):
        pass
    write(
        path,
        "CREATE TRIGGER no_payments BEFORE INSERT ON document WHEN NEW.kind = 'payment' "
        "BEGIN SELECT RAISE (ABORT, 'no payments today'); END",
    )
    async with opened(path) as ledger:
        outcomes = await ledger.record([a_bill(1), a_bill(2, BILL, PAYMENT, vendor=Vendor("V-2", "New")), a_bill(3)])
    assert outcomes[1] == Refused(entry_id(2), RefusalKind.OTHER, entry_id(2), "no payments today")
    assert rows(path, "SELECT accounting_entry_id, external_id FROM entry ORDER BY id") == [
        (entry_id(1), "PX-000001"),
        (entry_id(3), "PX-000002"),
    ]
    assert rows(path, "SELECT entry_id, document_no FROM document") == [(1, 1), (2, 1)]
    assert rows(path, "SELECT code FROM vendor") == [("V-1",)]
