"""What is made of Tryton's rates and names, without a server."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from blocks.erp.remote.names import Currency
from blocks.erp.tryton.directory import rates_from

DKK, JPY, KWD = Currency(1, "DKK", 2), Currency(2, "JPY", 0), Currency(3, "KWD", 3)


def rate(code: str, day: date, value: str) -> dict[str, Any]:
    return {"currency": {"code": code}, "date": day, "rate": Decimal(value)}


RATES = rates_from(
    "DKK",
    [
        rate("DKK", date(2026, 3, 2), "7.47"),
        rate("DKK", date(2026, 1, 1), "7.46"),
        rate("EUR", date(2026, 1, 1), "1"),
        rate("USD", date(2026, 2, 1), "1.25"),
        rate("XXX", date(2026, 1, 1), "0"),
    ],
)


@pytest.mark.parametrize(
    ("currency", "day", "worth"),
    [
        ("EUR", date(2026, 1, 1), Decimal("7.46")),
        ("EUR", date(2026, 3, 1), Decimal("7.46")),
        ("EUR", date(2026, 3, 2), Decimal("7.47")),
        ("EUR", date(2030, 1, 1), Decimal("7.47")),
        ("USD", date(2026, 2, 28), Decimal("7.46") / Decimal("1.25")),
        ("USD", date(2026, 1, 31), None),  # before its first rate
        ("EUR", date(2025, 12, 31), None),
        ("DKK", date(2026, 6, 1), Decimal(1)),
        ("XXX", date(2026, 6, 1), None),
        ("SEK", date(2026, 6, 1), None),
    ],
)
def test_a_rate_holds_from_its_day_on_and_counts_units_per_base(
    currency: str, day: date, worth: Decimal | None
) -> None:
    assert RATES(currency, day) == worth


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("125.00", DKK, "125.00"),
        ("125", DKK, "125.00"),
        ("-0.01", DKK, "-0.01"),
        ("0.001", DKK, None),
        ("125.00", JPY, "125"),
        ("125.50", JPY, None),
        ("1.234", KWD, "1.234"),
        ("1.23", KWD, "1.230"),
        ("10000000000000000.01", DKK, "10000000000000000.01"),
    ],
)
def test_amounts_get_the_decimals_of_their_currency_or_none(amount: str, currency: Currency, shown: str | None) -> None:
    made = currency.exactly(Decimal(amount))
    assert (str(made) if made is not None else None) == shown
