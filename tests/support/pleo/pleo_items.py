"""Export items as Pleo sends them, made by hand: one purchase, and whatever a test wants otherwise."""

from __future__ import annotations

import uuid
from typing import Any

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID

Json = dict[str, Any]


def entry_id(number: int) -> str:
    """The accounting entry id of item `number`."""
    return str(uuid.UUID(int=number, version=4))


def money(value: int, currency: str = "DKK") -> Json:
    """An amount in wallet and supplier currency alike."""
    return {name: {"currency": currency, "value": value} for name in ("inWalletCurrency", "inSupplierCurrency")}


def account(code: str | None, name: str = "Travel") -> Json:
    """An account as Pleo names it."""
    return {"id": str(uuid.UUID(int=77)), "name": name, "code": code, "identifier": None}


def line(value: int, currency: str = "DKK", **changes: Any) -> Json:
    """A line without tax or tags."""
    made = {
        "accountingEntryLineId": str(uuid.UUID(int=5)),
        "account": account("6010"),
        "lineAmount": money(value, currency),
        "netAmount": money(value, currency),
        "tax": None,
        "tags": None,
    }
    return {**made, **changes}


def an_item(number: int, *, value: int = 10_000, currency: str = "DKK", **changes: Any) -> Json:
    """A card purchase of one line; `changes` take the place of its fields."""
    made = {
        "_links": {},
        "accountingEntryId": entry_id(number),
        "accountingEntryLines": [line(value, currency)],
        "additionalInformation": {"reconciliationId": f"BOOK-{number}"},
        "amount": money(value, currency),
        "bookkeeping": {"method": "journal"},
        "companyId": SANDBOX_COMPANY_ID,
        "contraAccount": account("5820", "Wallet"),
        "date": "2026-10-05T10:00:00Z",
        "files": None,
        "note": None,
        "servicePeriod": None,
        "subType": None,
        "supplier": {"name": "DSB"},
        "team": None,
        "type": "card_purchase",
        "user": None,
        "vendor": None,
    }
    return {**made, **changes}


def vendor(code: str | None = "V1", name: str = "DSB", **changes: Any) -> Json:
    """A vendor as the user chose it in Pleo."""
    made = {"id": str(uuid.UUID(int=9)), "name": name, "code": code, "externalId": None, "defaultCurrency": "DKK"}
    return {**made, **changes}


def payable(number: int, item_type: str = "card_purchase", **changes: Any) -> Json:
    """An item that is to be recorded by accounts payable, for vendor V1."""
    return an_item(
        number, **{"bookkeeping": {"method": "accounts_payable"}, "vendor": vendor(), "type": item_type, **changes}
    )


def receipt(url: str, media_type: str = "application/pdf", size: int | None = None) -> Json:
    """A file of an item."""
    return {"url": url, "type": media_type, "size": size}
