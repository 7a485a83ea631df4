"""The export as two Prefect flows: a run over the jobs that wait, and one job as Pleo's seven steps.

On the command line: `python -m flows.export`. The steps as tasks are in `flows.tasks`, what they do in `flows.steps`,
and what becomes of a job that is resumed, broken off or half done in `flows.job`.
"""

# No `from __future__ import annotations` here: `.serve()` hands the flow to its runs by value, and of the names of the
# parameters' types Prefect could not make the types there.
import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from blocks import ground
from flows.stop import listen_before_the_run

if __name__ == "__main__":
    listen_before_the_run()
    ground.prepare()

from prefect import Flow, flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.runtime import flow_run

from blocks.collection import load_erp_settings, load_pleo_block
from blocks.pleo.credentials import credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.http.transport import Clock
from blocks.pleo.models import ExportJob
from blocks.redaction import Redactor, redacted_logs, secrets_of
from blocks.slots import optional_slot
from flows import cli
from flows.artifacts import publish, publish_run, short
from flows.companies import Clients, Target, export_companies, read_companies, targets_of, tell_of_strangers
from flows.earlier_runs import Note, noted, tidied_beside
from flows.failures import JobFails
from flows.files import FileError, check_files, write_files
from flows.job import Job, carry_out
from flows.monitoring import (
    Progress,
    logs_in_prefect,
    mark_as_interrupted,
    server_answers,
    state_of_job,
    state_of_run,
    until_server_answers,
)
from flows.outcome import JOB_FAILED, USAGE, JobReport, RunReport
from flows.report import summary_lines
from flows.run import ExportOneJob, Run, ShowOnConsole, export_jobs
from flows.session import Session
from flows.settings import SettingsError, ledger_settings
from flows.stop import Stop, Stopped
from flows.tasks import prefect_steps

log = logging.getLogger("flows.export")  # by name, as this module is also run as `__main__`, which nobody listens to

WAIT_FOR_SERVER_S = 900.0
WITH_SOMEBODY_WAITING_S = 10.0
"""How long a run whose jobs are done waits for Prefect's server to come back, so that it learns of it: under a worker,
and on the command line."""

SUBFLOW_WAIT_S = 0.15
"""Prefect's server on SQLite refuses a subflow within some 50 ms of a task's events, and its client waits 2 s then."""


async def seven_steps(job: Job) -> None:
    """Pleo's export of one job. Raises whatever keeps it from its end; a job that cannot be done is failed here."""
    if not await job.start():  # 1 detect and start: another may have been faster
        return
    try:
        # 2 validate, 3 retrieve items, 4 fetch pages: all three only read, so they go on at once, and a page is
        # recorded as soon as the accounting system is validated, its rows are known, and it is there.
        async with job.reading(job.validate(), job.retrieve(), job.fetch()), job.updates() as updates:
            async for page in job.ready_pages():
                async for rows in job.record(page):  # 5 process and record
                    await updates.add(rows)  # 6 update items, in batches, while the next page is recorded
            await updates.add(await job.left_over())
    except JobFails as error:
        await job.fail(error)
    else:
        await job.complete()  # 7 complete the job


class _Shown:
    """What a run has at hand to be seen by in Prefect."""

    def __init__(self, run: Run, note: Note) -> None:
        self.note = note
        self.run_id = flow_run.id
        self._run = run
        self.jobs_are_runs = True
        self.under_way: list[asyncio.Future[State[Any]]] = []

    async def server_is_there(self) -> bool:
        """Whether Prefect's server is there to be told of an end. It is waited for once: where it did not come back for
        one of the run's jobs, the others look, and go."""
        run, somebody_waits = self._run, self._run.show_on_console is not None
        patience_s = WITH_SOMEBODY_WAITING_S if somebody_waits else WAIT_FOR_SERVER_S
        is_there = await until_server_answers(0.0 if run.server_is_away else patience_s, run.stop)
        run.server_is_away = not is_there
        if somebody_waits and not is_there:
            ground.without_retries()
        return is_there


