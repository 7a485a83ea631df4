"""What an expense is counted by: Pleo's tags, the employee and the team, as dimensions of the accounting system."""

from __future__ import annotations

from collections.abc import Iterator

from blocks.erp.entries import Dimension
from blocks.erp.settings import ErpSettings
from blocks.pleo.items import ExportItem, ItemLine
from flows.bookkeeping.codes import NOBODY, clean, fitting


def dimensions_of(item: ExportItem, line: ItemLine, settings: ErpSettings) -> tuple[Dimension, ...]:
    """The dimensions of one line, each once: the line's tags, then employee and team where the settings name theirs.

    A tag group is the dimension that the settings say, else the one of its own name. A tag that stands for "I don't
    know" (an id of zeros, no code) is none. Where a tag names the employee's or the team's dimension, the tag counts.
    """
    found = dict.fromkeys(_tags(line, settings))
    groups = {dimension.group for dimension in found}
    for name, person in ((settings.employee_dimension, item.user), (settings.team_dimension, item.team)):
        code = clean(person.code) if person is not None else ""
        if name and code and name not in groups:
            found[Dimension(name, fitting(code, f"code of the {name}"))] = None
    return tuple(found)


def _tags(line: ItemLine, settings: ErpSettings) -> Iterator[Dimension]:
    for tag in line.tags or ():
        if tag is None or (tag.id or "").strip() == NOBODY:
            continue
        group, code = clean(tag.group_code), clean(tag.code)
        name = settings.dimensions.get(group, group)
        if code and (name or not group):
            yield Dimension(fitting(name, "tag group"), fitting(code, "tag code"))
