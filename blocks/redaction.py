"""Taking out what must not be shown: secrets from texts and logs that others write, accounts and links from logs.

The message of an error that nobody foresaw may quote anything: a credential, a value of Pleo's data, a header, an
address. So what is logged during a run passes here, whoever logs it.
"""

from __future__ import annotations

import html
import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, SecretStr

MASK = "***"
_SHORTEST = 8
"""A shorter secret is taken out as it stands only: what it is turned into may be found anywhere."""

_UNMISTAKABLE = 16
"""Only a secret as long as real ones is taken out of data: a shorter one may be a word, a field or an amount there."""

_LINK = re.compile(r"\b(https?://[^\s/?#\"'<>\\]+)[/?#][^\s\"'<>]*")
_IBAN = re.compile(r"\b([A-Z]{2}\d{2})((?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b")
_TRACEBACK = logging.Formatter()


class Redactor:
    """Replaces these secrets by `***`: as they are, and as JSON, Python, HTML, addresses, base64 and hex have them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        given = [secret for secret in secrets if secret]
        self._forms = _longest_first(form for secret in given for form in _forms(secret))
        unmistakable = (one for one in given if len(one) >= _UNMISTAKABLE and not one.isalpha() and not one.isdigit())
        self._bytes = [form.encode() for form in _longest_first(form for one in unmistakable for form in _forms(one))]

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def in_bytes(self, body: bytes) -> bytes:
        """The body of an answer without the secrets; those that may be anything in it are left."""
        for form in self._bytes:
            body = body.replace(form, MASK.encode())
        return body


def secrets_of(*models: BaseModel) -> tuple[str, ...]:
    """The values of all secret fields."""
    values = (getattr(model, name) for model in models for name in type(model).model_fields)
    return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))


def without_accounts(text: str) -> str:
    """The text with no more of each IBAN than its country and check digits."""
    return _IBAN.sub(lambda found: f"{found[1]}…" if _is_iban(found[0]) else found[0], text)


def without_links(text: str) -> str:
    """The text with no more of each web address than its host: what follows may be a permission."""
    return _LINK.sub(r"\1/…", text)


@contextmanager
def redacted_logs(redact: Callable[[str], str]) -> Iterator[None]:
    """While the block runs, log records of all loggers and threads are made without what `redact` takes out."""
    before = logging.getLogRecordFactory()

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        _redact_record(record, lambda text: without_accounts(redact(text)))
        return record

    logging.setLogRecordFactory(made)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


def _redact_record(record: logging.LogRecord, redact: Callable[[str], str]) -> None:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        return  # whoever handles it complains of it
    shown = redact(message)
    if shown != message:
        record.msg, record.args = shown, None
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = without_links(redact(_TRACEBACK.formatException(record.exc_info)))
        record.exc_info = None


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in compact[4:] + compact[:4])) % 97 == 1


def _longest_first(forms: Iterable[str]) -> list[str]:
    return sorted(set(forms), key=len, reverse=True)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    if len(secret) < _SHORTEST:
        return
    raw = secret.encode()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield secret[::-1]
    yield raw.hex()
    yield raw.hex().upper()
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)
    for before in range(3):  # wherever in an encoded text it stands, as in that of "Bearer KEY"
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(bytes(before) + raw).decode().rstrip("=")
            first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
            yield whole[first:last]
