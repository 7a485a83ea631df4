"""One run: find the jobs, take them one at a time, company by company, until none is left."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from blocks.erp.errors import ErpBusy, ErpConfigurationError, ErpError
from blocks.pleo.errors import (
    PleoConfigurationError,
    PleoError,
    PleoNotFound,
    PleoRejected,
    PleoUnavailable,
)
from blocks.pleo.models import ExportJob, JobStatus
from blocks.text import one_line
from flows.outcome import JOB_FAILED, OK, USAGE, Ending, JobReport, RunReport, status_of
from flows.receipts.folder import remove_what_was_left_behind
from flows.session import Session
from flows.stop import Stop, Stopped

if TYPE_CHECKING:
    from blocks.pleo.credentials import PleoCredentials

log = logging.getLogger(__name__)


ShowOnConsole = Callable[[str, int, int], None]
"""Shows what is done with a job's items, with how many, of how many."""


class Run:
    """What one run keeps to itself: its report, and what the command line hands it beside the parameters.

    Prefect's server stores parameters for good, so nothing that is alive or secret may be one.
    """

    def __init__(
        self,
        credentials: PleoCredentials | None = None,
        show_on_console: ShowOnConsole | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.credentials = credentials
        self.show_on_console = show_on_console
        self.report = RunReport()
        self.stop = stop or Stop()
        self.server_is_away = False
        """Whether Prefect's server was away, and not waited for any longer, when it was last to be told of an end."""


ExportOneJob = Callable[[Session, ExportJob], Awaitable[JobReport]]
"""Takes one job as far as it goes, and raises nothing for it."""

_BAD_REQUEST = 400

_GO_ON = {
    Ending.COMPLETED,
    Ending.COMPLETED_WITH_ERRORS,
    Ending.FAILED,
    Ending.FINISHED_ELSEWHERE,
    Ending.TAKEN,
    Ending.NOT_STARTED,
}


async def export_jobs(
    session: Session, report: RunReport, export_one: ExportOneJob, *, company_id: str | None, job_id: str | None
) -> None:
    """Run the export and write into `report` what came of it. Nothing that can be foreseen is raised."""
    try:
        session.stop.check()
        if job_id is not None:
            await _one_job(session, report, export_one, job_id, company_id)
        else:
            await _all_jobs(session, report, export_one, company_id)
    except Stopped as error:
        report.say(str(error), JOB_FAILED)
    except (PleoConfigurationError, PleoRejected, ErpConfigurationError) as error:
        report.say(str(error), USAGE)
    except PleoUnavailable as error:
        report.say(f"Pleo cannot be reached: {error}", JOB_FAILED)
    except (PleoError, ErpError) as error:
        report.say(str(error), JOB_FAILED)


async def _one_job(
    session: Session, report: RunReport, export_one: ExportOneJob, job_id: str, company_id: str | None
) -> None:
    """The job that was asked for, and no other."""
    try:
        job = await session.pleo.get_job(job_id)
    except PleoNotFound as error:
        report.say(f"no export job {job_id} is shown to these credentials: {error}", USAGE)
        return
    if company_id is not None and job.company_id != company_id:
        report.say(f"job {job.id} belongs to company {job.company_id}, not to {company_id}", USAGE)
    elif not job.is_open:
        why = " ".join(part for part in (job.failure_reason_type, job.failure_reason) if part)
        await session.steps.pages.forget(job.id)
        how = "has expired" if job.expired_at is not None else f"is {one_line(job.status, 40)} already"
        report.say(
            f"job {job.id} {how}{': ' + one_line(why, 200) if why else ''}",
            status_of(job),
        )
    else:
        try:
            if await _open_books(session, report, job.company_id):
                await _export(session, report, export_one, job)
        finally:
            await session.erp.close()


async def _all_jobs(session: Session, report: RunReport, export_one: ExportOneJob, company_id: str | None) -> None:
    """Every open job of the company, or of every company that the credentials show, each by itself."""
    try:
        jobs = await session.steps.detect_jobs(session, company_id)
    except PleoRejected as error:
        if company_id is not None or error.status != _BAD_REQUEST:
            raise
        how = "name one with --company-id or PLEO_COMPANY_ID"
        report.say(f"Pleo wants to know which company ({error}): {how}", USAGE)
        return
    await _forget_ended(session, {job.id for job in jobs})
    remove_what_was_left_behind()
    if not jobs:
        report.is_idle = True
        report.say(f"nothing to do: no export job is waiting{' for company ' + company_id if company_id else ''}")
        return
    companies = list(dict.fromkeys(job.company_id for job in jobs))
    limits = session.erp.describe()
    if len(companies) > 1 and limits.one_company and session.erp.company() is None:
        names = ", ".join(companies)
        report.say(
            f"jobs of {len(companies)} companies are waiting, and {limits.name} holds one: "
            f"choose with --company-id ({names})",
            USAGE,
        )
        return
    for company in companies:
        try:
            if await _open_books(session, report, company):
                await _company(session, report, export_one, company, [job for job in jobs if job.company_id == company])
        finally:
            await session.erp.close()


async def _forget_ended(session: Session, open_jobs: set[str]) -> None:
    """Delete the stored pages of jobs that a killed run left behind, and that have ended since.

    What another run with other credentials is at work on, these credentials do not show: it is left alone.
    """
    for job_id in await session.steps.pages.jobs():
        if job_id in open_jobs:
            continue
        try:
            job = await session.pleo.get_job(job_id)
        except PleoUnavailable as error:
            log.warning("Pages that are left of jobs that may have ended stay for now: %s", error)
            return  # the run has better to do than to wait for an answer about each
        except (PleoError, ValueError) as error:
            log.debug("pages of job %s stay, as it cannot be read: %s", job_id, error)
            continue
        if not job.is_open:
            await session.steps.pages.forget(job.id)


async def _company(
    session: Session, report: RunReport, export_one: ExportOneJob, company_id: str, jobs: list[ExportJob]
) -> None:
    """One job after the other; Pleo is asked again after each, as another may have come.

    While somebody else is at work on one, the others wait for him: Pleo lets one job of a company run at a time.
    """
    done: set[str] = set()
    taken: set[str] = set()
    while jobs := [job for job in jobs if job.id not in done]:
        job = jobs[0]
        done.add(job.id)
        ending = await _export(session, report, export_one, job)
        if ending not in _GO_ON:
            return
        if ending is Ending.TAKEN:
            taken.add(job.id)
        session.stop.check()
        if session.dry_run:
            continue
        jobs = await session.steps.detect_jobs(session, company_id)
        if any(job.id in taken and job.status == JobStatus.IN_PROGRESS for job in jobs):
            return


async def _export(session: Session, report: RunReport, export_one: ExportOneJob, job: ExportJob) -> Ending:
    outcome = await export_one(session, job)
    report.jobs.append(outcome)
    return outcome.ending


async def _open_books(session: Session, report: RunReport, company_id: str) -> bool:
    """Make the accounting system ready for a company before any of its jobs is touched."""
    try:
        await session.erp.open(company_id, dry_run=session.dry_run)
    except ErpBusy as error:
        report.say(str(error), OK)
    except ErpConfigurationError as error:
        report.say(str(error), USAGE)
    else:
        return True
    return False
