"""An accountant who books the golden table from Pleo's own rules, and has never seen flows/bookkeeping.

The tables below are sections 3 and 5 of Pleo's bookkeeping rules: which account each type debits and credits, and
which documents it makes under accounts payable. Every amount is signed: a debit is positive.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

from tests.flows.bookkeeping.golden_table import DOCUMENTS, GOLDEN, Run

Booked = Counter[tuple[str, str, int]]
"""How often each (document, account, debit or minus credit) stands there; (document, "owed", amount) for documents."""

# type: what is debited, what is credited, and whether it is money back, which is booked the other way round.
SIDES = {
    "card_purchase": ("lines", "wallet", False),
    "card_invoice": ("lines", "wallet", False),
    "out_of_pocket": ("lines", "out of pocket", False),
    "mileage": ("lines", "out of pocket", False),
    "per_diem": ("lines", "out of pocket", False),
    "direct_reimbursement": ("out of pocket", "wallet", False),
    "external_reimbursement": ("out of pocket", "reimbursement contra", False),
    "invoice": ("lines", "payable", False),
    "invoice_payment": ("payable", "wallet", False),
    "refund": ("lines", "wallet", True),
    "chargeback": ("lines", "wallet", True),
    "cashback": ("lines", "wallet", True),
    "wallet_topup": ("contra", "wallet", True),
    "wallet_unload": ("contra", "wallet", False),
    "atm_withdrawal": ("out of pocket", "wallet", False),
    "personal_spend": ("out of pocket", "wallet", False),
    "fee": ("lines", "wallet", False),
    "overdraft": ("lines", "wallet", False),
}
REVERSED = {
    "direct_reimbursement": ("reimbursement_to_employee_refund", "reimbursement_to_company"),
    "external_reimbursement": ("reimbursement_to_employee_refund", "reimbursement_to_company"),
    "invoice_payment": ("invoice_payment_returned",),
}
# Under accounts payable: the documents of a type, and of what runs the other way round.
DOCUMENTS_OF = {
    "invoice": (("bill",), ("credit note",)),
    "invoice_payment": (("payment",), ("refund",)),
    **dict.fromkeys(
        (
            *("card_purchase", "card_invoice", "out_of_pocket", "mileage", "per_diem"),
            *("refund", "chargeback", "cashback", "fee", "overdraft"),
        ),
        (("bill", "payment"), ("credit note", "refund")),
    ),
}
RAISES_DEBT = {"bill": 1, "refund": 1, "credit note": -1, "payment": -1}


def as_booked(run: Run) -> Booked:
    """The rows of the table."""
    booked: Booked = Counter()
    document = ""
    for row in run.expected:
        word, *fields = row.split("  ")
        if word in DOCUMENTS:
            document = word
            booked[document, "owed", _minor(fields[1])] += 1
        elif word in ("debit", "credit", "zero"):
            amount = _minor(fields[1])
            booked[document, fields[0].split(" ")[0], -amount if word == "credit" else amount] += 1
    return booked


def by_the_book(run: Run) -> Booked:
    """What the rows should say."""
    item, without = run.document, run.case.without
    type_, header = item["type"], _wallet(item["amount"])
    debit, credit, money_back = SIDES[type_]
    back = money_back or item["subType"] in REVERSED.get(type_, ())
    sign = run.case.settings.get("money_back_sign")
    if back and header and sign in ("negative", "positive"):  # then the other sign is no money back
        back = (header < 0) == (sign == "negative")
    way = -1 if back or header < 0 else 1
    size = abs(header)
    role = _Roles(item, without, run.case.settings.get("default_expense_account", "?"))
    fee = fee_of(item)
    booked: Booked = Counter()
    if not _is_billed(run, item):
        for account, amount in _main_side(item, debit, role):
            booked["", account, way * amount] += 1
        if fee:
            booked["", run.case.settings["card_fee_account"], way * fee] += 1
        booked["", role.account(credit), -way * size] += 1
        return booked
    payable = _payable(run, item, role)
    for document in DOCUMENTS_OF[type_][0 if way == 1 else 1]:
        booked[document, "owed", RAISES_DEBT[document] * size] += 1
        if document in ("bill", "credit note"):
            for account, amount in _main_side(item, "lines", role):
                booked[document, account, way * amount] += 1
            if fee:
                booked[document, run.case.settings["card_fee_account"], way * fee] += 1
            booked[document, payable, -way * size] += 1
        else:
            booked[document, payable, way * size] += 1
            booked[document, role.account(credit), -way * size] += 1
    return booked


def _is_billed(run: Run, item: dict[str, Any]) -> bool:
    if item["type"] not in DOCUMENTS_OF:
        return False
    if item["bookkeeping"] is not None:
        return bool(item["bookkeeping"]["method"] == "accounts_payable")
    found = _vendor(run, item)
    return found is not None and "blocked" not in found


def _vendor(run: Run, item: dict[str, Any]) -> dict[str, str] | None:
    """The vendor of the books that the item means: its numbers are tried one after the other."""
    if "vendors" in run.case.without:
        return None
    chosen, supplier = item["vendor"], item["supplier"]
    if chosen is not None:
        keys = {"code": chosen.get("code"), "external": chosen.get("externalId")}
        keys["tax"] = chosen.get("taxRegistrationNumber")
    else:
        keys = {name: (supplier or {}).get(name) for name in ("code", "account")}
        keys["tax"] = (supplier or {}).get("taxIdentifier")
    for name, value in keys.items():
        found = [vendor for vendor in _vendors() if value and _bare(name, vendor[name]) == _bare(name, value)]
        if len(found) == 1:
            return found[0]
    return _by_digits(keys["tax"], (chosen or supplier or {}).get("country"))


def _by_digits(number: str | None, country: str | None) -> dict[str, str] | None:
    """The one vendor that has this tax number with the letters of its country, where it is written without them."""
    if not number or number[0].isalpha():
        return None
    theirs = [_bare("tax", vendor["tax"]) for vendor in _vendors()]
    found = [n for n, one in enumerate(theirs) if one[2:] == _bare("tax", number) and country in (None, one[:2])]
    return _vendors()[found[0]] if len(found) == 1 else None


def _bare(name: str, number: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", number.upper()) if name == "tax" else number


def _payable(run: Run, item: dict[str, Any], role: _Roles) -> str:
    vendor = _vendor(run, item)
    if vendor is not None and "blocked" not in vendor:
        return vendor.get("payable") or role.account("payable")
    return run.case.settings.get("unknown_vendor_account") or role.account("payable")


def _main_side(item: dict[str, Any], debit: str, role: _Roles) -> list[tuple[str, int]]:
    """Account and amount of each row on the debit side; an amount below nothing runs against the others."""
    rows: list[tuple[str, int]] = []
    for line, (gross, cost, tax) in zip(item["accountingEntryLines"], read(item)[0], strict=True):
        if debit != "lines":
            rows.append((role.account(debit, line["account"]), gross))
            continue
        rows.append((_named(line["account"]) or role.of_lines_without_a_category, cost))
        if tax:
            rows.append((_tax_account(line, "ingoing") or role.account("input tax"), tax))
            if line["tax"]["type"] == "reverse":
                rows.append((_tax_account(line, "outgoing") or role.account("output tax"), -tax))
    return rows


def _tax_account(line: dict[str, Any], name: str) -> str | None:
    account = line["tax"].get(f"{name}TaxAccount")
    return None if not account or set(account) <= set("0-") else str(account)


def read(item: dict[str, Any]) -> tuple[list[tuple[int, int, int]], int]:
    """Gross, cost and tax of each line, positive where the line runs the way of the whole expense; and the rounding.

    The header is the gross. Of a line's two amounts that one is its gross by which the lines come to the header; the
    other is the net, or the gross once more, or under reverse charge the gross with the tax. The cost of a line is its
    gross less its tax, whatever net Pleo states: by how much they differ is the rounding.
    """
    header = _wallet(item["amount"])
    way = _way(header)
    lines_read = [_one_line(*pair) for pair in _pairs(item)]
    lacking = sum(rounding for *_, rounding in lines_read)
    return [(way * gross, way * cost, way * tax) for gross, cost, tax, _ in lines_read], way * lacking


def fee_of(item: dict[str, Any]) -> int:
    """What a card purchase costs beyond its lines."""
    return abs(_wallet(item["amount"])) - abs(sum(gross for gross, _, _ in _pairs(item)))


def _pairs(item: dict[str, Any]) -> list[tuple[int, int, dict[str, Any] | None]]:
    """The gross, the other amount and the tax of each line."""
    header = _wallet(item["amount"])
    lines = [
        (_wallet(line["lineAmount"]), _wallet(line["netAmount"]), line["tax"]) for line in item["accountingEntryLines"]
    ]
    readings = [[(each[first], each[1 - first], each[2]) for each in lines] for first in (0, 1)]
    sensible = [pairs for pairs in readings if all(_makes_sense(*pair) for pair in pairs)]
    for pairs in sensible:
        if sum(gross for gross, _, _ in pairs) == header:
            return pairs
    if item["type"] == "card_purchase" and sensible:  # the least that it can cost beyond them
        return max(sensible, key=lambda pairs: abs(sum(gross for gross, _, _ in pairs)))
    raise AssertionError("the amounts make no sense")


def _way(amount: int) -> int:
    return -1 if amount < 0 else 1


def _makes_sense(gross: int, other: int, tax: dict[str, Any] | None) -> bool:
    size, second, owed = abs(gross), abs(other), abs(_tax(tax))
    is_net, is_gross = -1 <= second - size + owed <= 1, -1 <= second - size <= 1
    if tax is None or owed == 0:
        return is_gross
    if tax["type"] == "exclusive":
        return is_net and second != size and owed <= size
    is_topped = tax["type"] == "reverse" and -1 <= second - size - owed <= 1
    return (is_net or is_gross or is_topped) and owed <= size


def _one_line(gross: int, other: int, tax: dict[str, Any] | None) -> tuple[int, int, int, int]:
    """Gross, cost, tax and rounding."""
    size, second, owed = abs(gross), abs(other), abs(_tax(tax))
    way = (gross > 0) - (gross < 0)
    if tax is None or owed == 0 or tax["type"] == "reverse":
        return way * size, way * size, way * owed, 0
    apart = abs(second - (size - owed))
    is_net = apart <= 1 and (apart <= abs(second - size) or tax["type"] == "exclusive")
    return way * size, way * (size - owed), way * owed, way * (size - owed - second) if is_net else 0


def _tax(tax: dict[str, Any] | None) -> int:
    return 0 if tax is None else _wallet(tax["amount"])


def _wallet(amount: dict[str, Any]) -> int:
    return int(amount["inWalletCurrency"]["value"])


def _named(account: dict[str, Any] | None) -> str | None:
    """The number of an account that somebody chose."""
    if account is None or set(account["id"]) <= set("0-"):
        return None
    return account["code"] or account["identifier"]


class _Roles:
    def __init__(self, item: dict[str, Any], without: tuple[str, ...], of_lines_without_a_category: str) -> None:
        self._item = item
        self.of_lines_without_a_category = of_lines_without_a_category
        self._set_up = {name: code for name, code in _roles().items() if name not in without}

    def account(self, role: str, of_line: dict[str, Any] | None = None) -> str:
        """The account that plays the role: the wallet as the item names it, else as it is set up, else the line's."""
        if role == "wallet":
            named = _named(self._item["contraAccount"])
            return named or self._set_up[f"wallet {self._item['currency']}"]
        return self._set_up.get(role) or _named(of_line) or "?"


@cache
def _roles() -> dict[str, str]:
    return {fields[0]: fields[1].split(" ")[0] for word, *fields in _rows() if word == "role"}


@cache
def _vendors() -> list[dict[str, str]]:
    found = []
    for word, *fields in _rows():
        if word == "vendor":
            about = {name: value for name, _, value in (text.partition(" ") for text in fields[1:])}
            if "payable" in about:
                about["payable"] = about["payable"].split(" ")[0]
            found.append({"code": fields[0].split(" ")[0], **about})
    return found


def _rows() -> list[list[str]]:
    text = (GOLDEN / "books.txt").read_text("utf-8")
    return [re.split(r" {2,}", row) for row in text.splitlines() if row and not row.startswith("#")]


def _minor(figure: str) -> int:
    return int(figure.replace(".", ""))
