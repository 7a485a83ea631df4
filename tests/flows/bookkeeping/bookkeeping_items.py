"""Export items drawn by Hypothesis: figures that fit, figures that may not, and well-typed nonsense."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from blocks.pleo.items import BrokenItem, ExportItem, parse_item

COMPANY = "6d2a6b0e-5b0e-4c57-9a55-0d9f0a3c1b11"
ENTRY = "5a4b2f80-0000-4000-8000-000000000001"

MONEY_BACK_TYPES = frozenset({"refund", "chargeback", "cashback", "wallet_topup"})
MONEY_BACK_SUBTYPES = frozenset(
    {"reimbursement_to_employee_refund", "reimbursement_to_company", "invoice_payment_returned"}
)
CATEGORY_TYPES = frozenset(
    {"card_purchase", "card_invoice", "out_of_pocket", "mileage", "per_diem", "invoice", "fee", "overdraft"}
    | {"refund", "chargeback", "cashback"}
)
_REIMBURSEMENT = ("reimbursement_to_employee", "reimbursement_to_employee_refund", "reimbursement_to_company", None)
TYPES: tuple[tuple[str, str | None], ...] = (
    *((type_, None) for type_ in sorted(CATEGORY_TYPES | MONEY_BACK_TYPES)),
    *(("direct_reimbursement", sub_type) for sub_type in _REIMBURSEMENT),
    *(("external_reimbursement", sub_type) for sub_type in _REIMBURSEMENT),
    *(("invoice_payment", sub_type) for sub_type in ("invoice_payment_sent", "invoice_payment_returned", None)),
    ("wallet_unload", None),
    ("atm_withdrawal", None),
    ("personal_spend", None),
    ("fee", "interest"),
)
KINDS = ("none", "inclusive", "exclusive", "reverse")


def thoroughly(examples: int) -> settings:
    """So many examples, the same ones on every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class LineFigures:
    """What stands on one line, in hundredths; `rate` is in percent, None where Pleo names none."""

    kind: str
    line: int
    net: int
    tax: int
    rate: int | None = None


@dataclass(frozen=True)
class Figures:
    """An item as far as its figures go."""

    type: str
    sub_type: str | None
    header: int
    lines: tuple[LineFigures, ...]
    currency: str = "DKK"
    method: str | None = "journal"

    @property
    def money_back(self) -> bool:
        return self.type in MONEY_BACK_TYPES or self.sub_type in MONEY_BACK_SUBTYPES

    @property
    def as_bill(self) -> bool:
        return self.method == "accounts_payable" and self.type in CATEGORY_TYPES | {"invoice_payment"}

    def negated(self) -> Figures:
        lines = tuple(replace(line, line=-line.line, net=-line.net, tax=-line.tax) for line in self.lines)
        return replace(self, header=-self.header, lines=lines)


def export_item(figures: Figures) -> ExportItem:
    """The item with these figures, complete in everything else."""
    item = parse_item(document(figures))
    assert isinstance(item, ExportItem)
    return item


def document(figures: Figures) -> dict[str, Any]:
    """The same as Pleo sends it."""

    def money(value: int) -> dict[str, Any]:
        return {"inWalletCurrency": {"currency": figures.currency, "value": value}}

    def line_of(number: int, line: LineFigures) -> dict[str, Any]:
        rate = None if line.rate is None else Decimal(line.rate) / 100
        tax = {"code": f"T{number}", "rate": rate, "type": line.kind, "amount": money(line.tax)}
        return {
            "account": {"id": None, "name": f"Category {number}", "code": f"6{number:03d}"},
            "lineAmount": money(line.line),
            "netAmount": money(line.net),
            "tax": tax if line.kind != "none" else None,
        }

    return {
        "accountingEntryId": ENTRY,
        "companyId": COMPANY,
        "type": figures.type,
        "subType": figures.sub_type,
        "date": "2026-10-15T00:00:00Z",
        "amount": money(figures.header),
        "accountingEntryLines": [line_of(number, line) for number, line in enumerate(figures.lines, 1)],
        "bookkeeping": {"method": figures.method} if figures.method is not None else None,
        "vendor": {"name": "Vendor", "code": "V-1"},
    }


