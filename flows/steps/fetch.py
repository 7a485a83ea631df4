"""Step 4, fetch item data: every page of the job's export items, into the result store and not into memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from blocks.pleo.errors import MissingContraAccounts
from blocks.pleo.http.client import PleoClient
from blocks.pleo.models import JobFailure
from flows.failures import JobFails


@dataclass(frozen=True, slots=True)
class PageKey:
    """What tells one page from every other: never a block, never a secret."""

    base_url: str
    company_id: str
    job_id: str
    cursor: str
    page_size: int

    def digest(self) -> str:
        """A name for the page that fits a file system."""
        parts = (self.base_url, self.company_id, self.job_id, self.cursor, self.page_size)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """One page of export items: `text` is Pleo's JSON as it came, so that every number in it stays exact.

    `fetched_at` is in seconds of the Unix epoch: the links in the page live for a day from then.
    """

    text: str
    ids: tuple[str, ...]
    count: int
    has_next: bool
    end_cursor: str | None
    fetched_at: float = 0.0

    def to_json(self) -> dict[str, object]:
        """The page as plain JSON, for the result store."""
        return {
            "text": self.text,
            "ids": list(self.ids),
            "count": self.count,
            "has_next": self.has_next,
            "end_cursor": self.end_cursor,
            "fetched_at": self.fetched_at,
        }

    @classmethod
    def from_json(cls, document: dict[str, object]) -> FetchedPage:
        """The page from the result store; raises KeyError or TypeError for anything else."""
        text, ids, cursor = document["text"], document["ids"], document["end_cursor"]
        count, fetched_at = document["count"], document["fetched_at"]
        if not (
            isinstance(text, str)
            and isinstance(ids, list)
            and isinstance(count, int)
            and isinstance(fetched_at, (int, float))
        ):
            raise TypeError("no stored page")
        end_cursor = cursor if isinstance(cursor, str) else None
        return cls(text, tuple(ids), count, document["has_next"] is True, end_cursor, fetched_at)


async def fetch_page(pleo: PleoClient, job_id: str, cursor: str | None, now: Callable[[], datetime]) -> FetchedPage:
    """One page of the job's export items. Raises JobFails when contra accounts are missing in Pleo."""
    try:
        page = await pleo.get_export_items(job_id, cursor)
    except MissingContraAccounts as error:
        raise JobFails(
            JobFailure.MISSING_CONFIGURATION,
            f"Contra accounts missing: set them in Pleo under Settings, Accounting, Contra accounts. {error.reason}",
        ) from error
    return FetchedPage(page.text, page.ids, page.count, page.has_next, page.end_cursor, now().timestamp())
