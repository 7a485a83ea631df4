"""The page for people."""

from __future__ import annotations

from collections.abc import Iterator

from flows.outcome import RunReport


def page(report: RunReport) -> Iterator[str]:
    """x."""
    yield ""
