"""Receipts on an entry, each once, also where one went up and its answer was lost, or two runs attach at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from blocks.erp.entries import Attachment, NotAttached
from blocks.erp.errors import ErpOutcomeUnknown, RefusalKind, Refused
from blocks.erp.remote.calls import CallRefused, NotThere, TooLarge


class Shelf(Protocol):
    """Where the files of one entry hang, as an adapter reaches it."""

    async def there(self) -> Sequence[tuple[int, Any]]:
        """Our files that hang there: the number by which each is known (`Attachment.number`) and the system's own id,
        those of one number in the order in which they count (the first is the one that stays)."""
        ...

    async def put(self, file: Attachment, content: bytes) -> Any:
        """Hang a file there and return the system's id for it. Raises CallRefused, TooLarge, NotThere."""
        ...

    async def take_down(self, id_: Any) -> None:
        """Take a file down that we hung there ourselves."""
        ...


async def attach(shelf: Shelf, files: Sequence[Attachment], max_bytes: int, system: str) -> list[NotAttached]:
    """Attach the files that are not there yet; returns those that are not what was downloaded, are larger than
    `max_bytes`, or that the system does not take.

    A lost answer is looked up: the file counts if it is there, else the outcome stays unknown. Whoever finds a file
    that counts before its own takes its own down. Raises NotThere where the entry itself is gone.
    """
    if not files:
        return []
    there = {number for number, _ in await shelf.there()}
    refused: list[NotAttached] = []
    ours: dict[int, Any] = {}
    for file in files:
        if file.number in there:
            continue
        there.add(file.number)
        content = await content_of(file, max_bytes)
        if isinstance(content, NotAttached):
            refused.append(content)
            continue
        try:
            ours[file.number] = await shelf.put(file, content)
        except TooLarge:
            refused.append(NotAttached(file.number, f"{system} does not take files of this size", too_large=True))
        except NotThere:
            raise
        except CallRefused as error:
            refused.append(NotAttached(file.number, str(error)))
        except ErpOutcomeUnknown:
            if file.number not in {number for number, _ in await shelf.there()}:
                raise
    if ours:
        first: dict[int, Any] = {}
        for number, id_ in await shelf.there():
            first.setdefault(number, id_)
        for number, id_ in ours.items():
            if first.get(number, id_) != id_:
                await shelf.take_down(id_)
    return refused


async def unfit(files: Sequence[Attachment], max_bytes: int) -> list[NotAttached]:
    """Those of the files that the system need not even be asked about."""
    contents = [await content_of(one, max_bytes) for one in files]
    return [one for one in contents if isinstance(one, NotAttached)]


def refused_for(id_: str, not_attached: Sequence[NotAttached]) -> Refused:
    """The refusal of an entry that must have its files, for the first that could not be attached."""
    first = not_attached[0]
    kind = RefusalKind.ATTACHMENT_TOO_LARGE if first.too_large else RefusalKind.ATTACHMENT_REFUSED
    return Refused(id_, kind, f"file {first.number}", first.message)


async def content_of(file: Attachment, max_bytes: int) -> bytes | NotAttached:
    """The bytes of a file, or why it cannot be attached: it is too large, gone, or not what was downloaded."""
    if file.size > max_bytes:
        return NotAttached(file.number, f"a file has at most {max_bytes} bytes", too_large=True)
    try:
        content = await asyncio.to_thread(file.path.read_bytes)
    except OSError as error:
        return NotAttached(file.number, f"the file cannot be read: {error.strerror or 'no reason given'}")
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        return NotAttached(file.number, "the file has other bytes than were downloaded")
    return content
