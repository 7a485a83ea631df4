"""What bookkeeping knows besides the item."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from blocks.erp.base import Capabilities
from blocks.erp.reference import JournalUse, Reference
from blocks.erp.settings import ErpSettings
from flows.failures import missing


@dataclass(frozen=True, slots=True)
class Books:
    """The job, and the accounting system's reference data and limits.

    `today` is the company's date now; it is needed where expenses of a closed period are booked today.
    """

    job_id: str
    company_id: str
    reference: Reference
    limits: Capabilities
    settings: ErpSettings = field(default_factory=ErpSettings)
    today: date | None = None

    def journal(self, use: JournalUse) -> str:
        """The code of the journal for that use; fails the item where none is set up."""
        code = self.reference.journals.get(use)
        if not code:
            raise missing(f"Journal {use.replace('_', ' ')}")
        return code
