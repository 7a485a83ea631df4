"""Codes, as people write them, to what a system knows by them; with one clear reason for each that leads nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from blocks.text import one_line

K = TypeVar("K")
T = TypeVar("T")


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
