"""Lists in pages: limit, cursors, offset and sorting, read from a query and answered from SQLite.

A cursor holds the sorted values of a row, and which list in which order it belongs to, in base32; so a page starts
at an index entry, however far down the list, and stays in place when rows before it change.

Choices where Pleo's pages are silent: 20 rows when no limit is given, and for a limit of 0 too, as a page without rows
that says there are more would have no cursor to go on with; a limit above the cap is served as the cap; a cursor of
another list or order, and an unknown sorting key, are 400.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from blocks.pleo.sandbox.errors import bad_request
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.wire import Json

DEFAULT_LIMIT = 20
ORDERS = ("ASC", "ASC_NULLS_FIRST", "ASC_NULLS_LAST", "DESC", "DESC_NULLS_FIRST", "DESC_NULLS_LAST")
_CURSOR = re.compile(r"[A-Z2-7=~]+")
_MAX_INT = {"limit": 2**31 - 1, "offset": 2**63 - 1}

Term = tuple[str, bool]  # an SQL expression that is never null, and whether it descends


@dataclass(frozen=True, slots=True)
class Source:
    """A list in SQLite: `columns`, what stands after FROM, the condition and its arguments.

    `keys` are the sorting keys that a request may name, `order` what rows are in without one, its last term unique.
    `name` tells the list from others.
    """

    name: str
    columns: str
    tables: str
    condition: str
    args: Sequence[Any]
    keys: Mapping[str, str]
    order: Sequence[Term]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list is asked for. The cursors are as they came."""

    limit: int
    after: str | None
    before: str | None
    offset: int | None
    keys: tuple[str, ...]
    orders: tuple[str, ...]
    parameters: dict[str, list[str]]

    def wire(self) -> Json:
        """The request as the answer repeats it (`CursorPageCurrentRequestInfo`)."""
        given = {"after": self.after, "before": self.before, "limit": self.limit, "offset": self.offset}
        info: Json = {name: value for name, value in given.items() if value is not None}
        if self.keys:
            info |= {"sortingKeys": list(self.keys), "sortingOrder": list(self.orders)}
        return info | {"parameters": self.parameters}


def read_page_request(query: QueryParams, cap: int) -> PageRequest:
    """The paging parameters of a query; 400 for what the contract does not allow."""
    given = [name for name in ("before", "after", "offset") if name in query]
    if len(given) > 1:
        raise bad_request(f"Use only one of before, after, offset; {' and '.join(given)} were given")
    limit = _integer(query, "limit")
    keys, orders = tuple(query.getlist("sorting_keys")), tuple(query.getlist("sorting_order"))
    if len(keys) != len(orders):
        raise bad_request("sorting_keys and sorting_order must be equally long")
    for order in orders:
        if order not in ORDERS:
            raise bad_request(f"sorting_order must be one of {', '.join(ORDERS)}")
    return PageRequest(
        limit=min(limit or DEFAULT_LIMIT, cap),
        after=query.get("after"),
        before=query.get("before"),
        offset=_integer(query, "offset"),
        keys=keys,
        orders=orders,
        parameters={name: query.getlist(name) for name in query},
    )


def read_page(store: Store, source: Source, request: PageRequest, total: int) -> tuple[list[sqlite3.Row], Json]:
    """The rows of a page and the `pagination` that goes with them."""
    terms = _terms(source, request)
    scope = _scope(source, request)
    backward = request.before is not None
    cursor = request.before if backward else request.after
    start = _read_cursor(cursor, scope, len(terms)) if cursor is not None else None
    rows = _select(store, source, terms, start, backward, request.limit + 1, request.offset or 0)
    more = len(rows) > request.limit
    rows = rows[: request.limit]
    if backward:
        rows.reverse()
    info: Json = {"currentRequestPagination": request.wire(), "total": total}
    if not rows:
        # Nothing here; what a cursor or an offset passed over lies on the other side.
        moved = start is not None or bool(request.offset)
        beyond = moved and bool(_select(store, source, terms, start, not backward, 1, 0))
        return [], {
            **info,
            "hasNextPage": beyond if backward else more,
            "hasPreviousPage": more if backward else beyond,
        }
    first, last = _values(rows[0], len(terms)), _values(rows[-1], len(terms))
    if backward:
        has_next = bool(_select(store, source, terms, last, False, 1, 0))
        has_previous = more
    else:
        has_next = more
        moved = start is not None or bool(request.offset)
        has_previous = moved and bool(_select(store, source, terms, first, True, 1, 0))
    return rows, {
        **info,
        "hasNextPage": has_next,
        "hasPreviousPage": has_previous,
        "startCursor": _write_cursor(scope, first),
        "endCursor": _write_cursor(scope, last),
    }


def _select(
    store: Store,
    source: Source,
    terms: Sequence[Term],
    start: list[Any] | None,
    backward: bool,
    limit: int,
    offset: int,
) -> list[sqlite3.Row]:
    """Rows beyond a place in the order, the order's values as last columns."""
    directed = [(expression, descending != backward) for expression, descending in terms]
    condition, args = source.condition, list(source.args)
    if start is not None:
        alternatives = []
        for count, (expression, descending) in enumerate(directed):
            same = [f"{other} = ?" for other, _ in directed[:count]]
            alternatives.append(" AND ".join([*same, f"{expression} {'<' if descending else '>'} ?"]))
            args += start[: count + 1]
        condition += f" AND ({' OR '.join(alternatives)})"
    columns = ", ".join([source.columns, *(expression for expression, _ in terms)])
    order = ", ".join(f"{expression} {'DESC' if descending else 'ASC'}" for expression, descending in directed)
    # Every part of the text is a constant of this package; what a request says goes into the arguments.
    sql = f"SELECT {columns} FROM {source.tables} WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
    return store.rows(sql, (*args, limit, offset))


def _terms(source: Source, request: PageRequest) -> list[Term]:
    terms: list[Term] = []
    for key, order in zip(request.keys, request.orders, strict=True):
        expression = source.keys.get(key)
        if expression is None:
            raise bad_request(f"sorting_keys can be {', '.join(source.keys)}")
        descending = order.startswith("DESC")
        nulls_first = order.endswith("FIRST") or order == "DESC"
        terms += [(f"({expression} IS NULL)", nulls_first), (f"coalesce({expression}, '')", descending)]
    return [*terms, *source.order]


def _scope(source: Source, request: PageRequest) -> int:
    return zlib.crc32(json.dumps([source.name, request.keys, request.orders]).encode())


def _values(row: sqlite3.Row, count: int) -> list[Any]:
    return list(tuple(row)[-count:])


def _write_cursor(scope: int, values: list[Any]) -> str:
    return base64.b32encode(json.dumps([scope, values], separators=(",", ":")).encode()).decode()


def _read_cursor(cursor: str, scope: int, count: int) -> list[Any]:
    if not _CURSOR.fullmatch(cursor):
        raise bad_request("A cursor matches ^[A-Z2-7=~]+$")
    try:
        found_scope, values = json.loads(base64.b32decode(cursor))
    except (binascii.Error, ValueError, TypeError) as error:
        raise bad_request("This is not a cursor that was handed out") from error
    if found_scope != scope or not isinstance(values, list) or len(values) != count:
        raise bad_request("This cursor belongs to another list, or to another order of this one")
    if not all(isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 2**63) for value in values):
        raise bad_request("This is not a cursor that was handed out")
    return values


def _integer(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > _MAX_INT[name]:
        raise bad_request(f"{name} must be an integer from 0 to {_MAX_INT[name]}")
    return int(text)
