"""The export as a Prefect flow, and its command line: `python -m flows.export`.

Steps become tasks in `flows.tasks`. What they do, and in which order, is in `flows.job` and `flows.steps`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from blocks.tls import end_unless_verifying

if __name__ == "__main__":
    end_unless_verifying()

from prefect import flow, get_run_logger
from prefect.blocks.core import Block
from prefect.client.schemas.objects import State
from prefect.logging.configuration import setup_logging
from prefect.states import Completed, Failed
from pydantic import SecretStr, ValidationError
from rich.console import Console

from blocks import collection
from blocks.erp.settings import ErpSettings
from blocks.hiding import Hiding
from blocks.pleo.credentials import PleoCredentials, credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.models import ExportJob
from blocks.pleo.oauth.block import PleoOAuth
from blocks.pleo.sandbox import SandboxError
from blocks.slots import courtesy_slot
from blocks.text import one_line
from flows.cli import Options, parse
from flows.console import ConsoleProgress, prepare_streams, print_report
from flows.demo import SETTINGS_FILE, running_sandbox
from flows.outcome import JOB_FAILED, OK, USAGE, WITH_ERRORS, Ending, JobReport, RunReport
from flows.redaction import redacted_logs, secrets_of
from flows.report import publish, publish_run, summary_lines
from flows.run import export as run_export
from flows.session import Session
from flows.settings import SettingsError, read_settings
from flows.stop import Stop
from flows.tasks import JobFlow, PrefectRunner

log = logging.getLogger(__name__)

SUBFLOW_WAIT_S = 0.15
"""Prefect's server on SQLite refuses a subflow within some 50 ms of a task's events, and its client waits 2 s then."""


@dataclass(slots=True)
class _Given:
    """What the command line hands its own flow beside the parameters, which Prefect's server would store."""

    credentials: PleoCredentials | None = None
    report: RunReport = field(default_factory=RunReport)
    progress: ConsoleProgress | None = None
    books: Path | None = None
    signal: signal.Signals | None = None


_given: ContextVar[_Given | None] = ContextVar("given", default=None)


@dataclass(slots=True)
class _Job:
    run: Callable[[], Awaitable[JobReport]]
    stop: Stop
    report: JobReport | None = None


_job: ContextVar[_Job] = ContextVar("job")


def _job_flow(stop: Stop) -> JobFlow:
    """The way to run one job as a subflow, which can be asked to end by `stop`."""

    async def run_job(job: ExportJob, run: Callable[[], Awaitable[JobReport]]) -> JobReport:
        await stop.sleep(SUBFLOW_WAIT_S)
        body = _Job(run, stop)
        token = _job.set(body)
        try:
            state: State[Any] = await export_one_job(UUID(job.id), UUID(job.company_id), return_state=True)
        finally:
            _job.reset(token)
        if body.report is None:
            await state.aresult(raise_on_failure=True)
            raise RuntimeError(f"the run of job {job.id} ended without a report")
        return body.report

    return run_job


@flow(name="pleo-export-job", flow_run_name="job {job_id}", persist_result=False)
async def export_one_job(job_id: UUID, company_id: UUID) -> State[Any]:
    """One export job, from its start to its final event."""
    body = _job.get()
    async with courtesy_slot(f"pleo-export-{company_id}", f"company {company_id}"):
        with body.stop.on_signals():
            body.report = await body.run()
    get_run_logger().info("%s", "\n".join(summary_lines(body.report)))
    await publish(body.report)
    return _state_of_job(body.report)


def _state_of_job(report: JobReport) -> State[Any]:
    message = one_line("; ".join(summary_lines(report)), 1000)
    if report.ending in {Ending.COMPLETED, Ending.TAKEN}:
        return Completed(message=message)
    if report.ending is Ending.COMPLETED_WITH_ERRORS:
        return Completed(name="CompletedWithErrors", message=message)
    if report.exit_status in {OK, WITH_ERRORS}:  # as another run ended it
        return Completed(name=report.ending.value.title().replace(" ", ""), message=message)
    return Failed(name=report.ending.value.title().replace(" ", ""), message=message)


