"""Which vendor of the accounting system is behind an expense (Pleo: Accounts Payable)."""

from __future__ import annotations

from collections.abc import Callable

from blocks.erp.entries import Vendor
from blocks.erp.reference import KnownVendor, Vendors
from blocks.pleo.items import ExportItem
from blocks.text import no_formula, one_line
from flows.bookkeeping.codes import clean, opened

_MAX_NAME = 120


def known_vendor(item: ExportItem, vendors: Vendors | None) -> KnownVendor | None:
    """The vendor among those that the accounting system has, blocked or not; None where none is found.

    What stands first in Pleo's order and is known decides; a number that several vendors have decides nothing.
    """
    if vendors is None:
        return None
    finders: tuple[Callable[[str], KnownVendor | None], ...]
    finders = (vendors.by_code, vendors.by_external_id, vendors.by_tax_number)
    if item.vendor is None:
        finders = (vendors.by_code, vendors.by_account, vendors.by_tax_number)
    for find, key in zip(finders, _keys(item), strict=True):
        if key and (known := find(key)) is not None:
            return known
    return None


def vendor_of(item: ExportItem, vendors: Vendors | None) -> Vendor | None:
    """The vendor that bills the expense; None where none is named, or the one that is named is unknown or blocked.

    Where the accounting system takes any vendor it is the one that Pleo names, under the first number that it has.
    """
    if vendors is not None:
        known = known_vendor(item, vendors)
        return known.vendor if known is not None and not known.blocked else None
    code = opened(next(filter(None, _keys(item)), ""), "vendor code")
    source = item.vendor or item.supplier
    name = no_formula(one_line((source.name if source else None) or "", _MAX_NAME), _MAX_NAME)
    return Vendor(code, name or code) if code else None


def _keys(item: ExportItem) -> tuple[str, str, str]:
    """The numbers that lead to the vendor, in Pleo's order; the supplier counts only where Pleo sends no vendor."""
    vendor, supplier = item.vendor, item.supplier
    if vendor is not None:
        return clean(vendor.code), clean(vendor.external_id), clean(vendor.tax_registration_number)
    if supplier is not None:
        return clean(supplier.code), clean(supplier.account), clean(supplier.tax_identifier)
    return "", "", ""