_SIZES = st.one_of(
    st.integers(-5, 5), st.integers(-100_000, 100_000), st.integers(-(10**22), 10**22), st.integers(2**53, 2**53 + 99)
)


def _fitting_line(net_is_gross: bool, gross: int, choice: int) -> tuple[LineFigures, int]:
    """A line of that gross amount; the one number draws its tax and rounding, for one draw is fast and four are not."""
    choice, kind = divmod(choice, len(KINDS))
    choice, rate = divmod(choice, 28)
    choice, rounding = divmod(choice, 3)
    tax = 0 if kind == 0 else abs(gross) * rate // (100 + rate)
    if KINDS[kind] == "reverse":  # to the nearest, as Pleo does: cut off, it may be more than a cent from the other's
        tax = (abs(gross) * rate + 50) // 100
    less_tax = tax != 0 and (KINDS[kind] == "exclusive" or choice == 1)
    on_top = tax if KINDS[kind] == "reverse" and choice == 2 else 0
    other = max(0, abs(gross) - (tax if less_tax else -on_top) + rounding - 1)
    if KINDS[kind] == "exclusive" and tax and other == abs(gross):
        other -= 1  # equal amounts are no rounding of an exclusive tax
    sign = -1 if gross < 0 else 1
    line, net = (sign * other, gross) if net_is_gross else (gross, sign * other)
    return LineFigures(KINDS[kind], line, net, sign * tax, rate if kind else None), gross


_FITTING_LINES = st.lists(st.tuples(_SIZES, st.integers(0, len(KINDS) * 28 * 3 * 3 - 1)), min_size=1, max_size=6)


@st.composite
def fitting(draw: st.DrawFn) -> Figures:
    """Figures that add up in one of the ways that the readings allow."""
    type_, sub_type = draw(st.sampled_from(TYPES))
    net_is_gross = draw(st.booleans())
    made = [_fitting_line(net_is_gross, gross, choice) for gross, choice in draw(_FITTING_LINES)]
    return Figures(type_, sub_type, sum(gross for _, gross in made), tuple(line for line, _ in made))


def _small_line(choice: int) -> LineFigures:
    choice, kind = divmod(choice, len(KINDS))
    choice, line = divmod(choice, 9)
    tax, net = divmod(choice, 9)
    return LineFigures(KINDS[kind], line - 4, net - 4, tax - 4)


@st.composite
def colliding(draw: st.DrawFn) -> Figures:
    """Small figures that often nearly fit, and the header one of the two sums or anything."""
    type_, sub_type = draw(st.sampled_from(TYPES))
    choices = draw(st.lists(st.integers(0, len(KINDS) * 9**3 - 1), min_size=1, max_size=3))
    lines = tuple(map(_small_line, choices))
    headers = [sum(line.line for line in lines), sum(line.net for line in lines), *range(-2, 3)]
    return Figures(type_, sub_type, draw(st.sampled_from(headers)), lines)


_NOBODY = "00000000-0000-0000-0000-000000000000"
_TEXTS = (
    None,
    "",
    " ",
    "\x00",
    "=1+1",
    "<script>",
    "\u202egnp",
    "\ud83d",
    "6000",
    "a\nb",
    "0" * 200,
    "👩🏽‍🚀" * 90,
    _NOBODY,
)
_NUMBERS = (
    0,
    -1,
    2**53 + 1,
    10**40,
    *map(Decimal, ("0E+999999", "-0", "1E+999999", "1E-999999", "1.0", "1E+5", "0.5")),
)


