"""What no log line tells, whoever writes it: credentials and bank accounts, and in tracebacks links.

The message of an error that nobody foresaw may quote anything: a value of Pleo's data, a header, an address.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, SecretStr

_LINK = re.compile(r"\b(https?://[^\s/?#\"'<>\\]+)[/?#][^\s\"'<>]*")
_IBAN = re.compile(r"\b([A-Z]{2}\d{2})((?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b")
_TRACEBACK = logging.Formatter()


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
def redacted_logs(hide: Callable[[str], str]) -> Iterator[None]:
    """While the block runs, log records of all loggers and threads are made without what `hide` takes out."""
    before = logging.getLogRecordFactory()

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        _redact(record, lambda text: without_accounts(hide(text)))
        return record

    logging.setLogRecordFactory(made)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


def _redact(record: logging.LogRecord, hide: Callable[[str], str]) -> None:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        return  # whoever handles it complains of it
    hidden = hide(message)
    if hidden != message:
        record.msg, record.args = hidden, None
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = without_links(hide(_TRACEBACK.formatException(record.exc_info)))
        record.exc_info = None


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in compact[4:] + compact[:4])) % 97 == 1
