"""What the export's call must look like. License: MIT."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from trytond.i18n import gettext

from .document import PLEO_FIELDS
from .exceptions import RecordingError


@dataclass(frozen=True)
class Document:
    """One record to be made: the model's name, and the values as its `create` takes them."""

    model: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One expense: its first document carries the id, the further ones belong to it."""

    id: str
    company: int
    post: bool
    settle: bool
    documents: tuple[Document, ...]


def read_entries(entries: Any, models: Collection[str]) -> list[Entry]:
    """The entries of a call, all of one company. Raises RecordingError for anything else."""
    if not isinstance(entries, (list, tuple)):
        raise _unreadable("entries are not a list")
    read = [_entry(entry, models) for entry in entries]
    if len({entry.company for entry in read}) > 1:
        raise _unreadable("the entries are of several companies")
    return read


def _entry(entry: Any, models: Collection[str]) -> Entry:
    if not isinstance(entry, dict):
        raise _unreadable("an entry is not an object")
    unknown = entry.keys() - {"pleo_entry_id", "post", "settle", "documents"}
    if unknown:
        raise _unreadable(f"an entry has an unknown key, {min(map(str, unknown))[:40]!r}")
    id_ = entry.get("pleo_entry_id")
    if not _is_uuid(id_):
        raise _unreadable("a pleo_entry_id is not a UUID in lower case")
    post, settle = entry.get("post", False), entry.get("settle", False)
    if not isinstance(post, bool) or not isinstance(settle, bool):
        raise _unreadable(f"post or settle of {id_} is not a boolean")
    if settle and not post:
        raise _unreadable(f"{id_} is to be settled without being posted")
    documents = entry.get("documents")
    if not isinstance(documents, (list, tuple)) or not documents:
        raise _unreadable(f"{id_} has no documents")
    read = tuple(_document(id_, document, models) for document in documents)
    companies = {document.values["company"] for document in read}
    if len(companies) > 1:
        raise _unreadable(f"the documents of {id_} are of several companies")
    return Entry(id_, companies.pop(), post, settle, read)


def _document(id_: str, document: Any, models: Collection[str]) -> Document:
    if not isinstance(document, dict) or document.keys() != {"model", "values"}:
        raise _unreadable(f"a document of {id_} is not an object with a model and values")
    model, values = document["model"], document["values"]
    if not isinstance(model, str) or model not in models:
        raise _unreadable(f"a document of {id_} has another model than {' or '.join(models)}")
    if not isinstance(values, dict) or PLEO_FIELDS & values.keys():
        raise _unreadable(f"the values of a document of {id_} are no object, or set what the export sets")
    company = values.get("company")
    if not isinstance(company, int) or isinstance(company, bool):
        raise _unreadable(f"a document of {id_} names no company")
    return Document(model, values)


def _is_uuid(text: Any) -> bool:
    try:
        return isinstance(text, str) and str(UUID(text)) == text
    except ValueError:
        return False


def _unreadable(reason: str) -> RecordingError:
    return RecordingError(gettext("pleo_export.msg_entries", reason=reason))