class _Wild:
    """Draws one field after the other: mostly what is usual, now and then anything that its type allows."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def often(self, usual: Any, *odd: Any) -> Any:
        choice = self._draw(st.integers(0, 200)) - 100  # the ends of the range come up most
        return odd[choice] if 0 <= choice < len(odd) else usual

    def text(self, usual: str | None, odd: tuple[str | None, ...] = _TEXTS) -> str | None:
        chosen = self.often(usual, *odd)
        return self._draw(st.text(st.characters(exclude_categories=()), max_size=9)) if chosen == " " else chosen

    def words(self, usual: str) -> str:
        return self.text(usual) or ""

    def money(self, usual: int) -> dict[str, Any] | None:
        money = {"currency": self.often("DKK", "EUR", "XXX", "", "ðkk"), "value": self.often(usual, *_NUMBERS)}
        return self.often({"inWalletCurrency": money, "inSupplierCurrency": self.often(money, None)}, None, {})

    def account(self) -> dict[str, Any] | None:
        account = {
            "id": self.text(None),
            "name": self.words("Travel"),
            "code": self.text("6300"),
            "identifier": self.text(None),
        }
        return self.often(account, None)

    def tax(self, tax: int) -> dict[str, Any]:
        return {
            "code": self.text("T"),
            "rate": self.often(None, *_NUMBERS),
            "type": self.words(self._draw(st.sampled_from(KINDS))),
            "amount": self.money(tax),
            "ingoingTaxAccount": self.text(None),
            "outgoingTaxAccount": self.text(None),
        }

    def line(self, gross: int) -> dict[str, Any]:
        tax = self._draw(st.sampled_from((0, gross // 5)))
        return {
            "account": self.account(),
            "lineAmount": self.money(gross),
            "netAmount": self.money(gross - tax),
            "tax": self.often(self.tax(tax), None),
            "tags": self.often(None, [], [None, {"groupCode": self.words("team"), "code": self.words("T-1")}]),
        }

    def day(self) -> str:
        return str(self.often("2026-10-15T00:00:00Z", "0001-01-01T01:00:00Z", "9999-12-31T23:59:59.999999Z"))

    def information(self) -> dict[str, Any]:
        return {
            "reconciliationId": self.text("book-1"),
            "attendees": self.often(None, [], ["A", None, "\x00", "B" * 999]),
            "reconciledEntries": self.often(None, [], ["book-2", "", "book-3"]),
            "invoiceInformation": self.often({"invoiceNumber": self.text("INV-7"), "dueDate": self.day()}, None),
        }

    def item(self) -> dict[str, Any]:
        type_, sub_type = self._draw(st.sampled_from(TYPES))
        grosses = self._draw(st.lists(st.integers(-999, 999), min_size=1, max_size=3))
        return {
            "accountingEntryId": ENTRY,
            "companyId": self.often(COMPANY, ENTRY),
            "type": self.words(type_),
            "subType": self.text(sub_type),
            "date": self.day(),
            "amount": self.money(sum(grosses)),
            "accountingEntryLines": self.often([self.line(gross) for gross in grosses], None, []),
            "additionalInformation": self.often(self.information(), None),
            "contraAccount": self.account(),
            "note": self.text("note"),
            "supplier": self.often({"name": self.text("Supplier"), "code": self.text("V-2")}, None),
            "user": self.often({"name": self.words("Employee"), "code": self.text("E-1")}, None),
            "team": self.often({"name": self.text("Team"), "code": self.text("T-1")}, None),
            "bookkeeping": self.often({"method": self.often("accounts_payable", "journal", "none", "", "\n")}, None),
            "vendor": self.often({"name": self.words("Vendor"), "code": self.text("V-1")}, None),
            "servicePeriod": self.often({"from": self.day(), "to": self.day()}, None),
        }


@st.composite
def wild(draw: st.DrawFn) -> ExportItem:
    """An item that the contract's types allow, odd in a place or two."""
    item = parse_item(_Wild(draw).item())
    assert not isinstance(item, BrokenItem), item.problem
    return item


def readings(figures: Figures) -> list[list[int]]:
    """The lines' gross amounts in every way that the rules of the design page, told once more, can read them."""
    line_amounts = [line.line for line in figures.lines]
    net_amounts = [line.net for line in figures.lines]
    return [
        gross
        for gross, other in ((line_amounts, net_amounts), (net_amounts, line_amounts))
        if sum(gross) == figures.header and all(map(_fits, gross, other, figures.lines))
    ]


def _fits(signed_gross: int, signed_other: int, line: LineFigures) -> bool:
    gross, other, tax = abs(signed_gross), abs(signed_other), abs(line.tax)
    if line.kind == "none" or tax == 0:
        return gross - 1 <= other <= gross + 1
    if tax > gross:
        return False
    less_tax = gross - tax - 1 <= other <= gross - tax + 1
    if line.kind == "exclusive":
        return less_tax and other != gross
    on_top = line.kind == "reverse" and gross + tax - 1 <= other <= gross + tax + 1
    return less_tax or on_top or gross - 1 <= other <= gross + 1
