"""What stands in an ERP against what was meant: an answer of success is no proof that the entry is the one we sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Dimension, Entry, Line

MOST_NAMED = 4
"""How many differences are put into words: the first ones are enough to look for."""


@dataclass(frozen=True, slots=True)
class StandingLine:
    """A line as the books hold it. Amounts are minor units, debit less credit; `company_minor` is what it is worth in
    the company's currency, where `currency` is another one."""

    account: str
    currency: str
    amount_minor: int
    company_minor: int | None = None
    tax_code: str | None = None
    dimensions: frozenset[Dimension] = frozenset()


OPTIONAL = frozenset({"company_minor", "tax_code", "dimensions"})
"""Of a line what a system need not be able to tell."""


def meant_line(line: Line, currency: str) -> StandingLine:
    """A line as it is meant."""
    worth = line.company_minor
    return StandingLine(
        line.account.code,
        currency,
        line.amount_minor,
        -worth if worth is not None and line.credit_minor else worth,
        line.tax_code,
        frozenset(line.dimensions),
    )


def differences(
    entry: Entry,
    lines: Iterable[StandingLine],
    *,
    posting_date: date,
    units: MinorUnits,
    told: Collection[str] = OPTIONAL,
    meant: Iterable[Line] | None = None,
) -> tuple[str, ...]:
    """In what an entry that stands is another than was meant, in words; empty where it is the same.

    Lines are compared whatever their order, a line of zero too. `told` names the optional parts of a line that the
    system can tell, `meant` the lines where they are not all of the entry's (those of one document, say).
    """
    found = []
    if posting_date != entry.posting_date:
        found.append(f"its date is {posting_date.isoformat()} and not {entry.posting_date.isoformat()}")
    wanted = Counter(
        _only(meant_line(line, entry.currency), told) for line in (entry.all_lines if meant is None else meant)
    )
    stands = Counter(_only(line, told) for line in lines)
    company = entry.company_currency or entry.currency
    found += [f"lacks {_shown(line, units, company)}" for line in (wanted - stands).elements()]
    found += [f"has {_shown(line, units, company)} besides" for line in (stands - wanted).elements()]
    if len(found) > MOST_NAMED:
        found[MOST_NAMED:] = [f"and {len(found) - MOST_NAMED} more"]
    return tuple(found)


def _only(line: StandingLine, told: Collection[str]) -> StandingLine:
    return replace(
        line,
        company_minor=line.company_minor if "company_minor" in told else None,
        tax_code=line.tax_code if "tax_code" in told else None,
        dimensions=line.dimensions if "dimensions" in told else frozenset(),
    )


def _shown(line: StandingLine, units: MinorUnits, company_currency: str) -> str:
    side = "credit" if line.amount_minor < 0 else "debit"
    parts = [f"{side} {units.amount(abs(line.amount_minor), line.currency)} on {line.account}"]
    if line.company_minor is not None:
        parts.append(f"worth {units.amount(abs(line.company_minor), company_currency)}")
    if line.tax_code:
        parts.append(f"tax {line.tax_code}")
    parts += [f"{one.group} {one.code}" for one in sorted(line.dimensions, key=lambda one: (one.group, one.code))]
    return ", ".join(parts)
