"""What pages are recorded with, and what comes of it: handed to step 5 and back from it."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.erp.entries import Entry
from blocks.erp.errors import ErpLoginRefused, ErpRateLimited
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.models import ItemFailure
from flows.bookkeeping import BookingContext
from flows.bookkeeping.precedents import JobMemory
from flows.failures import Failure
from flows.results import Row

BUDGET_S = 40.0
"""How long one call usually goes on taking up portions: results go out every minute, which keeps the job alive."""


class Recording:
    """What the pages of one job are recorded with: bookkeeping's context, what the job has shown so far (`memory`), and
    how much time there is.

    `patience_s` is how long a pause may be that the accounting system asks for, before the job is given up;
    `budget_s` how long one call goes on taking up portions. A plain class, so that Prefect does not walk through it.
    """

    def __init__(self, context: BookingContext, *, patience_s: float, budget_s: float = BUDGET_S) -> None:
        self.context = context
        self.memory = JobMemory(context.settings)
        self.patience_s = patience_s
        self.budget_s = budget_s

    def closing(self, error: Exception) -> Failure | None:
        """Why what is still open fails after this error, or None where waiting may help."""
        if isinstance(error, ErpLoginRefused):
            return Failure(ItemFailure.ERP_AUTHENTICATION, str(error))
        if isinstance(error, ErpRateLimited) and (error.clears_in_s or 0.0) > self.patience_s:
            return Failure(ItemFailure.ERP_RATE_LIMIT, str(error))
        return None


class RecordedPage:
    """The outcome of a call: a row for every item that is done, and in a dry run the entries that would be made.
    `notices` are for items of which a row was told before: the id of each, and what people should know besides.

    `left` are the items that time did not suffice for, or that something kept us from. Those of `dead_links` wait for a
    fresh page, as the links to their receipts lead nowhere. `closing` is why nothing more can be recorded in this job's
    life. A plain class, as `Recording` is.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.entries: list[Entry] = []
        self.notices: list[tuple[str, str]] = []
        self.left: list[str] = []
        self.dead_links: list[str] = []
        self.closing: Failure | None = None


class PagePart:
    """The items of a page that are to be recorded; `links_are_fresh` where those to receipts cannot have died of age.

    A plain class, as `Recording` is.
    """

    def __init__(self, page: ExportItemsPage, wanted: Sequence[str], *, links_are_fresh: bool) -> None:
        self.page = page
        self.wanted = wanted
        self.links_are_fresh = links_are_fresh
