"""Pleo's side of the golden table: an item as JSON from the words of the table."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from blocks.erp.currencies import MinorUnits

Json = dict[str, Any]

_CHOSEN_VENDOR = {"name": "Nordic Supplies", "code": "V-10"}
_CORNER_SHOP = {"name": "Corner shop", "code": "S-404"}
METHODS: dict[str, Json] = {
    "journal": {"bookkeeping": {"method": "journal"}, "vendor": _CHOSEN_VENDOR, "supplier": _CORNER_SHOP},
    "none": {"bookkeeping": {"method": "none"}, "vendor": _CHOSEN_VENDOR, "supplier": _CORNER_SHOP},
    "accounts_payable": {
        "bookkeeping": {"method": "accounts_payable"},
        "vendor": _CHOSEN_VENDOR,
        "supplier": _CORNER_SHOP,
    },
    "accounts_payable_by_supplier": {
        "bookkeeping": {"method": "accounts_payable"},
        "vendor": None,
        "supplier": _CORNER_SHOP,
    },
    "not_stated": {"bookkeeping": None, "vendor": None, "supplier": _CORNER_SHOP},
    "known_supplier": {"bookkeeping": None, "vendor": None, "supplier": {"name": "Nordic Supplies", "code": "V-10"}},
}
"""What the words of the table for methods mean; any other word is the method that Pleo sends."""

_NUMBERS = {
    "vendor": {"code": "code", "external": "externalId", "tax": "taxRegistrationNumber", "country": "country"},
    "supplier": {"code": "code", "account": "account", "tax": "taxIdentifier", "country": "country"},
}


def item_of(fields: list[str], units: MinorUnits, where: str) -> Json:
    """An item without lines yet. `currency` is of the table, not of Pleo: what the lines' amounts are in."""
    type_, _, sub_type = fields[0].partition(" / ")
    item: Json = {
        "type": type_ if type_ != "(empty)" else "",
        "subType": (sub_type if sub_type != "(empty)" else "") if sub_type else None,
        "date": "2026-10-15T00:00:00Z",
        "amount": _amount(fields[1], "", units),
        "accountingEntryLines": [],
        "contraAccount": None,
        "currency": fields[1].rpartition(" ")[2],
    }
    invoice: Json = {}
    for name, value in map(_named, fields[2:]):
        if name == "contra":
            item["contraAccount"] = _account(value)
        elif name == "company":
            item["companyId"] = value
        elif name == "date":
            item["date"] = f"{value}T00:00:00Z"
        elif name in ("vendor", "supplier"):
            key, number = _named(value)
            item.setdefault(name, {"name": f"A {name}"})
            item[name] |= {_NUMBERS[name][key]: number} if number else {}
        elif name in ("employee", "team"):
            item["user" if name == "employee" else "team"] = {"name": "", "code": value}
        elif name in ("invoice", "status"):
            invoice["invoiceNumber" if name == "invoice" else "status"] = value
            item["additionalInformation"] = {"invoiceInformation": invoice}
        else:
            raise AssertionError(f"{where}: an item has no {name!r}")
    return item


def line_of(fields: list[str], currency: str, units: MinorUnits, where: str) -> Json:
    """One line of an item."""
    line: Json = {"account": _account(fields[0]), "lineAmount": None, "netAmount": None, "tax": None}
    tags: list[dict[str, str]] = []
    for name, value in map(_named, fields[1:]):
        if name in ("line", "net"):
            line[f"{name}Amount"] = _amount(value, currency, units)
        elif name == "tag":
            group, _, code = value.partition(" ")
            tags.append({"groupCode": group, "code": code})
        elif value.endswith("%"):
            rate = Decimal(value.removesuffix("%").strip()) / 100
            line["tax"] = {"type": name, "rate": rate, "amount": None, "code": None}
        elif line["tax"] is None:
            raise AssertionError(f"{where}: {name!r} stands before the kind of tax")
        elif name == "tax":
            line["tax"]["amount"] = _amount(value, currency, units)
        elif name in ("code", "ingoing", "outgoing"):
            line["tax"][name if name == "code" else f"{name}TaxAccount"] = value if value != "(empty)" else ""
        else:
            raise AssertionError(f"{where}: a line has no {name!r}")
    line["tags"] = tags or None
    return line


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition(" ")
    return name, value


def _amount(text: str, currency: str, units: MinorUnits) -> Json | None:
    if text == "none":
        return None
    figure, _, own = text.partition(" ")
    value = Decimal(f"{figure}E{units.decimals(own or currency)}")
    return {"inWalletCurrency": {"currency": own or currency, "value": value}}


def _account(text: str) -> Json | None:
    if text == "none":
        return None
    number, _, name = text.partition(" ")
    account: Json = {"id": "0b5cf1f5-1c43-4ff5-8f0f-2f7d4c6f9a22", "name": name}
    if number == "unsure":
        account |= {"id": "00000000-0000-0000-0000-000000000000", "code": "9999", "identifier": "9999"}
    elif number.startswith("id="):
        account |= {"code": None, "identifier": number.removeprefix("id=")}
    else:
        account |= {"code": None if number == "-" else number, "identifier": None}
    return account
