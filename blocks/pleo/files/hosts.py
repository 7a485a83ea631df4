"""Which file hosts have stopped answering, so that one of them cannot cost a job hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_TRIES = 3
GIVEN_UP_IN_A_ROW = 3
DOWN_S = 60.0


@dataclass(slots=True)
class _Host:
    given_up: int = 0
    down_until: float = float("-inf")


class Hosts:
    """Counts files, not tries: a host is down once three files in a row were given up with nothing in between.

    For a minute its files get no try at all, after that one quick try each until one of them brings an answer, with
    a minute's pause whenever one does not. `clock` gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    def tries(self, host: str) -> int:
        """How many tries a file of this host has now: 3, 1 or 0."""
        known = self._hosts.get(host)
        if known is None or known.given_up < GIVEN_UP_IN_A_ROW:
            return MAX_TRIES
        return 0 if self._clock() < known.down_until else 1

    def answered(self, host: str) -> None:
        """The host answered, whatever it said."""
        self._hosts.pop(host, None)

    def given_up(self, host: str) -> None:
        """A file of this host was given up, as no answer came."""
        known = self._hosts.setdefault(host, _Host())
        known.given_up += 1
        known.down_until = self._clock() + DOWN_S
