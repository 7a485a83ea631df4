"""What the README files of the tree say, wherever each thing is told."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ROOT / "README.md"
ROOMS = ("blocks", "flows", "deployments", "tests")
FILES = (
    TOP,
    ROOT / ".github" / "CONTRIBUTING.md",
    *sorted(f for room in ROOMS for f in (ROOT / room).rglob("README.md")),
)
TEXTS = {file: file.read_text() for file in FILES}


def the_one_with(words: str) -> str:
    """The text that has these words, of which there has to be exactly one: each thing is told in one place."""
    found = {file.relative_to(ROOT).as_posix(): text for file, text in TEXTS.items() if words in text}
    assert len(found) == 1, f"{words!r} stands in {sorted(found) or 'no README'}, not in one"
    return next(iter(found.values()))


def code(language: str, text: str) -> list[str]:
    """What stands in the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def table(header: str, text: str) -> list[list[str]]:
    """The rows of every table with that header (`Type | Debit | Credit`), each as its cells."""
    bodies = re.findall(rf"^\| {re.escape(header)} \|\n\|[- |]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    return [row.removeprefix("| ").removesuffix(" |").split(" | ") for body in bodies for row in body.splitlines()]
