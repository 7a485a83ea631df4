"""What an adapter does with files that its ERP has no room for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from blocks.erp.base import Capabilities
from blocks.erp.entries import Attachment, Entry, NotAttached
from blocks.erp.errors import RefusalKind, Refused


def taken_files(
    files: Sequence[Attachment], limits: Capabilities, there: Collection[int] = ()
) -> tuple[list[Attachment], list[NotAttached]]:
    """Which of these files an entry takes that has those numbers already, and which not."""
    taken: list[Attachment] = []
    refused = []
    for file in files:
        if file.number in there:
            continue
        if file.size > limits.max_attachment_bytes:
            refused.append(NotAttached(file.number, "the file is too large", too_large=True))
        elif limits.attachment_types is not None and file.media_type not in limits.attachment_types:
            refused.append(NotAttached(file.number, f"files of type {file.media_type} are not taken"))
        elif limits.max_attachments is not None and len(taken) + len(there) >= limits.max_attachments:
            refused.append(NotAttached(file.number, f"an entry has at most {limits.max_attachments} files"))
        else:
            taken.append(file)
    return taken, refused


def within_limits(entry: Entry, limits: Capabilities) -> tuple[Entry, list[NotAttached]] | Refused:
    """The entry with the files that it may have, and those that it may not; refused where it needs them all."""
    taken, refused = taken_files(entry.attachments, limits)
    if refused and entry.attachments_required:
        kind = RefusalKind.ATTACHMENT_TOO_LARGE if refused[0].too_large else RefusalKind.ATTACHMENT_REFUSED
        return Refused(entry.accounting_entry_id, kind, f"file {refused[0].number}", refused[0].message)
    return replace(entry, attachments=tuple(taken)), refused