class _JobRun:
    """One job as a flow of its own. A plain class: Prefect stores the parameters of a flow, and these are ids alone."""

    def __init__(self, session: Session, job: ExportJob, shown: _Shown) -> None:
        self._session = session
        self._job = job
        self._shown = shown
        self.report: JobReport | None = None
        self.is_over = asyncio.Event()

    @property
    def name(self) -> str:
        """What people know the job's run by: the company, the day, the job."""
        what = "dry run of " if self._session.dry_run else ""
        company, job = short(self._job.company_id), short(self._job.id)
        return f"{what}{company} {datetime.now(UTC):%Y-%m-%d} job {job}"

    async def export_job(self, job_id: UUID, company_id: UUID) -> State[Any]:
        """One export job, from its start to its final event."""
        session, shown = self._session, self._shown
        shown.note.begins(flow_run.id)
        async with optional_slot(f"pleo-export-{company_id}", f"company {company_id}"):
            # The run's tags are not for its tasks: of each tag Prefect would ask its server for a slot, task by task,
            # and a server that is away would end the job.
            with session.stop.on_signals(), TagsContext(current_tags=set()):
                self.report = await carry_out(session, self._job, seven_steps)
        self.is_over.set()
        is_there = await shown.server_is_there()
        if is_there:
            await mark_as_interrupted(session.stop)
            await publish(self.report)
        get_run_logger().info("%s", "\n".join(summary_lines(self.report)))
        state = await state_of_job(self.report, session.stop, shown.run_id if is_there else None)
        shown.note.ends(flow_run.id, state)
        return state


async def _export_one(shown: _Shown, progress: Progress, session: Session, job: ExportJob) -> JobReport:
    """One job as a subflow; where Prefect's server is away, without one: the job must not wait for it."""
    progress.begin()
    run = _JobRun(session, job, shown)
    ids = UUID(job.id), UUID(job.company_id)
    is_there = await server_answers()
    if is_there:
        await session.stop.sleep(SUBFLOW_WAIT_S)
    shown.jobs_are_runs &= is_there
    with tags(f"company:{job.company_id}", f"job:{job.id}", *(["dry-run"] if session.dry_run else [])):
        as_flow = flow(name="pleo-export-job", flow_run_name=lambda: run.name, persist_result=False)(run.export_job)
        under_way: asyncio.Future[State[Any]]
        under_way = asyncio.ensure_future(as_flow(*ids, return_state=True) if is_there else run.export_job(*ids))
    under_way.add_done_callback(lambda _: run.is_over.set())
    shown.under_way.append(under_way)
    await run.is_over.wait()  # the job is; Prefect is told of it beside the next one
    if run.report is None:
        await (await under_way).aresult(raise_on_failure=True)
    if run.report is None:
        raise RuntimeError(f"the run of job {job.id} ended without a report")
    return run.report


def _run_name() -> str:
    """What people know a run by: the day, and the company and job that it was asked for."""
    asked = flow_run.parameters or {}
    what = "dry run" if asked.get("dry_run") else "export"
    of = [f"{name} {short(str(asked[f'{name}_id']))}" for name in ("company", "job") if asked.get(f"{name}_id")]
    return " ".join([what, *of, f"{datetime.now(UTC):%Y-%m-%d %H:%M}"])


