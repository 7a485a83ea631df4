"""Step 1, detect and start: find the jobs that are ready, and take ownership of one."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks.pleo.models import ExportJob, JobEvent, JobStatus
from flows.session import Session

_LAST = datetime.max.replace(tzinfo=UTC)


async def detect_jobs(session: Session, company_id: str | None) -> list[ExportJob]:
    """The jobs that can be worked on: those in progress first (they are resumed), then the oldest pending ones.

    Jobs of another company than the one asked for are left out, whatever Pleo sends.
    """
    open_statuses = (JobStatus.IN_PROGRESS, JobStatus.PENDING)
    jobs = await session.pleo.list_jobs(company_id=company_id, statuses=open_statuses)
    eligible = [job for job in jobs if job.is_open and company_id in (None, job.company_id)]
    return sorted(eligible, key=lambda job: (job.status != JobStatus.IN_PROGRESS, job.created_at or _LAST, job.id))


async def start_job(session: Session, job: ExportJob) -> bool:
    """Tell Pleo that we work on this job; False when somebody else may have told it the same just before.

    Raises JobFinished when somebody else was faster for sure.
    """
    return await session.pleo.post_event(job.id, JobEvent.STARTED)
