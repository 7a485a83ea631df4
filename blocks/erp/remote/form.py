"""How the fields are read by which a server is reached: an address, a database, a key."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from blocks.erp.remote.client import is_http_url
from blocks.web_address import is_unencrypted, usable_base_url

_DATABASE = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def address_like(example: str) -> AfterValidator:
    """An address that a key can be sent to, such as `example`. Whether it may be plain http is for `not_readable`."""
    return AfterValidator(partial(usable_base_url, example=example, is_http_url=is_http_url, plain_http=True))


def _database(value: str) -> str:
    name = value.strip()
    if not _DATABASE.fullmatch(name) or not name.strip("."):
        raise ValueError("it is the name of a database: letters, digits, underscores, dots and dashes")
    return name


def _key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value().strip()
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("it is empty, or holds characters that no key has: copy it again")
    return SecretStr(key)


DatabaseName = Annotated[str, AfterValidator(_database)]
"""The name of a database, without spaces around it."""

Key = Annotated[SecretStr, AfterValidator(_key)]
"""A key, without spaces around it."""


def not_readable(base_url: str, *, plain_http: bool) -> None:
    """Raise ValueError where a key would cross a network unencrypted, and nobody has allowed that."""
    if not plain_http and is_unencrypted(base_url):
        raise ValueError(
            "plain http would send the key readable over the network: use https, or allow it with plain_http"
        )
