"""The same lines in the currency that the accounting system's company keeps its books in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Line
from blocks.erp.reference import Reference
from flows.failures import missing


@dataclass(frozen=True, slots=True)
class Exchange:
    """From the wallet's currency to the company's: `rate` minor units of the latter for one of the former, exact."""

    company_currency: str
    rate: Fraction

    def convert(self, lines: Sequence[Line]) -> tuple[Line, ...]:
        """The lines of one document, the settling line last, with their amounts in the company's currency.

        Each is rounded half up. What that leaves goes to the largest line: not to the one that settles, so that wallet
        and payables hold what the rate makes of their money, in every document alike.
        """
        *others, settling = (replace(line, company_minor=self._convert(line)) for line in lines)
        rest = -sum(map(_signed, (*others, settling)))  # what the others lack, as a debit
        sizes = [line.debit_minor + line.credit_minor for line in others]
        for n in sorted(filter(sizes.__getitem__, range(len(others))), key=lambda n: -sizes[n]):
            line, size = others[n], others[n].company_minor or 0
            way = -1 if line.credit_minor else 1
            changed = max(0, size + way * rest)  # a line never changes its side; the next one takes what is left
            rest -= way * (changed - size)
            others[n] = replace(line, company_minor=changed)
        return (*others, settling)

    def _convert(self, line: Line) -> int:
        exact = self.rate * (line.debit_minor + line.credit_minor)
        return int(exact + Fraction(1, 2))


def exchange_for(currency: str, day: date, reference: Reference, units: MinorUnits) -> Exchange | None:
    """How money in `currency` is converted on that day; None where the company keeps its books in it.

    Fails the item where the accounting system has no rate.
    """
    company = reference.company_currency
    if company is None or company == currency:
        return None
    rate = reference.rates(currency, day) if reference.rates is not None else None
    if rate is None or rate <= 0:
        raise missing(f"Exchange rate from {currency} to {company} on {day}")
    scale = Fraction(10) ** (units.decimals(company) - units.decimals(currency))
    return Exchange(company, Fraction(rate) * scale)


def company_difference_minor(lines: Sequence[Line]) -> int:
    """Debits less credits in the company's currency."""
    return sum(map(_signed, lines))


def _signed(line: Line) -> int:
    size = line.company_minor or 0
    return -size if line.credit_minor else size
