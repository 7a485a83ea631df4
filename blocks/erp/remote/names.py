"""Codes, as people write them, to what a system knows by them; with one clear reason for each that leads nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from blocks.erp.currencies import MinorUnits
from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.reference import JournalUse
from blocks.text import one_line

MAX_NAME = 120
"""How much of a name is kept, of an account or a vendor say."""

K = TypeVar("K")
T = TypeVar("T")
C = TypeVar("C")


class ByCode(Mapping[K, T]):
    """What a company has of one kind, by code. A code that two of them share names neither: nobody could say which one
    an expense means. `unusable` are those that are there but cannot be booked with, with why, such as "archived"."""

    def __init__(
        self, kind: str, system: str, pairs: Iterable[tuple[K, T]], unusable: Mapping[K, str] | None = None
    ) -> None:
        found: dict[K, list[T]] = defaultdict(list)
        for code, value in pairs:
            found[code].append(value)
        self._kind = kind
        self._system = system
        self._values = {code: values[0] for code, values in found.items() if len(values) == 1}
        self._shared = {code: len(values) for code, values in found.items() if len(values) > 1}
        self._unusable = dict(unusable or {})

    def __getitem__(self, code: K) -> T:
        return self._values[code]

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def why_not(self, code: K) -> str:
        """Why a code names nothing, as one line that says what is wrong with it."""
        shown = one_line(str(code), 60)
        if code in self._shared:
            return (
                f"{self._system} has {self._shared[code]} of {self._kind} {shown}: give them different codes there, so "
                "that it is known which one is meant"
            )
        if code in self._unusable:
            return f"{self._kind} {shown} is {self._unusable[code]} in {self._system}"
        return f"{self._system} has no {self._kind} {shown}"


@dataclass(frozen=True, slots=True)
class Currency:
    """An active currency with the decimals that the system keeps of it."""

    id: int
    code: str
    digits: int

    def exactly(self, amount: Decimal) -> Decimal | None:
        """The amount with exactly these decimals, or None where it has more."""
        unit = Decimal(1).scaleb(-self.digits)
        return None if amount % unit else amount.quantize(unit)

    def amount_of(self, minor: int, units: MinorUnits) -> Decimal | None:
        """Minor units of Pleo's as the system writes them, or None where it keeps fewer decimals."""
        return self.exactly(Decimal(units.number(minor, self.code)))


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal; `type` is what the system takes it for, in its own word (`general`, `purchase` …)."""

    id: int
    type: str


def journal_uses(journals: Mapping[str, Journal], types: Mapping[JournalUse, str]) -> dict[JournalUse, str]:
    """The journal for each use, where there is but one of the type that it takes."""
    of_type = {use: [code for code, one in journals.items() if one.type == type_] for use, type_ in types.items()}
    return {use: codes[0] for use, codes in of_type.items() if len(codes) == 1}


def by_group(dimensions: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The codes of each group of dimensions."""
    found: dict[str, set[str]] = defaultdict(set)
    for group, code in dimensions:
        found[group].add(code)
    return {group: frozenset(codes) for group, codes in found.items()}


def readable_name(name: object, code: str) -> str:
    """A name on one line, the code where there is none."""
    return one_line(str(name or ""), MAX_NAME) or code


def only_company(name: str, companies: Sequence[tuple[str, C]], system: str) -> C:
    """The company of that name among those that the user may enter, the only one where no name is given. Raises
    ErpConfigurationError, which says what to change."""
    named = [company for there, company in companies if not name or there == name]
    if len(named) == 1:
        return named[0]
    there = ", ".join(one_line(there, 60) for there, _ in companies[:10]) or "none"
    if not name and companies:
        text = f"the user may enter several companies in {system} ({there}): name one in the settings"
        raise ErpConfigurationError(text, ConfigurationProblem.MISSING)
    which = f"several companies {one_line(name, 60)}" if named else f"no company {one_line(name, 60)}".rstrip()
    text = f"the user may enter {which} in {system} (there: {there}): correct the company in the settings, or add it to"
    raise ErpConfigurationError(f"{text} the user's companies in {system}", ConfigurationProblem.INVALID)
