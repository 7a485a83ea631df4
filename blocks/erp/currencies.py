"""What a minor unit of a currency is worth, and how an amount of them is written for people."""

from __future__ import annotations

from enum import StrEnum

_DECIMALS: dict[str, int] = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(),  # noqa: SIM905 - a list of codes
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""The currencies of ISO 4217 whose unit has other than two decimals."""


class MinorUnits(StrEnum):
    """What Pleo's amounts count: hundredths of every currency's unit, or each currency's own minor units."""

    HUNDREDTHS = "hundredths"
    ISO4217 = "iso4217"

    def decimals(self, currency: str) -> int:
        """How many decimals an amount in `currency` has."""
        return 2 if self is MinorUnits.HUNDREDTHS else _DECIMALS.get(currency, 2)

    def number(self, minor: int, currency: str) -> str:
        """Minor units as a decimal number, exact: -123456 in DKK is `-1234.56`."""
        decimals = self.decimals(currency)
        units, rest = divmod(abs(minor), 10**decimals)
        return f"{'-' if minor < 0 else ''}{units}" + (f".{rest:0{decimals}d}" if decimals else "")

    def amount(self, minor: int, currency: str) -> str:
        """The number with its currency: `-1234.56 DKK`."""
        return f"{self.number(minor, currency)} {currency}"


def in_own_digits(minor: int, currency: str) -> str:
    """What a supplier charged, in a currency that no wallet is kept in perhaps: Pleo counts yen in yen there.

    Wallets have hundredths whatever `MinorUnits` says, so it makes a difference here alone.
    """
    return MinorUnits.ISO4217.amount(minor, currency)
