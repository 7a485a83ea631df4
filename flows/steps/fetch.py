"""Step 4, fetch item data: one page of the job's export items, as Pleo sends it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from blocks.pleo.errors import MissingContraAccounts
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.models import ExportJob, JobFailure
from flows.failures import JobFails
from flows.session import Session


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


def page_key(session: Session, job: ExportJob, cursor: str | None) -> PageKey:
    """The key of the page behind that cursor."""
    return PageKey(session.pleo.base_url, job.company_id, job.id, cursor or "", session.pleo.page_size)


async def fetch_page(session: Session, job: ExportJob, cursor: str | None, number: int) -> ExportItemsPage:
    """The `number`-th page of the job's export items, behind `cursor`.

    Raises JobFails when contra accounts are missing in Pleo.
    """
    try:
        page = await session.pleo.get_export_items(job.id, cursor)
    except MissingContraAccounts as error:
        raise JobFails(
            JobFailure.MISSING_CONFIGURATION,
            f"Contra accounts missing: set them in Pleo under Settings, Accounting, Contra accounts. {error.reason}",
        ) from error
    return page.fetched(session.now().timestamp())
