"""Bills, receipts, details and other currencies in the Beancount file, as Beancount itself reads them."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from beancount import loader
from beancount.core import data
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Details, Entry, EntryState, Line, Money, Vendor
from tests.blocks.erp.test_ledger_beancount import (
    bean_check,
    load,
    sums_of_beancount,
    sums_of_journal,
    transactions,
    written,
)
from tests.support.erp.ledger_samples import (
    BILL,
    CREDIT_NOTE,
    PAYMENT,
    REFUND,
    a_bill,
    an_attachment,
    an_entry,
    rows,
)


def told(one: Any) -> dict[str, Any]:
    """The metadata of a transaction or posting, but for what every transaction has."""
    common = {"filename", "lineno", "pleo-id", "pleo-job", "pleo-type", "reference"}
    return {key: value for key, value in one.meta.items() if key not in common and key[0] != "_"}


async def test_a_bill_and_its_payment_are_one_transaction_with_each_line_under_its_document(tmp_path: Path) -> None:
    details = Details(
        note='say "hi"', employee="E-1", settles="R-1, R-2", invoice_number="2026-17", invoice_date=date(2026, 2, 1)
    )
    bill = a_bill(1, BILL, PAYMENT, details=details, rounding_minor=-1, original_date=date(2026, 1, 31))
    path = await written(tmp_path / "books.sqlite", bill)
    bean_check(path)
    (one,) = transactions(load(path))
    assert told(one) == {
        "original-date": date(2026, 1, 31),
        "rounding": "-0.01 DKK",
        "journal": "bills, payments",
        "kinds": "bill, payment",
        "vendor": "V-1",
        "vendor-name": "Acme A/S",
        "note": 'say "hi"',
        "employee": "E-1",
        "settles": "R-1, R-2",
        "invoice-number": "2026-17",
        "invoice-date": date(2026, 2, 1),
    }
    assert [(posting.account.partition("-x")[0], str(posting.units), told(posting)) for posting in one.postings] == [
        ("Expenses:6000", "12.50 DKK", {"kind": "bill"}),
        ("Liabilities:Pleo-payable", "-12.50 DKK", {"kind": "bill"}),
        ("Liabilities:Pleo-payable", "12.50 DKK", {"kind": "payment"}),
        ("Assets:Pleo-wallet-DKK", "-12.50 DKK", {"kind": "payment"}),
    ]


async def test_two_bills_of_one_invoice_name_each_other_and_a_payment_none(tmp_path: Path) -> None:
    path = await written(
        tmp_path / "books.sqlite",
        a_bill(1, BILL),
        a_bill(2, PAYMENT),
        a_bill(3, BILL, PAYMENT),
        a_bill(4, BILL, currency="EUR"),
        a_bill(5, BILL, invoice_number="2026-18"),
        a_bill(6, BILL, invoice_number=""),
        a_bill(7, BILL, invoice_number=""),
        a_bill(8, BILL, vendor=None),
    )
    bean_check(path)
    named = [one.meta.get("also-billed-by") for one in transactions(load(path))]
    expected = ["PX-000003, PX-000004", None, "PX-000001, PX-000004", "PX-000001, PX-000003"]
    assert named == [*expected, None, None, None, None]


async def test_bills_and_payments_of_one_invoice_share_a_link_and_others_do_not(tmp_path: Path) -> None:
    path = await written(
        tmp_path / "books.sqlite",
        a_bill(1, BILL),
        a_bill(2, PAYMENT),
        a_bill(3, CREDIT_NOTE, REFUND, invoice_number="2026/17"),
        a_bill(4, PAYMENT, vendor=Vendor("V", "x"), invoice_number="1-2026-17"),
        a_bill(5, PAYMENT, currency="EUR"),
        a_bill(6, PAYMENT, invoice_number=""),
        a_bill(7, PAYMENT, vendor=None),
        a_bill(8, PAYMENT, vendor=Vendor("é" * 200, "x"), invoice_number="\n^ #tag" * 50),
        an_entry(9),
    )
    bean_check(path)
    links = [one.links - {f"PX-{number:06d}"} for number, one in enumerate(transactions(load(path)), 1)]
    assert links[0] == links[1]
    assert len({tuple(one) for one in links if one}) == 5
    assert [len(one) for one in links] == [1, 1, 1, 1, 1, 0, 0, 1, 0]
    assert next(iter(links[0])).startswith("INV-V-1-2026-17-")


async def test_amounts_have_as_many_decimals_as_the_currency(tmp_path: Path) -> None:
    def in_currency(number: int, currency: str) -> Entry:
        return an_entry(number, currency=currency, supplier=Money("KWD", 1234567))

    iso = await written(
        tmp_path / "iso.sqlite",
        *(in_currency(number, currency) for number, currency in enumerate(("JPY", "DKK", "KWD"), 1)),
        minor_units=MinorUnits.ISO4217,
    )
    hundredths = await written(tmp_path / "hundredths.sqlite", in_currency(1, "JPY"))
    for path in (iso, hundredths):
        bean_check(path)
    assert [str(one.postings[0].units) for one in transactions(load(iso))] == ["1000 JPY", "10.00 DKK", "1.000 KWD"]
    told = [one.meta.get("supplier-amount") for one in transactions(load(iso))]
    assert told == ["1234.567 KWD", "1234.567 KWD", None]  # in the currency of the expense itself it tells nothing
    (one,) = transactions(load(hundredths))
    assert (str(one.postings[0].units), one.meta["supplier-amount"]) == ("10.00 JPY", "1234.567 KWD")
    assert sums_of_beancount(load(iso), MinorUnits.ISO4217) == sums_of_journal(tmp_path / "iso.sqlite")


def in_euro(number: int, company: tuple[int, ...] = (7461, 1866, 9327)) -> Entry:
    entry = an_entry(number, currency="EUR", company_currency="DKK")
    lines = tuple(replace(line, company_minor=minor) for line, minor in zip(entry.lines, company, strict=True))
    return replace(entry, lines=lines)


async def test_beancount_itself_checks_the_balance_in_the_company_s_currency(tmp_path: Path) -> None:
    path = await written(tmp_path / "books.sqlite", in_euro(1), an_entry(2), company_currency="DKK")
    bean_check(path)
    text = path.read_text(encoding="utf-8")
    assert "  10.00 EUR @@ 74.61 DKK\n" in text
    assert "  -12.50 EUR @@ 93.27 DKK\n" in text
    (one, other) = transactions(load(path))
    weights = [(posting.units.number * posting.price.number).quantize(Decimal("0.01")) for posting in one.postings]
    assert weights == [Decimal("74.61"), Decimal("18.66"), Decimal("-93.27")]
    assert [posting.price for posting in other.postings] == [None] * 3

    path.write_text(text.replace("-12.50 EUR @@ 93.27 DKK", "-12.50 EUR @@ 93.28 DKK"), encoding="utf-8")
    errors = loader.load_file(str(path))[1]
    assert [error.message for error in errors] == ["Transaction does not balance: (-0.010000 DKK)"]


async def test_receipts_are_documents_that_lie_where_the_file_says(tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    pdf = an_attachment(downloads, 1, name='receipt "1".pdf')
    photo = an_attachment(downloads, 2, b"photo", name="a.png", media_type="image/png")
    path = await written(
        tmp_path / 'my "books" \\ é.sqlite',
        an_entry(1, attachments=(pdf, photo)),
        an_entry(2, attachments=(pdf, replace(pdf, number=2))),
    )
    bean_check(path)
    directives = load(path)
    folder = f'my "books" \\ é-receipts/{pdf.sha256}.pdf'
    assert [told(one) for one in transactions(directives)] == [
        {
            "document-1": folder,
            "receipt-1": 'receipt "1".pdf',
            "document-2": f'my "books" \\ é-receipts/{photo.sha256}.png',
            "receipt-2": "a.png",
        },
        {"document-1": folder, "receipt-1": 'receipt "1".pdf', "document-2": folder, "receipt-2": 'receipt "1".pdf'},
    ]
    documents = [one for one in directives if isinstance(one, data.Document)]
    assert [(content_of(one.filename), one.links) for one in documents] == [
        (b"%PDF-1.7 receipt", {"PX-000001"}),
        (b"photo", {"PX-000001"}),
        (b"%PDF-1.7 receipt", {"PX-000002"}),
    ]


def content_of(file: str) -> bytes:
    return Path(file).read_bytes()


async def test_a_folder_name_that_beancount_cannot_write_leaves_the_names_of_the_receipts(tmp_path: Path) -> None:
    path = await written(tmp_path / "two\nlines.sqlite", an_entry(1, attachments=(an_attachment(tmp_path),)))
    bean_check(path)
    (one,) = transactions(load(path))
    assert told(one) == {"receipt-1": "receipt-1.pdf"}


async def test_hostile_details_and_names_are_one_line_of_text_each(tmp_path: Path) -> None:
    hostile = '"\n2026-01-01 open Assets:Stolen\0\u202e' + "x" * 5000
    details = Details(
        **dict.fromkeys(("note", "attendees", "employee", "team", "settles", "invoice_number"), hostile),
        service_from=date.min,
        service_to=date.max,
    )
    bill = a_bill(
        1,
        BILL,
        PAYMENT,
        details=details,
        vendor=Vendor(hostile, hostile),
        invoice_number=hostile,
        attachments=(an_attachment(tmp_path, name=hostile, media_type=hostile),),
    )
    path = await written(tmp_path / "books.sqlite", bill)
    bean_check(path)
    (one,) = transactions(load(path))
    assert len(told(one)) == 14
    assert one.meta["service-to"] == date.max
    assert max(len(line) for line in path.read_text(encoding="utf-8").splitlines()) < 1100


AMOUNTS = st.one_of(st.integers(1, 100_000), st.sampled_from([1, 3, 2**53 + 1, 10**16]))
KINDS = st.sampled_from([(BILL,), (PAYMENT,), (BILL, PAYMENT), (CREDIT_NOTE,), (REFUND,), (CREDIT_NOTE, REFUND)])
COMPANY_CURRENCIES = st.sampled_from([None, "DKK", "JPY", "KWD"])


@st.composite
def in_the_currency_of(draw: st.DrawFn, entry: Entry, company_currency: str | None) -> Entry:
    """The entry with amounts in the company's currency that balance by document, where that is another one."""
    if company_currency in (None, entry.currency):
        return entry

    def worth(lines: tuple[Line, ...]) -> tuple[Line, ...]:
        debits = [draw(AMOUNTS) for line in lines if line.debit_minor]
        credit = sum(debits)
        return tuple(
            replace(line, company_minor=debits.pop(0) if line.debit_minor else credit if line.credit_minor else 0)
            for line in lines
        )

    changes: dict[str, Any] = {"company_currency": company_currency}
    if hasattr(entry, "documents"):
        changes["documents"] = tuple(replace(one, lines=worth(one.lines)) for one in entry.documents)
    else:
        changes["lines"] = worth(entry.all_lines)
    return replace(entry, **changes)