def _state_of_run(report: RunReport) -> State[Any]:
    jobs = [f"{job.job_id}: {job.ending.value}" for job in report.jobs]
    message = one_line("; ".join([*jobs, *report.lines]), 1000)
    if report.exit_status == OK:
        return Completed(message=message)
    if report.exit_status == WITH_ERRORS:
        return Completed(name="CompletedWithErrors", message=message)
    return Failed(message=message)


@flow(name="pleo-export", persist_result=False)
async def export(
    pleo: str | None = None,
    erp: str | None = None,
    ledger: str | None = None,
    settings: str | None = None,
    company_id: UUID | None = None,
    job_id: UUID | None = None,
    dry_run: bool = False,
) -> State[Any]:
    """Book every waiting expense of Pleo once, and tell Pleo what became of it.

    Args:
        pleo: Block that opens Pleo, as NAME or TYPE/NAME: pleo-credentials, or pleo-oauth for OAuth. Empty:
            PLEO_API_KEY or PLEO_ACCESS_TOKEN and PLEO_BASE_URL of the worker's environment.
        erp: Block with the settings of the accounting system, as TYPE/NAME. Empty: the embedded ledger.
        ledger: File of the embedded ledger, used when no block is given. Empty: what the settings say, books.sqlite.
        settings: Settings of the embedded ledger as a TOML or YAML file, used when no block is given.
        company_id: Only this Pleo company. Empty: every company that the credentials show.
        job_id: Only this export job. Empty: every job that is waiting.
        dry_run: Change nothing, only show what would be posted.
    """
    given = _given.get() or _Given()
    report, stop, started = given.report, Stop(), time.monotonic()
    with _private_files(), stop.on_signals():
        try:
            credentials = given.credentials or await _credentials(pleo)
            chosen = await _settings(erp, ledger, settings)
            clock = Clock(sleep=stop.sleep, limit=stop.limit)
            client = credentials.client(page_size=chosen.page_size, clock=clock)
            files = FileClient(client.base_url, clock=clock)
        except (PleoConfigurationError, SettingsError) as error:
            report.say(str(error), USAGE)
            return _state_of_run(report)
        system = chosen.connect(Path.cwd())
        runner = PrefectRunner(client.base_url, _job_flow(stop), given.progress, stop.sleep)
        erp_secrets = Hiding(secrets_of(chosen))
        session = Session(
            client,
            files,
            system,
            runner,
            stop,
            time.monotonic,
            chosen.update_batch_size,
            chosen.policy(),
            dry_run,
            client.now,
        )
        try:
            async with client, files:
                with redacted_logs(lambda text: erp_secrets(client.hide(text))):
                    await _run_redacted(session, report, company_id, job_id)
        finally:
            report.pleo_requests = client.requests_sent
            report.seconds = time.monotonic() - started
            given.signal = stop.signal
    await publish_run(report)
    return _state_of_run(report)


async def _run_redacted(session: Session, report: RunReport, company_id: UUID | None, job_id: UUID | None) -> None:
    """The run itself. What nobody foresaw is told in the logs alone, where secrets are taken out of it: Prefect would
    keep the error's own words in its database."""
    try:
        await run_export(
            session,
            report,
            company_id=str(company_id) if company_id else None,
            job_id=str(job_id) if job_id else None,
        )
    except Exception as error:
        log.exception("Unexpected in the run")  # Prefect's own lines do not show on the console
        get_run_logger().exception("Unexpected in the run")
        what = f"something unforeseen ({type(error).__name__}), the log has the cause"
        report.say(f"the run could not be carried out: {what}", JOB_FAILED)


