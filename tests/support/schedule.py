"""Which of two processes runs which tests, and in which order, so that both end at the same time.

A file's tests stay together, as they share servers. What takes a real Tryton is one unit, since bringing it up twice
would cost more than it brings, and begins at once; what takes a Prefect server comes next, small things at the end.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling, WorkStealingScheduling

TRYTON = ("tests/erp/", "tests/flows/test_tryton")


class TogetherByServer(LoadScopeScheduling):
    """Hands out files, and all that takes Tryton as if it were one."""

    def _split_scope(self, nodeid: str) -> str:
        return "tryton" if nodeid.startswith(TRYTON) else nodeid.partition("::")[0]


def make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For the quick tests the above; the slow ones take so long that both processes have a Tryton, and the one that is
    done first takes over from the other."""
    match config.option.markexpr:
        case "not slow":
            return TogetherByServer(config, log)
        case "slow":
            return WorkStealingScheduling(config, log)
    return None


def in_order(items: list[pytest.Item]) -> None:
    """Long units first: Tryton's, then files of which a test takes a Prefect server, then the rest."""
    with_prefect = {item.path for item in items if {"prefect_server", "prefect_api"} & set(_fixtures(item))}
    items.sort(key=lambda item: 0 if item.nodeid.startswith(TRYTON) else 1 if item.path in with_prefect else 2)


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])
