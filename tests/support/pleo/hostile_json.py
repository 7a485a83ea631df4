"""Hostile JSON: documents of Pleo's that were correct, and what somebody made of them.

Hypothesis draws the seeds, without chance or memory; all else follows from the seed that a failing example names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Path = tuple[str | int, ...]
Change = tuple[Path, Any]

DEEP = 100_000


@dataclass(frozen=True)
class Raw:
    """A piece of JSON that is written as it stands, be it legal or not."""

    text: str

    def __repr__(self) -> str:
        return f"Raw({self.text[:40]!r}{f'… {len(self.text)}' if len(self.text) > 40 else ''})"


@dataclass(frozen=True)
class Pairs:
    """An object whose keys may come twice."""

    pairs: tuple[tuple[str, Any], ...]


def written(value: Any) -> str:
    """The value as JSON, half characters and control characters escaped."""
    match value:
        case Raw():
            return value.text
        case Pairs():
            return "{" + ",".join(f"{json.dumps(key)}:{written(one)}" for key, one in value.pairs) + "}"
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{written(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case _:
            return json.dumps(value)


NUMBERS = [
    Raw(text)
    for text in (
        "0", "-0", "-0.0", "-1", "0.1", "0.10000000000000000000000000000001", "1.0", "1e2", "1E+2", "12.5", "1e400",
        "-1e400", "1e-400", "1e999999999", "-1e999999999", "1e-999999999", "0e999999999", "1e99999999999999999999",
        "NaN", "Infinity", "-Infinity", "9007199254740993", "9223372036854775807", "9223372036854775808",
        "1" + "0" * 30, "1" + "0" * 400, "9" * 4300, "-" + "9" * 5000, "9" * 200_000, "1." + "0" * 200_000,
        "1." + "0" * 200_000 + "1",
    )
]  # fmt: skip
"""Numbers that JSON can carry or that Python's reader takes, up to those that would fill the memory as an integer."""

DEEP_ONES = [
    Raw("[" * DEEP + "]" * DEEP),
    Raw('{"a":' * DEEP + "1" + "}" * DEEP),
    Raw("[" * 150 + "]" * 150),
    Raw('[{"in": ' * 400 + '"]}"' + "}]" * 400),
]

TEXTS = (
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800x", "x\r\ny", "x\r\nSet-Cookie: a=b", "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07", "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;ZXZpbA==\x07", "\x9b31m",
    "\u202e001 KKD", "\u2066x\u2069", "\u200b\u200b", "6010\u200b", "\u05e9\u05dc\u05d5\u05dd 12", "\ufeffx",
    "<script>document.title='taken'</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)", "| a | b |", "`x`", "[bold red]x[/bold red]", "[link=http://evil.example]x[/]",
    "=1+1", "=HYPERLINK(\"http://evil.example\";\"x\")", "+1", "-1", "@SUM(A1)", "\t=1+1", "'; DROP TABLE entry; --",
    '"\n2026-01-01 open Assets:X', "\\", "\\u0000", "%s%n{0}", "${jndi:x}", "../../etc/passwd", "file:///etc/passwd",
    "javascript:alert(1)", "data:text/html,<script>1</script>", "null", "NaN", "true", "e\u0301" * 40,
    "\u0301" * 1000, "👩🏽\u200d🚀" * 200, "x" * 5000, "00000000-0000-0000-0000-000000000000", "\U000e0041\U000e0001",
    "٣٤٥", "１２３", "ﷺ" * 100,
)  # fmt: skip
"""Texts that do something where they are shown, or break something where they are stored."""

DATES = (
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:30:00+23:59", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z", "2026-12-31T23:59:60Z", "2026-02-29T00:00:00Z",
    "2026-10-05T10:00:00+24:00", "2026-10-05T10:00:00-24:00", "2026-10-05", "2026-W41-1", "20261005T100000Z",
    "2026-10-05T24:00:00Z", "2026-10-05T10:00:00.123456789Z", "yesterday", "-2026-10-05T10:00:00Z", "1760000000",
)  # fmt: skip