def flow_of(run: Run | None = None) -> Flow[..., Any]:
    """The flow over all jobs that wait, as a run that the caller looks into, or one that keeps to itself."""

    @flow(name="pleo-export", flow_run_name=_run_name, persist_result=False)
    async def export(
        pleo: str | None = None,
        erp: str | None = None,
        ledger: str | None = None,
        settings: str | None = None,
        companies: str | None = None,
        company_id: UUID | None = None,
        job_id: UUID | None = None,
        dry_run: bool = False,
        results: str | None = None,
        report: str | None = None,
    ) -> State[Any]:
        """Book every waiting expense of Pleo once, and tell Pleo what became of it.

        Args:
            pleo: Block that opens Pleo, as NAME or TYPE/NAME: pleo-credentials, or pleo-oauth for OAuth. Empty:
                PLEO_API_KEY or PLEO_ACCESS_TOKEN and PLEO_BASE_URL of the worker's environment.
            erp: Block with the settings of the accounting system, as TYPE/NAME. Empty: the embedded ledger.
            ledger: File of the embedded ledger, used without a block. Empty: what the settings say, books.sqlite.
            settings: Settings of the embedded ledger as a TOML or YAML file, used without a block.
            companies: Companies that are exported at once, as a TOML file with a table each. Its blocks and files take
                the place of those above.
            company_id: Only this Pleo company. Empty: every company that the credentials show.
            job_id: Only this export job. Empty: every job that is waiting.
            dry_run: Change nothing, only show what would be posted.
            results: File for the results of all items: .csv, .xlsx or .parquet.
            report: File for a page about the run for people: .html.
        """
        this = run or Run()
        told, started = this.report, time.monotonic()
        with cli.private_files(), this.stop.on_signals(), logs_in_prefect(), noted() as note:
            shown = _Shown(this, note)
            try:
                ended = await note.end_by_another_process(this.stop)
            except Stopped as error:
                told.say(str(error), JOB_FAILED)
                return await _ended(told, this.stop, shown)
            if ended is not None:
                return ended
            if other := note.at_work():
                told.say(f"nothing to do: {other} is at work, and takes every job that waits")
                return await _ended(told, this.stop, shown)
            clients = Clients(Clock(sleep=this.stop.sleep, limit=this.stop.limit))
            try:
                file = read_companies(Path(companies)) if companies else None
                only = str(company_id) if company_id else None
                if file is not None:
                    targets = await targets_of(
                        file, clients, only=only, of_one_job=job_id is not None, pleo=pleo, environment=os.environ
                    )
                else:
                    opened = this.credentials or (
                        await load_pleo_block(pleo) if pleo else credentials_from_environment(os.environ)
                    )
                    chosen = await load_erp_settings(erp) if erp else ledger_settings(ledger, settings)
                    targets = [Target("", only, chosen, clients.of(opened, chosen.page_size))]
                check_files(results, report)
            except (PleoConfigurationError, SettingsError, FileError) as error:
                told.say(str(error), USAGE)
                return await _ended(told, this.stop, shown)

            async def export_company(target: Target, report: RunReport) -> None:
                assert target.client is not None  # noqa: S101 - those without are not exported
                progress = Progress(_of_company(target.name, this.show_on_console))
                session = Session(
                    target.client,
                    clients.files_of(target.client, target.settings.receipt_proxy),
                    target.settings.connect(Path.cwd()),
                    prefect_steps(target.client.base_url),
                    this.stop,
                    settings=target.settings,
                    update_batch_size=target.settings.update_batch_size,
                    dry_run=dry_run,
                    show=progress.show,
                )
                await _run_redacted(session, partial(_export_one, shown, progress), report, target.company_id, job_id)

            erp_secrets = Redactor(secrets_of(*(target.settings for target in targets)))
            with redacted_logs(lambda text: erp_secrets(clients.redact(text))):
                try:
                    async with clients, tidied_beside(told.say):
                        if file is None:
                            await export_company(targets[0], told)
                        else:
                            if only is None:
                                await tell_of_strangers(file, clients, told)
                            await export_companies(file, targets, told, export_company)
                finally:
                    told.pleo_requests = clients.requests_sent
                    told.seconds = time.monotonic() - started
                write_files(told, results, report)
                return await _ended(told, this.stop, shown)

    return export


export = flow_of()


def _of_company(name: str, show: ShowOnConsole | None) -> ShowOnConsole | None:
    """The progress of one company among others, by its name."""
    if show is None or not name:
        return show
    return lambda what, done, total: show(f"{name}: {what}", done, total)


async def _run_redacted(
    session: Session, export_one: ExportOneJob, report: RunReport, company_id: str | None, job_id: UUID | None
) -> None:
    """The run itself. What nobody foresaw is told in the logs alone, where secrets are taken out of it: Prefect would
    keep the error's own words in its database."""
    try:
        await export_jobs(
            session,
            report,
            export_one,
            company_id=company_id,
            job_id=str(job_id) if job_id else None,
        )
    except Exception as error:
        log.exception("Unexpected in the run")
        what = f"something unforeseen ({type(error).__name__}), the log has the cause"
        report.say(f"the run could not be carried out: {what}", JOB_FAILED)


async def _ended(report: RunReport, stop: Stop, shown: _Shown) -> State[Any]:
    """Show how the run ended, and keep it for the next one in case that Prefect's server is not there to be told."""
    if flow_run.run_count > 1 and not report.jobs and not stop.is_requested:
        report.say("a job that has ended is not done again by a retry: Export in Pleo starts what failed in it anew")
    for told in await asyncio.gather(*shown.under_way, return_exceptions=True):
        if isinstance(told, Exception):  # of telling Prefect, and not of the job
            log.warning("Prefect was not told how a job's run ended (%s)", type(told).__name__)
    is_there = await shown.server_is_there()
    if report.jobs and is_there:  # an idle run leaves nothing behind, as there is one every few minutes
        await publish_run(report)
    run_id = shown.run_id if is_there else None
    state = await state_of_run(report, stop, run_id, jobs_are_runs=shown.jobs_are_runs)
    shown.note.ends(shown.run_id, state)
    return state


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return cli.main(sys.argv[1:] if arguments is None else arguments, flow_of)


if __name__ == "__main__":
    sys.exit(main())
