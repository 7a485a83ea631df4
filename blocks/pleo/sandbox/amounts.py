"""The arithmetic of an expense's lines: gross, tax and the two currencies, always adding up.

Pleo does not publish how `lineAmount`, `netAmount` and the tax relate. What is made here: one of the two fields, the
same on all lines of an item, sums to the header's amount in wallet currency and is the line's gross. The other one
equals it or is less by the tax: less with an exclusive tax, equal with a reverse charge, either with an inclusive one.
"""

from __future__ import annotations

from dataclasses import dataclass

from blocks.pleo.sandbox.company import DKK_PER_10_000, Tax
from blocks.pleo.sandbox.wire import Json, money

LINE_IS_GROSS = "line"
NET_IS_GROSS = "net"
BOTH_ARE_GROSS = "both"


@dataclass(frozen=True, slots=True)
class Currencies:
    """The currency of the wallet and that of the supplier."""

    wallet: str
    supplier: str

    def pair(self, wallet_value: int, supplier_value: int) -> Json:
        """One amount in both currencies."""
        return {
            "inSupplierCurrency": money(self.supplier, supplier_value),
            "inWalletCurrency": money(self.wallet, wallet_value),
        }


def convert(value: int, source: str, target: str) -> int:
    """Hundredths of one currency in hundredths of another, or in yen, which have none."""
    if source == target:
        return value
    converted = round(value * DKK_PER_10_000[source] / DKK_PER_10_000[target])
    return round(converted / 100) if target == "JPY" else converted


def tax_of(gross: int, tax: Tax) -> int:
    """The tax that a gross amount contains, or with a reverse charge the tax that is due on top of it."""
    if tax.kind == "reverse":
        return _rounded(gross * tax.rate_bp, 10_000)
    return _rounded(gross * tax.rate_bp, 10_000 + tax.rate_bp)


def split(total: int, weights: list[int]) -> list[int]:
    """A total in parts by weight, which add up to it again; the last part takes the rounding."""
    whole = sum(weights)
    parts = [_rounded(total * weight, whole) for weight in weights[:-1]]
    return [*parts, total - sum(parts)]


def line_amounts(currencies: Currencies, gross: int, supplier_gross: int, tax: Tax | None, form: str) -> Json:
    """The three amount fields of one line: `lineAmount`, `netAmount`, `tax`."""
    whole = currencies.pair(gross, supplier_gross)
    if tax is None:
        return {"lineAmount": whole, "netAmount": whole, "tax": None}
    due, supplier_due = tax_of(gross, tax), tax_of(supplier_gross, tax)
    if tax.kind == "reverse" or (tax.kind == "inclusive" and form == BOTH_ARE_GROSS):
        less = whole
    else:
        less = currencies.pair(gross - due, supplier_gross - supplier_due)
    line, net = (less, whole) if form == NET_IS_GROSS and tax.kind == "inclusive" else (whole, less)
    wire: Json = {
        "id": tax.id,
        "code": tax.code,
        "rate": tax.rate_bp / 10_000,
        "type": tax.kind,
        "amount": currencies.pair(due, supplier_due),
    }
    if tax.ingoing is not None:
        wire["ingoingTaxAccount"] = tax.ingoing
    if tax.outgoing is not None:
        wire["outgoingTaxAccount"] = tax.outgoing
    return {"lineAmount": line, "netAmount": net, "tax": wire}


def _rounded(numerator: int, denominator: int) -> int:
    """Divided, and rounded half away from zero."""
    magnitude = (abs(numerator) * 2 + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude
