"""Step 7, complete the job: one final event that says how it ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from blocks.erp.settings import AllFailedEvent
from blocks.pleo.models import ExportJob, JobEvent, JobFailure
from flows.session import Session


@dataclass(frozen=True, slots=True)
class FinalEvent:
    """The event that ends a job; reason and type only with `failed`."""

    event: JobEvent
    reason: str | None = None
    reason_type: JobFailure | None = None


def final_event(
    successful: int,
    not_successful: int,
    failure_types: Counter[str],
    all_failed: AllFailedEvent = AllFailedEvent.FAILED,
) -> FinalEvent:
    """How a job ended, over all of its items, earlier runs' included.

    `failure_types` counts the items' types. All failed: `failed`, with their common type where a job can have it.
    """
    if not_successful == 0:
        return FinalEvent(JobEvent.COMPLETED)
    if successful > 0 or all_failed is AllFailedEvent.COMPLETED_WITH_ERRORS:
        return FinalEvent(JobEvent.COMPLETED_WITH_ERRORS)
    types = set(failure_types)
    common = types.pop() if len(types) == 1 else ""
    reason_type = JobFailure(common) if common in set(JobFailure) else JobFailure.VALIDATION
    many = "The only item" if not_successful == 1 else f"All {not_successful} items"
    return FinalEvent(JobEvent.FAILED, f"{many} failed; each item says why.", reason_type)


async def complete_job(session: Session, job: ExportJob, final: FinalEvent) -> None:
    """Post the final event, once in effect. Raises JobFinished when the job was over already."""
    await session.pleo.post_event(job.id, final.event, reason=final.reason, reason_type=final.reason_type)
