"""`--settings FILE`: the embedded ledger's settings as a TOML or YAML file, with the fields of its block."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from blocks.erp.ledger.block import LedgerSettings
from blocks.text import one_line

_MAX_BYTES = 1_000_000


class SettingsError(Exception):
    """A settings file that cannot be used; the message is one line that names the file and the field."""


def read_settings(path: Path, **overrides: Any) -> LedgerSettings:
    """The settings in a file, `overrides` in place of what it says. Raises SettingsError."""
    document = _read(path)
    unknown = sorted(set(document) - set(LedgerSettings.model_fields))
    if unknown:
        raise SettingsError(f"{path}: {one_line(', '.join(map(str, unknown)), 200)}: no such setting")
    try:
        return LedgerSettings(**{**document, **overrides})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise SettingsError(f"{path}: {where}: {problem['msg'].removeprefix('Value error, ')}") from None


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in {".toml", ".yaml", ".yml"}:
        raise SettingsError(f"{path}: settings are a file that ends in .toml, .yaml or .yml")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise SettingsError(f"{path}: too large for settings")
        text = content.decode()
        document = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or 'it cannot be read'}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {one_line(str(error), 200)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise SettingsError(f"{path}: settings are names with values")
    return document
