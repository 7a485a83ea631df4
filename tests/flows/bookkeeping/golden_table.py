"""Reads the golden table: cases that an accountant wrote as text, see golden/books.txt for the words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from blocks.erp.base import Capabilities
from blocks.erp.entries import Account, JournalEntry, Line
from blocks.erp.reference import ROLE_KINDS, Reference, Role
from blocks.pleo.items import ExportItem, parse_item
from flows.bookkeeping import Books
from flows.failures import Failure

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
}
_OUTCOMES = ("debit", "credit", "zero", "fails")


@dataclass(slots=True)
class Case:
    """One block of the table. `expected` is its outcome, row by row."""

    title: str
    where: str
    without: tuple[str, ...] = ()
    item: dict[str, Any] = field(default_factory=dict)
    expected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.title

    @property
    def fails(self) -> bool:
        return self.expected[0].startswith("fails")

    @property
    def tax_kind(self) -> str:
        """none, zero or the kind of tax of the first line."""
        tax = self.item["accountingEntryLines"][0]["tax"] if self.item["accountingEntryLines"] else None
        if tax is None:
            return "none"
        amount = tax["amount"]
        return "zero" if amount is not None and amount["inWalletCurrency"]["value"] == 0 else str(tax["type"])

    @property
    def sign(self) -> str:
        amount = self.item["amount"]
        value = amount["inWalletCurrency"]["value"] if amount is not None else 0
        return "positive" if value > 0 else "negative" if value < 0 else "zero"

    def export_item(self) -> ExportItem:
        item = parse_item(self.item)
        assert isinstance(item, ExportItem), f"{self.where}: {item}"
        return item


def cases() -> list[Case]:
    """All cases of the table, file by file."""
    return [case for path in sorted(GOLDEN.glob("*.txt")) for case in _cases(path)]


def books(without: tuple[str, ...] = ()) -> Books:
    """The books that golden/books.txt describes, less some of their role accounts."""
    roles: dict[Role, Account] = {}
    wallets: dict[str, Account] = {}
    for text in (GOLDEN / "books.txt").read_text("utf-8").splitlines():
        word, *fields = _fields(text)
        if word != "role":
            continue
        name, account = fields
        code, _, label = account.partition(" ")
        if name in without:
            continue
        if name.startswith("wallet "):
            wallets[name.removeprefix("wallet ")] = Account(code, label, ROLE_KINDS[Role.WALLET])
        else:
            role = Role(name.replace(" ", "_"))
            roles[role] = Account(code, label, ROLE_KINDS[role])
    return Books(JOB, COMPANY, Reference(roles, wallets), LIMITS)


def outcome_rows(outcome: JournalEntry | Failure) -> list[str]:
    """What came of an item, in the words of the table."""
    if isinstance(outcome, Failure):
        return [f"fails  {outcome.type}  {outcome.reason}"]
    return [_row(line) for line in outcome.lines]


def _row(line: Line) -> str:
    amount = line.debit_minor or line.credit_minor
    side = "debit" if line.debit_minor else "credit" if line.credit_minor else "zero"
    both = line.debit_minor and line.credit_minor
    fields = [side if not both else "both sides", f"{line.account.code} {line.account.name}", _money(amount)]
    fields += [f"code {line.tax_code}"] if line.tax_code is not None else []
    fields += [f"tag {dimension.group} {dimension.code}" for dimension in line.dimensions]
    fields += ["settles"] if line.counter else []
    return "  ".join(fields)


def _money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _fields(text: str) -> list[str]:
    return re.split(r" {2,}", text.strip()) if text.strip() and not text.startswith("#") else [""]


def _cases(path: Path) -> Iterator[Case]:
    case: Case | None = None
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        word, *fields = _fields(text)
        where = f"{path.name}:{number}"
        if word in ("", "role"):
            continue
        if word == "case":
            if case is not None:
                yield case
            case = Case(fields[0], where)
            continue
        assert case is not None, f"{where}: stands before the first case"
        if word == "without":
            case.without = tuple(fields)
        elif word == "item":
            case.item = _item(fields, where)
        elif word == "line":
            case.item["accountingEntryLines"].append(_line(fields, case.item["currency"], where))
        elif word in _OUTCOMES:
            case.expected.append("  ".join((word, *fields)))
        else:
            raise AssertionError(f"{where}: {word!r} is no word of the table")
    if case is not None:
        yield case


def _item(fields: list[str], where: str) -> dict[str, Any]:
    type_, _, sub_type = fields[0].partition(" / ")
    item: dict[str, Any] = {
        "accountingEntryId": ENTRY,
        "companyId": COMPANY,
        "type": type_ if type_ != "(empty)" else "",
        "subType": (sub_type if sub_type != "(empty)" else "") if sub_type else None,
        "date": "2026-10-15T00:00:00Z",
        "amount": _amount(fields[1], ""),
        "accountingEntryLines": [],
        "contraAccount": None,
        "currency": fields[1].rpartition(" ")[2],  # of the table, not of Pleo: what the lines' amounts are in
    }
    for name, value in map(_named, fields[2:]):
        if name == "contra":
            item["contraAccount"] = _account(value)
        elif name == "company":
            item["companyId"] = value
        else:
            raise AssertionError(f"{where}: an item has no {name!r}")
    return item


def _line(fields: list[str], currency: str, where: str) -> dict[str, Any]:
    line: dict[str, Any] = {"account": _account(fields[0]), "lineAmount": None, "netAmount": None, "tax": None}
    tags: list[dict[str, str]] = []
    for name, value in map(_named, fields[1:]):
        if name in ("line", "net"):
            line[f"{name}Amount"] = _amount(value, currency)
        elif name == "tag":
            group, _, code = value.partition(" ")
            tags.append({"groupCode": group, "code": code})
        elif value.endswith("%"):
            rate = Decimal(value.removesuffix("%").strip()) / 100
            line["tax"] = {"type": name, "rate": rate, "amount": None, "code": None}
        elif line["tax"] is None:
            raise AssertionError(f"{where}: {name!r} stands before the kind of tax")
        elif name == "tax":
            line["tax"]["amount"] = _amount(value, currency)
        elif name in ("code", "ingoing", "outgoing"):
            line["tax"][name if name == "code" else f"{name}TaxAccount"] = value if value != "(empty)" else ""
        else:
            raise AssertionError(f"{where}: a line has no {name!r}")
    line["tags"] = tags or None
    return line


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition(" ")
    return name, value


def _amount(text: str, currency: str) -> dict[str, Any] | None:
    if text == "none":
        return None
    figure, _, own = text.partition(" ")
    return {"inWalletCurrency": {"currency": own or currency, "value": Decimal(f"{figure}E2")}}


def _account(text: str) -> dict[str, Any] | None:
    if text == "none":
        return None
    number, _, name = text.partition(" ")
    account: dict[str, Any] = {"id": "0b5cf1f5-1c43-4ff5-8f0f-2f7d4c6f9a22", "name": name}
    if number == "unsure":
        account |= {"id": "00000000-0000-0000-0000-000000000000", "code": "9999", "identifier": "9999"}
    elif number.startswith("id="):
        account |= {"code": None, "identifier": number.removeprefix("id=")}
    else:
        account |= {"code": None if number == "-" else number, "identifier": None}
    return account
