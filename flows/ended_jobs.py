"""A job that Pleo takes nothing more for: how it ended without us, and what of our work Pleo knows."""

from __future__ import annotations

import logging

from blocks.pleo.errors import PleoError
from blocks.pleo.models import ExportJob, ItemStatus, JobStatus
from blocks.text import one_line
from flows.outcome import Ending, JobReport, status_of
from flows.session import Session
from flows.steps.retrieve import reread_items
from flows.stop import Stopped

log = logging.getLogger(__name__)


async def find_out_how_it_ended(session: Session, report: JobReport, error: PleoError) -> None:
    """The job was over before we ended it, as `error` tells: say how, and what is booked that Pleo does not know of."""
    report.ending, report.reason = Ending.FINISHED_ELSEWHERE, str(error)
    try:
        tell_how_it_stands(report, await session.pleo.get_job(report.job_id), error)
        await _see_what_pleo_knows(session, report)
    except (PleoError, Stopped) as trouble:
        log.warning("How export job %s ended in Pleo cannot be read: %s", report.job_id, trouble)


def tell_how_it_stands(report: JobReport, now: ExportJob, error: PleoError) -> None:
    """Say how the job stands in Pleo after it refused something with `error`."""
    if now.is_open:  # Pleo has a reason of its own, which its words may tell
        report.ending = Ending.NOT_STARTED if now.status == JobStatus.PENDING else Ending.UNFINISHED
        report.reason = f"{error}; in Pleo it is still {one_line(now.status, 40)}"
        return
    why = " ".join(part for part in (now.failure_reason_type, now.failure_reason) if part)
    expired = "it expired" if now.expired_at is not None else f"it is {one_line(now.status, 40)}"
    report.ending = Ending.FINISHED_ELSEWHERE
    report.reason = f"{expired} in Pleo{': ' + one_line(why, 200) if why else ''}; what is booked stays booked"
    report.status_elsewhere = status_of(now)


async def _see_what_pleo_knows(session: Session, report: JobReport) -> None:
    """Whoever ended the job may be another run of this export, which reported the entries that we booked or found;
    and an update of ours may have arrived although its answer did not."""
    unreported = report.unreported
    if not unreported:
        return
    rows = await reread_items(session.pleo, report.job_id, set(unreported))
    told = {row.accounting_entry_id: row.external_id for row in rows if row.status == ItemStatus.SUCCESSFUL}
    taken = [id_ for id_, entry in unreported.items() if told.get(id_) == entry.external_id]
    report.results.acknowledge(report.results.rows_of(taken))