@contextmanager
def _private_files() -> Iterator[None]:
    """Whatever is written meanwhile (books, stored pages) can be read by the owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


async def _credentials(name: str | None) -> PleoCredentials | PleoOAuth:
    """The block of that name that opens Pleo, else what the environment holds. Raises PleoConfigurationError."""
    if not name:
        return credentials_from_environment(os.environ)
    block = await _block(name if "/" in name else f"{PleoCredentials.get_block_type_slug()}/{name}")
    if not isinstance(block, PleoCredentials | PleoOAuth):
        raise PleoConfigurationError(f"block {one_line(name, 100)} holds no Pleo credentials")
    return block


async def _settings(name: str | None, ledger: str | None, file: str | None) -> ErpSettings:
    """The settings block of that name, else those of the embedded ledger, from a file where one is given.

    Raises PleoConfigurationError or SettingsError.
    """
    if not name:
        return _ledger_settings(ledger, file)
    block = await _block(name)
    if not isinstance(block, ErpSettings):
        raise PleoConfigurationError(f"block {one_line(name, 100)} holds no settings of an accounting system")
    return block


def _ledger_settings(ledger: str | None, file: str | None) -> collection.LedgerSettings:
    """The embedded ledger's settings: a file's, with `ledger` in place of its path. Raises SettingsError."""
    overrides = {"path": ledger} if ledger else {}
    return read_settings(Path(file), **overrides) if file else collection.LedgerSettings.model_validate(overrides)


async def _block(name: str) -> Block:
    try:
        return await Block.aload(name)
    except (ValueError, RuntimeError) as error:
        raise PleoConfigurationError(
            f"block {one_line(name, 100)} cannot be used: {_why(error)} (prefect block ls lists them)"
        ) from None


def _why(error: Exception) -> str:
    """What is wrong with a block: its fields by name, their values never, as one of them may be a key."""
    if not isinstance(error.__cause__, ValidationError):
        return one_line(str(error), 200)
    problems = error.__cause__.errors(include_input=False, include_context=False, include_url=False)
    return "; ".join(": ".join([*map(str, problem["loc"]), problem["msg"]]) for problem in problems)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments, os.environ.get("PLEO_COMPANY_ID"))
    if options.sandbox and options.settings is None:
        options = replace(options, settings=SETTINGS_FILE)
    prepare_streams()
    errors = Console(stderr=True, soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _set_up_logging()
    gc.freeze()  # what is imported stays for good: looking through it again and again took a fifth of the run
    sys.setswitchinterval(0.001)  # the ledger's thread gets its turn soon, after each of its short statements
    with _private_files(), ConsoleProgress(errors) as progress:  # those of a temporary server, too
        given = _Given(progress=progress)
        try:
            _run(options, given)
        except (PleoConfigurationError, SandboxError, SettingsError) as error:
            given.report.say(str(error), USAGE)
        except KeyboardInterrupt:
            given.signal = given.signal or signal.SIGINT
        except RuntimeError as error:
            log.debug("the run broke", exc_info=True)
            given.report.say(f"the run could not be carried out: {one_line(str(error), 300)}", JOB_FAILED)
        except Exception as error:
            log.exception("Unexpected outside the run")
            what = f"something unforeseen ({type(error).__name__}), the log has the cause"
            given.report.say(f"the run could not be carried out: {what}", JOB_FAILED)
    print_report(given.report, given.books, as_json=options.json, dry_run=options.dry_run)
    return 128 + given.signal if given.signal is not None else given.report.exit_status


def _run(options: Options, given: _Given) -> None:
    if options.erp is None:
        given.books = Path(_ledger_settings(*_texts(options.ledger, options.settings)).path)
    with running_sandbox(options) as sandbox:
        if sandbox is not None:
            given.credentials = PleoCredentials(base_url=sandbox.base_url, api_key=SecretStr(sandbox.api_key))
        elif options.pleo is None:
            given.credentials = credentials_from_environment(os.environ)
        _given.set(given)
        asyncio.run(_flow(options, given.report))


def _texts(*paths: Path | None) -> list[str | None]:
    return [str(path) if path is not None else None for path in paths]


async def _flow(options: Options, report: RunReport) -> None:
    ledger, settings = _texts(options.ledger, options.settings)
    state: State[Any] = await export(
        pleo=options.pleo,
        erp=options.erp,
        ledger=ledger,
        settings=settings,
        company_id=UUID(options.company_id) if options.company_id else None,
        job_id=UUID(options.job_id) if options.job_id else None,
        dry_run=options.dry_run,
        return_state=True,
    )
    if report.exit_status == OK and not state.is_completed():
        report.say(f"the run could not be carried out: {one_line(state.message or state.name or '', 300)}", JOB_FAILED)


def _set_up_logging() -> None:
    """Our own warnings on standard error; Prefect's lines in its UI only, unless somebody asks for them here."""
    if "PREFECT_LOGGING_LEVEL" in os.environ:
        return
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    setup_logging()
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in ("flows", "blocks"):
        logging.getLogger(name).addHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