_OTHER_TYPES = (None, True, False, 0, 1, -1, 1760000000, 0.5, "", "x", [], {}, [None], [[]], [{}], {"a": 1}, {"": None})


def paths(document: Any, at: Path = ()) -> Iterator[Path]:
    """Where in a document something can be put in the place of something else: everywhere but at its top."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, value in inner:
        yield (*at, step)
        yield from paths(value, (*at, step))


def _value_at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def _wrapped(value: Any) -> list[Any]:
    turned: list[Any] = [[value], {"value": value}, [value, value], json.dumps(value)]
    if isinstance(value, str):
        turned += [value.upper(), f" {value}\n", value * 100, f"{value}\x00", f"{value}\u200b"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        turned += [str(value), -value, value + 1, value * 100]
        turned += [Raw(f"{value}{more}") for more in (".00", ".01", "e0", "E+1")] if isinstance(value, int) else []
    elif isinstance(value, list):
        turned += [value * 2, value[:1] * 300, [*value, None], [None, *value], [*value, 5], {"0": value}]
    return turned


_ANYTHING: list[Any] = [*_OTHER_TYPES, *NUMBERS, *TEXTS, *DATES, *DEEP_ONES]
_ABSENT = object()


@dataclass(frozen=True)
class Twice:
    """The same key or place twice, first with this and then with what is right."""

    first: Any


def corruptions(rng: Random, document: dict[str, Any], *, most: int = 3) -> list[Change]:
    """What is put where in a document: a few changes of any kind."""
    where = list(paths(document))
    chosen = rng.sample(where, min(rng.randint(1, most), len(where)))
    return [(path, _instead_of(rng, _value_at(document, path))) for path in chosen]


def _instead_of(rng: Random, old: Any) -> Any:
    is_number = isinstance(old, (int, float)) and not isinstance(old, bool)
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(_OTHER_TYPES),
        lambda: rng.choice(NUMBERS if is_number else [*TEXTS, *DATES]),
        lambda: rng.choice(_wrapped(old)),
        lambda: rng.choice(_ANYTHING),
        lambda: _ABSENT,
        lambda: Twice(rng.choice(_OTHER_TYPES)),
        lambda: "".join(chr(rng.choice((rng.randrange(0x110000), rng.randrange(0x300)))) for _ in range(20)),
    ]
    return rng.choice(kinds)()


def changed(document: Any, changes: list[Change]) -> Any:
    """The document with these changes, those inside of others first."""
    made = document
    for path, new in sorted(changes, key=lambda change: -len(change[0])):
        made = _set(made, path, new)
    return made


def _set(node: Any, path: Path, new: Any) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(node, Pairs):
        inner: list[tuple[Any, Any]] = list(node.pairs)
    else:
        inner = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    done: list[tuple[Any, Any]] = []
    for key, value in inner:
        if key != step:
            done.append((key, value))
        elif rest:
            done.append((key, _set(value, rest, new)))
        elif isinstance(new, Twice):
            done += [(key, new.first), (key, value)] if isinstance(key, str) else [(key, value), (key, value)]
        elif new is not _ABSENT:
            done.append((key, new))
    if isinstance(node, list):
        return [value for _, value in done]
    return Pairs(tuple(done)) if len({key for key, _ in done}) < len(done) else dict(done)


def shown(changes: list[Change]) -> str:
    """The changes in words, for the line of a failing example."""
    words = {id(_ABSENT): "absent"}
    return "; ".join(f"{'.'.join(map(str, path))} = {words.get(id(new)) or repr(new)[:120]}" for path, new in changes)


SEEDS = st.integers(0, 2**32 - 1)


def examples(quick: int, slow: int | None = None) -> settings:
    """So many examples, the same ones on every run. PLEO_EXPORT_EXAMPLES multiplies them, for a long night."""
    times = int(os.environ.get("PLEO_EXPORT_EXAMPLES", "1"))
    return settings(
        max_examples=(slow or quick) * times,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # a seed cannot be made smaller
        suppress_health_check=list(HealthCheck),
    )
