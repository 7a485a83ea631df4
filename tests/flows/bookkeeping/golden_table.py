"""Reads the golden table: cases that an accountant wrote as text, see golden/books.txt for the words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from blocks.erp.base import Capabilities
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, Entry, Vendor
from blocks.erp.precedents import NO_PRECEDENTS, Precedents, StandingBill
from blocks.erp.reference import ROLE_KINDS, JournalUse, KnownVendor, Period, Periods, Reference, Role, Vendors
from blocks.erp.settings import (
    ClosedPeriod,
    DuplicateInvoice,
    ErpSettings,
    MoneyBackSign,
    ReverseChargeCheck,
    Settlement,
    UnknownVendor,
)
from blocks.pleo.items import ExportItem, parse_item
from flows.bookkeeping import BookingContext, book
from flows.bookkeeping.precedents import judged
from flows.failures import Failure
from tests.flows.bookkeeping.golden_items import METHODS, Json, item_of, line_of

GOLDEN = Path(__file__).parent / "golden"
COMPANY = "6d2a6b0e-5b0e-4c57-9a55-0d9f0a3c1b11"
JOB = "5a4b2f80-0000-4000-8000-00000000000a"
ENTRY = "5a4b2f80-0000-4000-8000-000000000001"
LIMITS = Capabilities(
    name="books of the golden table",
    max_entries=100,
    max_description=200,
    max_reference=50,
    max_amount_minor=10**18,
    bills=True,
)
# Pleo's contract (Export API v3), not our code, says which there are.
_REIMBURSEMENTS = (
    None,
    "reimbursement_to_employee",
    "reimbursement_to_employee_refund",
    "reimbursement_to_company",
)
TYPES: dict[str, tuple[str | None, ...]] = {
    "card_purchase": (None,),
    "card_invoice": (None,),
    "out_of_pocket": (None,),
    "mileage": (None,),
    "per_diem": (None,),
    "direct_reimbursement": _REIMBURSEMENTS,
    "external_reimbursement": _REIMBURSEMENTS,
    "invoice": (None,),
    "invoice_payment": (None, "invoice_payment_sent", "invoice_payment_returned"),
    "refund": (None,),
    "chargeback": (None,),
    "cashback": (None,),
    "wallet_topup": (None,),
    "wallet_unload": (None,),
    "atm_withdrawal": (None,),
    "personal_spend": (None,),
    "fee": (None, "interest"),
    "overdraft": (None,),  # not in the contract's list, but on two other pages of Pleo's
}
DOCUMENTS = ("bill", "credit note", "payment", "refund")
_OUTCOMES = ("debit", "credit", "zero", "fails", "dated", "rounding", "notice", "entry", *DOCUMENTS)
_CHOICES = {
    "card_fee_account": str,
    "card_journal": str,
    "closed_period": ClosedPeriod,
    "default_expense_account": str,
    "duplicate_invoice": DuplicateInvoice,
    "invoice_payment_journal": str,
    "minor_units": MinorUnits,
    "money_back_sign": MoneyBackSign,
    "out_of_pocket_journal": str,
    "reverse_charge_check": ReverseChargeCheck,
    "settlement": Settlement,
    "unknown_vendor": UnknownVendor,
    "unknown_vendor_account": str,
    "employee_dimension": str,
    "team_dimension": str,
}


@dataclass(slots=True)
class Case:
    """One block of the table: what Pleo sends under each of `methods`, and row by row what must become of it."""

    title: str
    where: str
    without: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)
    today: date | None = None
    methods: tuple[str, ...] = ("not_stated",)
    item: Json = field(default_factory=dict)
    stands: Precedents = NO_PRECEDENTS
    expected: list[str] = field(default_factory=list)

    @property
    def units(self) -> MinorUnits:
        return self.settings.get("minor_units", MinorUnits.HUNDREDTHS)  # type: ignore[no-any-return]

    @property
    def tax_kind(self) -> str:
        """none, zero, the kind of tax of the only line, several rates, or rounding."""
        lines = self.item["accountingEntryLines"]
        if len(lines) > 1 and len({line["tax"]["rate"] for line in lines if line["tax"]}) > 1:
            return "rounding" if any(map(_is_rounded, lines)) else "several"
        tax = lines[0]["tax"] if lines else None
        if tax is None:
            return "none"
        amount = tax["amount"]
        return "zero" if amount is not None and _value(amount) == 0 else str(tax["type"])

    @property
    def sign(self) -> str:
        value = _value(self.item["amount"]) if self.item["amount"] is not None else 0
        return "positive" if value > 0 else "negative" if value < 0 else "zero"

    def context(self) -> BookingContext:
        """The books that golden/books.txt describes, as this case has them."""
        settings = ErpSettings(**self.settings)
        reference = settings.applied_to(replace(the_reference(self.without), **self.reference))
        return BookingContext(JOB, COMPANY, reference, LIMITS, settings, self.today)


@dataclass(frozen=True, slots=True)
class Run:
    """A case under one method."""

    case: Case
    method: str
    expected: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.case.title}: {self.method}"

    @property
    def fails(self) -> bool:
        return self.expected[0].startswith("fails")

    @property
    def document(self) -> Json:
        """What Pleo sends."""
        item = dict(self.case.item)
        for name, value in METHODS.get(self.method, {"bookkeeping": {"method": self.method}}).items():
            item.setdefault(name, value)
        return item

    def export_item(self) -> ExportItem:
        item = parse_item(self.document)
        assert isinstance(item, ExportItem), f"{self.case.where}: {item}"
        return item

    def outcome(self) -> Entry | Failure:
        """What bookkeeping makes of it, beside what stands in the books."""
        outcome = book(self.export_item(), self.case.context())
        return (
            outcome if isinstance(outcome, Failure) else judged(outcome, self.case.stands, self.case.context().settings)
        )


def runs() -> list[Run]:
    """All cases of the table under each of their methods, file by file."""
    return [run for path in sorted(GOLDEN.glob("*.txt")) for run in _runs(path)]


def item_with(title: str, method: str = "not_stated") -> Json:
    """What Pleo sends in the case of that title."""
    return _by_name()[f"{title}: {method}"].document


def parsed(document: Json, **changes: Any) -> ExportItem:
    """The item that Pleo sends by this document, with `changes` in place of its own fields."""
    item = parse_item({**document, **changes})
    assert isinstance(item, ExportItem), item
    return item


@cache
def _by_name() -> dict[str, Run]:
    return {str(run): run for run in runs()}


def context(**settings: Any) -> BookingContext:
    """The books of the table, with these settings."""
    return BookingContext(JOB, COMPANY, the_reference(), LIMITS, ErpSettings(**settings))


def the_reference(without: tuple[str, ...] = ()) -> Reference:
    """What golden/books.txt says that the books have, less what a case leaves out."""
    roles: dict[Role, Account] = {}
    wallets: dict[str, Account] = {}
    journals: dict[JournalUse, str] = {}
    vendors: list[KnownVendor] = []
    for text in (GOLDEN / "books.txt").read_text("utf-8").splitlines():
        word, *fields = _fields(text)
        if word == "vendor":
            vendors.append(_vendor(fields))
        if word not in ("role", "journal") or fields[0] in without or f"journal {fields[0]}" in without:
            continue
        name, value = fields
        if word == "journal":
            journals[JournalUse(name.replace(" ", "_"))] = value
        elif name.startswith("wallet "):
            wallets[name.removeprefix("wallet ")] = _account(value, Role.WALLET)
        else:
            role = Role(name.replace(" ", "_"))
            roles[role] = _account(value, role)
    known = None if "vendors" in without else Vendors(vendors)
    return Reference(roles, wallets, journals=journals, vendors=known)


def _account(text: str, role: Role) -> Account:
    code, _, name = text.partition(" ")
    return Account(code, name, ROLE_KINDS[role])


def _vendor(fields: list[str]) -> KnownVendor:
    code, _, name = fields[0].partition(" ")
    about = dict(map(_named, fields[1:]))
    payable = _account(about["payable"], Role.PAYABLE) if "payable" in about else None
    numbers = (about.get(key, "") for key in ("external", "account", "tax"))
    return KnownVendor(Vendor(code, name, payable), *numbers, blocked="blocked" in about)


def _runs(path: Path) -> Iterator[Run]:
    everywhere: list[tuple[str, tuple[str, ...]]] = []
    for case in _cases(path, everywhere):
        for method in case.methods:
            yield Run(case, method, tuple(case.expected))
        for method, expected in everywhere:
            yield Run(case, method, expected)


def _cases(path: Path, everywhere: list[tuple[str, tuple[str, ...]]]) -> Iterator[Case]:
    case: Case | None = None
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        word, *fields = _fields(text)
        where = f"{path.name}:{number}"
        if word in ("", "role", "vendor", "journal"):
            continue
        if word == "everywhere":
            everywhere.append((fields[0], ("  ".join(fields[1:]),)))
        elif word == "case":
            if case is not None:
                yield case
            case = Case(fields[0], where)
        else:
            assert case is not None, f"{where}: stands before the first case"
            _read(case, word, fields, where)
    if case is not None:
        yield case


def _read(case: Case, word: str, fields: list[str], where: str) -> None:
    if word == "without":
        case.without = tuple(fields)
    elif word == "method":
        case.methods = tuple(fields)
    elif word == "settings":
        case.settings = _settings(fields)
    elif word == "periods":
        case.reference["periods"] = Periods([_period(text) for text in fields])
    elif word == "company":
        case.reference |= {"company_currency": fields[0], "rates": _rates(fields[1:])}
    elif word == "today":
        case.today = date.fromisoformat(fields[0])
    elif word == "item":
        case.item = {"accountingEntryId": ENTRY, "companyId": COMPANY, **item_of(fields, case.units, where)}
    elif word == "line":
        case.item["accountingEntryLines"].append(line_of(fields, case.item["currency"], case.units, where))
    elif word == "stands":
        case.stands = _with(case.stands, fields)
    elif word in _OUTCOMES:
        case.expected.append("  ".join((word, *fields)))
    else:
        raise AssertionError(f"{where}: {word!r} is no word of the table")


def _settings(fields: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for text in fields:
        name, value = _named(text)
        if name in ("dimensions", "tax_codes"):
            pleo, _, own = value.partition(" is ")
            made.setdefault(name, {})[pleo] = own if own != "nothing" else ""
        else:
            made[name] = _CHOICES[name](value)
    return made


def _with(stands: Precedents, fields: list[str]) -> Precedents:
    """What stands with one more: `bill  V-10  INV-7  100.00 DKK  PX-000001`, or `refund  -100.00 DKK`."""
    figure, _, currency = fields[-2 if fields[0] == "bill" else -1].partition(" ")
    minor = int(Decimal(f"{figure}E2"))
    if fields[0] != "bill":
        type_, _, sub_type = fields[0].partition(" / ")
        return replace(stands, signs=stands.signs | {(type_, sub_type, 1 if minor > 0 else -1)})
    id_ = f"5a4b2f80-0000-4000-8000-1{len(stands.bills):011d}"
    bill = StandingBill(id_, fields[-1], fields[1], fields[2], currency, minor)
    return replace(stands, bills=(*stands.bills, bill))


def _period(text: str) -> Period:
    first, last, state = re.split(r"\.\.| ", text)
    return Period(date.fromisoformat(first), date.fromisoformat(last), {"open": True, "closed": False}[state])


def _rates(fields: list[str]) -> Any:
    known = {}
    for text in fields:
        currency, _, rate, *_, day = text.split(" ")  # DKK = 0.1340 on 2026-10-15
        known[currency, date.fromisoformat(day)] = Decimal(rate)
    return lambda currency, day: known.get((currency, day))


def _is_rounded(line: Json) -> bool:
    gross, net = abs(_value(line["lineAmount"])), abs(_value(line["netAmount"]))
    return line["tax"] is not None and gross - net - abs(_value(line["tax"]["amount"])) in (1, -1)


def _value(amount: Json) -> Decimal:
    value: Decimal = amount["inWalletCurrency"]["value"]
    return value


def _fields(text: str) -> list[str]:
    return re.split(r" {2,}", text.strip()) if text.strip() and not text.startswith("#") else [""]


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition(" ")
    return name, value