@st.composite
def books(draw: st.DrawFn) -> tuple[MinorUnits, str | None, list[Entry]]:
    company_currency = draw(COMPANY_CURRENCIES)
    drawn: list[Entry] = []
    for number in range(draw(st.integers(1, 6))):
        currency, amount = draw(st.sampled_from(["DKK", "EUR", "JPY", "KWD"])), draw(AMOUNTS)
        changes: dict[str, Any] = {
            "currency": currency,
            "amount_minor": amount,
            "state": draw(st.sampled_from(EntryState)),
            "details": Details(note=draw(st.text(max_size=9)), team=draw(st.text(max_size=9))),
        }
        entry: Entry
        if draw(st.booleans()):
            tax = draw(st.integers(0, amount - 1))
            entry = an_entry(number, tax_minor=tax, **changes)
        else:
            entry = a_bill(number, *draw(KINDS), invoice_number=draw(st.sampled_from(["", "1", "é"])), **changes)
        drawn.append(draw(in_the_currency_of(entry, company_currency)))
    return draw(st.sampled_from(MinorUnits)), company_currency, drawn


@settings(derandomize=True, max_examples=60, deadline=None)
@given(content=books())
def test_beancount_computes_the_sums_of_the_journal_whatever_the_books_hold(
    content: tuple[MinorUnits, str | None, list[Entry]],
) -> None:
    units, company_currency, drawn = content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "books.sqlite")
        file = asyncio.run(written(path, *drawn, minor_units=units, company_currency=company_currency))
        directives = load(file)
        in_journal, in_beancount = sums_of_journal(path), sums_of_beancount(directives, units)
        open_items = rows(path, "SELECT currency, sum(open_minor) FROM open_item GROUP BY 1")
        payable = dict(
            rows(
                path,
                "SELECT currency, sum(credit_minor - debit_minor) FROM journal WHERE account = 'pleo-payable' "
                "AND accounting_entry_id IN (SELECT accounting_entry_id FROM open_item) GROUP BY 1",
            )
        )
    assert in_journal == in_beancount
    expected: Counter[tuple[str, str]] = Counter()
    for entry in drawn:
        for line in entry.all_lines:
            expected[line.account.code, entry.currency] += line.amount_minor
    assert in_journal == dict(expected)
    # Drafts are open with both their documents, which cancel out: what is open is what the account holds.
    assert dict(open_items) == payable


@pytest.mark.parametrize("state", list(EntryState))
async def test_drafts_and_posted_bills_have_their_flags(tmp_path: Path, state: EntryState) -> None:
    path = await written(tmp_path / "books.sqlite", a_bill(1, state=state))
    (one,) = transactions(load(path))
    assert one.flag == {"draft": "!", "posted": "*"}[state]
