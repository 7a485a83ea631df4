"""A vendor's tax number with and without the letters of its country is one number, where that leads to one vendor."""

from __future__ import annotations

import pytest

from blocks.erp.entries import Vendor
from blocks.erp.reference import KnownVendor, Vendors


def vendors(*numbers: str) -> Vendors:
    return Vendors([KnownVendor(Vendor(f"V-{n}", f"V-{n}"), tax_number=number) for n, number in enumerate(numbers, 1)])


@pytest.mark.parametrize(
    ("known", "asked", "country", "found"),
    [
        ("DK 10 10 10 10", "10101010", "", "V-1"),
        ("DK10101010", "10101010", "DK", "V-1"),
        ("DK10101010", "10101010", "dk", "V-1"),
        ("10101010", "dk-10.10.10.10", "", "V-1"),
        ("10101010", "DK10101010", "SE", "V-1"),
        ("DK10101010", "10101010", "SE", None),
        ("DK10101010", "SE10101010", "", None),
        ("DK10101010", "SE10101010", "DK", None),
        ("EL123456789", "123456789", "GR", "V-1"),
        ("EL123456789", "GR123456789", "", "V-1"),
        ("ESB12345678", "B12345678", "ES", "V-1"),
        ("10101010", "1010101", "", None),
        ("", "DK", "DK", None),
        ("DK", "DK", "", "V-1"),
        ("10101010", "", "DK", None),
    ],
)
def test_the_letters_of_the_country_may_be_there_or_not(
    known: str, asked: str, country: str, found: str | None
) -> None:
    vendor = vendors(known).by_tax_number(asked, country)
    assert (vendor and vendor.vendor.code) == found


def test_where_it_leads_to_several_vendors_it_finds_nobody_unless_one_has_it_as_it_is_written() -> None:
    of = vendors("DK10101010", "SE10101010", "30303030")
    assert of.by_tax_number("10101010") is None
    codes = {country: of.by_tax_number("10101010", country) for country in ("DK", "SE", "NO")}
    assert {country: one and one.vendor.code for country, one in codes.items()} == {
        "DK": "V-1",
        "SE": "V-2",
        "NO": None,
    }
    of = vendors("DK10101010", "10101010")
    for number, code in (("DK10101010", "V-1"), ("10101010", "V-2")):
        known = of.by_tax_number(number)
        assert known is not None
        assert known.vendor.code == code
    assert of.by_tax_number("NO10101010") is not None
    assert vendors("DK10101010", "dk 10 10 10 10").by_tax_number("DK10101010") is None
    assert vendors("DK10101010", "DK-10101010").by_tax_number("10101010") is None
