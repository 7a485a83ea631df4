"""`--settings FILE`: an accounting system's settings as a TOML or YAML file, with the fields of its block."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import SecretStr, ValidationError

from blocks.erp.ledger.block import FILE_FIELDS, LedgerSettings
from blocks.erp.ledger.handover.settings import NAMES_IN_TABLES
from blocks.erp.settings import ErpSettings
from blocks.text import one_line

S = TypeVar("S", bound=ErpSettings)

_MAX_BYTES = 100_000


class SettingsError(Exception):
    """A settings file that cannot be used; the message is one line that names the file and the field."""


_NO_NAMES = {"bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date", "null": "nothing"}
"""What YAML takes a word without quotation marks for: the country code NO, say, for false."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML brings no types
    """YAML as far as settings need it: names are text, one twice is a mistake, and nothing is merged (`<<`)."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for every mapping: complain where the usual loader would merge, or let the last one win."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="settings cannot be merged", problem_mark=key.start_mark)
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            taken_for = _NO_NAMES.get(key.tag.removeprefix("tag:yaml.org,2002:"))
            if taken_for is not None:
                word = one_line(name, 60) or "what stands before the colon"
                raise yaml.MarkedYAMLError(
                    problem=f'{word} is {taken_for} in YAML: write "{one_line(name, 60)}"', problem_mark=key.start_mark
                )
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"{one_line(name, 60)} is named twice", problem_mark=key.start_mark)
            seen.add(name)


def ledger_settings(ledger: str | None, file: str | None) -> LedgerSettings:
    """The embedded ledger's settings: a file's, with `ledger` in place of its path. Raises SettingsError."""
    overrides = {"path": ledger} if ledger else {}
    return read_settings(Path(file), **overrides) if file else LedgerSettings.model_validate(overrides)


def read_settings(path: Path, /, **overrides: Any) -> LedgerSettings:
    """The embedded ledger's settings in a file, `overrides` in place of what it says. Raises SettingsError.

    The files that they name are those beside the settings file, unless they are named with their full path.
    """
    settings = read_settings_of(LedgerSettings, path, overrides)
    beside = {
        name: str(path.absolute().parent / Path(file).expanduser())
        for name in FILE_FIELDS
        if (file := getattr(settings, name))
    }
    return settings.model_copy(update=beside)


def read_settings_of(
    kind: type[S], path: Path, overrides: Mapping[str, Any], sources: Mapping[str, str] | None = None
) -> S:
    """The settings of a kind in a file, `overrides` in place of what it says. Raises SettingsError.

    The file has no secrets, and none of the settings in `sources`, which says where each of those comes from.
    """
    document, sources = read_document(path), sources or {}
    for name in document:
        if name not in kind.model_fields:
            raise SettingsError(f"{path}: {one_line(name, 60)}: no such setting{_hint(name, kind)}")
        inner = _setting_in_table(name, document[name], kind)
        if inner is not None:
            put = f"put it above [{name}]" if path.suffix == ".toml" else f"move it out of {name}"
            raise SettingsError(f"{path}: {name}.{inner}: a setting; {put}")
        if name in sources:
            raise SettingsError(f"{path}: {name}: this comes from {sources[name]}, so take it out of the file")
        annotation = kind.model_fields[name].annotation
        if SecretStr in (annotation, *get_args(annotation)):
            raise SettingsError(f"{path}: {name}: secrets do not belong in this file, so take it out")
    return checked_settings(kind, {**document, **overrides}, f"{path}: ", sources)


def checked_settings(kind: type[S], values: Mapping[str, Any], prefix: str, sources: Mapping[str, str]) -> S:
    """Settings of these values. Raises SettingsError, which names the source of a setting, or else the setting itself
    after the prefix: `TRYTON_URL: …`, `acme.toml: wallet_accounts.DKK: …`."""
    try:
        return kind(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
    steps = [str(step) for step in problem["loc"] if step != "[key]"]
    if steps and steps[0] in sources:
        prefix, steps[0] = "", sources[steps[0]]
    where = f"{one_line('.'.join(steps), 120)}: " if steps else ""
    match problem["type"]:
        case "missing":
            what = "it is not set"
        case "string_type":
            what = 'it should be text, in quotation marks: "2900"'
        case _:
            what = one_line(problem["msg"].removeprefix("Value error, "), 300)
    raise SettingsError(f"{prefix}{where}{what}")


def _setting_in_table(name: str, value: Any, kind: type[ErpSettings]) -> str | None:
    """A setting that stands in a table to which it does not belong, or None."""
    own = NAMES_IN_TABLES.get(name, frozenset())
    names = value if isinstance(value, dict) else ()
    return next((one for one in names if one in kind.model_fields and one not in own), None)


def _hint(name: str, kind: type[ErpSettings]) -> str:
    near = get_close_matches(name.lower(), kind.model_fields, n=1)
    return f", did you mean {near[0]}?" if near else ""


def read_document(path: Path) -> dict[str, Any]:
    """What a TOML or YAML file holds, names with values. Raises SettingsError."""
    if path.suffix not in {".toml", ".yaml", ".yml"}:
        raise SettingsError(f"{path}: settings are a file that ends in .toml, .yaml or .yml")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise SettingsError(f"{path}: too large for settings")
        text = content.decode("utf-8-sig")
        document = tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _Loader)  # noqa: S506 - a safe one
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or 'it cannot be read'}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: line {line} is not written in UTF-8: save the file in that encoding") from None
    except RecursionError:
        raise SettingsError(f"{path}: too many brackets inside each other") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise SettingsError(f"{path}: {where}{one_line(error.problem or str(error), 200)}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {one_line(str(error), 200)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise SettingsError(f"{path}: settings are names with values")
    return document
