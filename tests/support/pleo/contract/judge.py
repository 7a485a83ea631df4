"""Holds answers to the contract: status, content type, every field of the body, and none that the contract has not.

What an answer does otherwise is a finding. Each finding has to be one of `deviations.DEVIATIONS`, which say why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker

DEFINITIONS = sorted(Path(__file__).parent.glob("*.yaml"))
CONTENT_TYPE = "application/json;charset=UTF-8"
_IGNORED = ("nullable", "x-known-values", "default")

formats = FormatChecker(("uuid",))


@formats.checks("date-time", raises=ValueError)
def _is_date_time(text: object) -> bool:
    return not isinstance(text, str) or ("T" in text and datetime.fromisoformat(text).tzinfo is not None)


@dataclass(frozen=True)
class Finding:
    """Where an answer leaves the contract. `rule` is the keyword of JSON schema, `undocumented status`, `content type`
    or `not JSON`; `place` is the field's path without positions (`data.files.size`), of an error its type."""

    call: str
    status: int
    rule: str
    place: str
    message: str


@dataclass(frozen=True)
class Operation:
    """An operation of a definition: what its answers' bodies have to be, by status; None for no body."""

    call: str
    answers: dict[int, Draft202012Validator | None]


@cache
def operations() -> list[tuple[re.Pattern[str], Operation]]:
    """Every operation of the definitions, each with a pattern for `METHOD path`."""
    found = []
    for path in DEFINITIONS:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        schemas = {name: as_json_schema(schema) for name, schema in document["components"]["schemas"].items()}
        for place, methods in document["paths"].items():
            for method, operation in methods.items():
                call = f"{method.upper()} {place}"
                answers = {
                    int(status): _validator(answer, schemas) for status, answer in operation["responses"].items()
                }
                pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(call))
                found.append((re.compile(pattern), Operation(call, answers)))
    return found


def parameters() -> dict[str, set[str]]:
    """The names of the parameters that the query of each call may have."""
    found = {}
    for path in DEFINITIONS:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        shared = document["components"].get("parameters", {})
        for place, methods in document["paths"].items():
            for method, operation in methods.items():
                given = [
                    shared.get(one.get("$ref", "").rsplit("/", 1)[-1], one) for one in operation.get("parameters", ())
                ]
                found[f"{method.upper()} {place}"] = {one["name"] for one in given if one["in"] == "query"}
    return found


def _validator(answer: dict[str, Any], schemas: dict[str, Any]) -> Draft202012Validator | None:
    if "content" not in answer:
        return None
    schema = as_json_schema(answer["content"][CONTENT_TYPE]["schema"])
    whole = {**schema, "components": {"schemas": schemas}}
    Draft202012Validator.check_schema(whole)
    return Draft202012Validator(whole, format_checker=formats)


def as_json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of OpenAPI 3.0 as JSON schema; open enumerations as closed ones, and objects without further fields."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: as_json_schema(inner) for name, inner in value.items()}
            made.setdefault("additionalProperties", False)
        elif key == "allOf":
            made[key] = [as_json_schema(inner) for inner in value]
        elif isinstance(value, dict) and key in ("items", "additionalProperties"):
            made[key] = as_json_schema(value)
        elif key not in _IGNORED:
            made[key] = value
    if "x-known-values" in schema:
        made["$ref"] = schema["x-known-values"]
    return {"if": {"type": "null"}, "else": made} if schema.get("nullable") else made


def findings(
    method: str, path: str, status: int, content_type: str, body: bytes, most_rows: int | None = None
) -> list[Finding]:
    """What an answer does otherwise than the contract says; nothing for a path that is not in it.

    Of a page's rows the first `most_rows` are looked at: a row takes some milliseconds.
    """
    for pattern, operation in operations():
        if pattern.fullmatch(f"{method} {path}"):
            return list(_judged(operation, status, content_type, body, most_rows))
    return []


def _judged(
    operation: Operation, status: int, content_type: str, body: bytes, most_rows: int | None
) -> Iterator[Finding]:
    call = operation.call
    if status not in operation.answers:
        error = _error(body) if status >= 400 else None
        if status >= 400 and error is None:
            yield Finding(call, status, "error", "", f"not an ExceptionInfo: {body[:200]!r}")
        place = "" if error is None else error["type"]
        yield Finding(call, status, "undocumented status", place, f"{status} is not in the contract")
        return
    validator = operation.answers[status]
    if validator is None:
        if body:
            yield Finding(call, status, "no body", "", "a body where none is due")
        return
    if content_type != CONTENT_TYPE:
        yield Finding(call, status, "content type", content_type, f"{content_type} instead of {CONTENT_TYPE}")
    try:
        document = json.loads(body)
    except ValueError as error:
        yield Finding(call, status, "not JSON", "", str(error))
        return
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document["data"] = document["data"][:most_rows]
    for error in validator.iter_errors(document):
        place = ".".join(str(part) for part in error.absolute_path if not isinstance(part, int))
        yield Finding(call, status, str(error.validator), place, error.message[:200])


def _error(body: bytes) -> dict[str, str] | None:
    """An error that the contract does not list, in the form of those that it does; None when it has another."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    whole = isinstance(document, dict) and set(document) == {"type", "message"}
    return document if whole and all(isinstance(value, str) for value in document.values()) else None
