"""Pictures of a job: the parts of a whole side by side, for the page of `--report` and for the Prefect UI."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from flows.outcome import JobReport

WIDTH = 1000
"""Of a picture, in its own units: as parts of a thousand, rounded down, everything has a width."""

_COLOURS = {"booked": "#1f8a5b", "found": "#2b7fb8", "failed": "#c6373f", "earlier": "#9aa3ad"}
_MAX_CURRENCIES = 6
_ROW, _BAR, _TEXT = 46, 16, 15


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a picture: what it stands for, its colour by name, where it begins and how wide it is."""

    name: str
    colour: str
    count: object
    start: int
    width: int


def bars(*parts: tuple[str, str, int], whole: int | None = None) -> list[Bar]:
    """The parts (name, colour, count) side by side; those of nothing are left out."""
    whole = whole or sum(count for _, _, count in parts)
    made, start = [], 0
    for name, colour, count in parts:
        if count:
            width = max(1, WIDTH * count // whole)
            made.append(Bar(name, colour, count, start, width))
            start += width
    return made


def outcome_bars(job: JobReport) -> list[Bar]:
    """What became of the job's items, by their number."""
    return bars(
        ("would be booked" if job.dry_run else "booked", "booked", job.successful - job.found),
        ("found in the books", "found", job.found),
        ("would fail" if job.dry_run else "failed", "failed", job.failed),
        ("final before this run", "earlier", job.already_final),
    )


def volume_bars(job: JobReport) -> dict[str, list[Bar]]:
    """The amounts of what was booked and what failed by currency, without their signs, so that money back does not
    hide money out."""
    booked, failed = _volumes(job.results.successful), _volumes(job.results.failed)
    return {
        currency: bars(("booked", "booked", booked[currency]), ("failed", "failed", failed[currency]))
        for currency in sorted({*booked, *failed})
    }


def _volumes(frame: Any) -> dict[str, int]:
    volumes: dict[str, int] = defaultdict(int)
    for currency, minor in zip(frame["currency"], frame["amount_minor"], strict=True):
        if currency is not None and minor is not None:
            volumes[currency] += abs(minor)
    return volumes


def picture_url(job: JobReport) -> str:
    """The job as one image that stands in its own address, as nothing has to be fetched for it."""
    rows = [(", ".join(f"{bar.count} {bar.name}" for bar in outcome_bars(job)), outcome_bars(job))]
    volumes = list(volume_bars(job).items())[:_MAX_CURRENCIES]
    amounts = "amounts that would be booked, and would fail" if job.dry_run else "amounts booked and failed"
    rows += [(f"{currency}: {amounts}", of_currency) for currency, of_currency in volumes]
    return "data:image/svg+xml;base64," + base64.b64encode(_svg(rows).encode()).decode()


def _svg(rows: Sequence[tuple[str, list[Bar]]]) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_ROW * len(rows)}"'
        ' font-family="sans-serif" font-size="15">'
    ]
    for number, (label, row) in enumerate(rows):
        top = number * _ROW
        parts.append(f'<text x="0" y="{top + _TEXT}" fill="#6b7280">{escape(label)}</text>')
        parts += [
            f'<rect x="{bar.start}" y="{top + 22}" width="{bar.width}" height="{_BAR}" fill="{_COLOURS[bar.colour]}"/>'
            for bar in row
        ]
    return "".join([*parts, "</svg>"])
