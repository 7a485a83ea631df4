"""The command line of `python -m flows.export`: what may be given, what is wrong with it, and a run by it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from pydantic import SecretStr
from rich.console import Console

from blocks import ground
from blocks.pleo.credentials import PleoCredentials, credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.fields import canonical_uuid
from blocks.pleo.sandbox import SandboxError
from blocks.text import one_line
from flows.console import ConsoleProgress, prepare_streams, print_report
from flows.demo import SETTINGS_FILE, RunningSandbox, running_sandbox
from flows.files import PAGE, RESULTS, FileError, check_file
from flows.monitoring import quiet_prefect
from flows.outcome import JOB_FAILED, OK, USAGE
from flows.run import Run
from flows.settings import SettingsError, ledger_settings
from flows.stop import Stopped, stop_of_this_command

log = logging.getLogger(__name__)

_DESCRIPTION = "Run Pleo's export: book every waiting expense once, and tell Pleo what became of it."
_EPILOG = (
    "exit status: 0 completed, or nothing to do; 3 completed with errors; 1 a job failed, expired or could not be "
    "finished; 2 wrong usage or configuration, nothing was touched; 130, 143 or 129 stopped by SIGINT, SIGTERM or "
    "SIGHUP."
)

_NO_MEMORY = b"there is not enough memory to go on; what is recorded stays, the next run takes up the rest\n"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked as far as it can be without asking anybody."""

    sandbox: bool
    pleo: str | None
    erp: str | None
    ledger: Path | None
    settings: Path | None
    company_id: str | None
    job_id: str | None
    dry_run: bool
    json: bool
    results: Path | None = None
    report: Path | None = None
    companies: Path | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, and the status for wrong usage."""
        sys.stderr.write(f"{self.prog}: {message} (--help lists the options)\n")
        raise SystemExit(USAGE)


def parse(arguments: Sequence[str], environment_company: str | None) -> Options:
    """The options; ends the process with status 2 and one line where they cannot be used."""
    parser = _Parser(prog="python -m flows.export", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--sandbox", action="store_true", help="start a Pleo on this machine with a ready job, and export that")
    add("--pleo", metavar="NAME", help="block with the Pleo credentials, NAME or TYPE/NAME (else the environment's)")
    add("--erp", metavar="TYPE/NAME", help="block with the settings of the accounting system (else the ledger)")
    add("--ledger", metavar="FILE", type=Path, help="file of the embedded ledger (books.sqlite)")
    add("--settings", metavar="FILE", type=Path, help="settings of the embedded ledger as a TOML or YAML file")
    add("--company-id", metavar="UUID", help="only this Pleo company's jobs (else PLEO_COMPANY_ID, else all)")
    add("--job-id", metavar="UUID", help="only this export job")
    add("--companies", metavar="FILE", type=Path, help="many companies, a table each in a TOML file")
    add("--dry-run", action="store_true", help="change nothing, show what would be posted")
    add("--json", action="store_true", help="one JSON document on standard output")
    add("--results", metavar="FILE", type=Path, help="write what became of each item to a .csv, .xlsx or .parquet file")
    add("--report", metavar="FILE", type=Path, help="write a page for people to an .html file")
    given = parser.parse_args(arguments)
    for name, value in (("--pleo", given.pleo), ("--erp", given.erp)):
        if value is not None and not value.strip():
            parser.error(f"{name}: the name of the block is empty")  # an unset variable of a script, most likely
    if given.sandbox and (given.pleo or given.erp):
        parser.error("--sandbox brings its own Pleo and books, so it goes without --pleo and --erp")
    if given.companies and (given.sandbox or given.erp or given.ledger or given.settings):
        parser.error("--companies brings the books, so it goes without --sandbox, --erp, --ledger and --settings")
    if given.companies and given.job_id and not given.company_id:
        parser.error("--job-id with --companies takes --company-id, too")
    if given.erp and given.ledger:
        parser.error("--ledger names the embedded ledger's file, so it goes without --erp")
    if given.erp and given.settings:
        parser.error("--settings is for the embedded ledger; with --erp the block holds the settings")
    if given.erp and "/" not in given.erp:
        parser.error("--erp takes TYPE/NAME, such as ledger/books")
    if given.results is not None and given.results in (given.ledger, given.settings):
        parser.error("--results would take the place of a file that the run needs")
    for name, path, endings in (("--results", given.results, RESULTS), ("--report", given.report, PAGE)):
        if path is not None:
            _writable(parser, name, path, endings)
    from_environment = None if given.sandbox or given.companies else environment_company or None
    company = given.company_id if given.company_id is not None else from_environment
    return Options(
        sandbox=given.sandbox,
        pleo=given.pleo,
        erp=given.erp,
        ledger=given.ledger or (Path("sandbox-books.sqlite") if given.sandbox else None),
        settings=given.settings or (SETTINGS_FILE if given.sandbox else None),
        company_id=_uuid(parser, "--company-id" if given.company_id is not None else "PLEO_COMPANY_ID", company),
        job_id=_uuid(parser, "--job-id", given.job_id),
        dry_run=given.dry_run,
        json=given.json,
        results=given.results,
        report=given.report,
        companies=given.companies,
    )


def _writable(parser: _Parser, name: str, path: Path, endings: tuple[str, ...]) -> None:
    try:
        check_file(path, endings)
    except FileError as error:
        parser.error(f"{name}: {error}")


def _uuid(parser: _Parser, name: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return canonical_uuid(value.strip())
    except ValueError as error:
        parser.error(f"{name}: {error}")


# -- a run ------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str], flow_of: Callable[[Run], Any]) -> int:
    """Run `flow_of`'s flow by the command line and print its report; returns the exit status."""
    options = parse(arguments, os.environ.get("PLEO_COMPANY_ID"))
    prepare_streams()
    _set_up_logging()
    # Pages are many objects that live briefly: looking for cycles as often as Python does took a sixth. But answers of
    # Pleo's and runs of Prefect's tasks are cycles, so those that have lived a while are looked through soon, too.
    gc.set_threshold(20_000, 3, 3)
    gc.freeze()  # what is imported stays for good: looking through it again and again took a fifth of the run
    sys.setswitchinterval(0.001)  # the ledger's thread gets its turn soon, after each of its short statements
    with (
        ending_without_memory(),
        private_files(),  # those of a server, too
        ConsoleProgress(Console(stderr=True, soft_wrap=True)) as progress,
    ):
        run = Run(show_on_console=progress.show, stop=stop_of_this_command())
        report, books = run.report, None
        try:
            books = _books_of(options)
            ground.ready(lambda: run.stop.is_requested)
            run.stop.check()
            with running_sandbox(options.sandbox, options.ledger) as sandbox:
                _run(options, run, flow_of, sandbox)
        except (ground.GroundError, PleoConfigurationError, SandboxError, SettingsError) as error:
            report.say(str(error), USAGE)
        except Stopped as error:
            report.say(str(error), JOB_FAILED)
        except RuntimeError as error:
            log.debug("the run broke", exc_info=True)
            report.say(f"the run could not be carried out: {one_line(str(error), 300)}", JOB_FAILED)
        except Exception as error:
            log.exception("Unexpected outside the run")
            what = f"something unforeseen ({type(error).__name__}), the log has the cause"
            report.say(f"the run could not be carried out: {what}", JOB_FAILED)
        except BaseException:
            if not run.stop.is_requested:
                raise
            log.debug("stopped outside the run", exc_info=True)  # Prefect's own way of hearing of SIGTERM
    print_report(report, books, as_json=options.json, dry_run=options.dry_run)
    status = 128 + run.stop.signal if run.stop.signal is not None else report.exit_status
    return ground.leave(status, server_is_away=run.server_is_away)


def _books_of(options: Options) -> Path | None:
    """The embedded ledger's file, where the run is to write in one. Raises SettingsError."""
    if options.erp is not None or options.companies is not None:
        return None
    return Path(ledger_settings(*_texts(options.ledger, options.settings)).path)


def _run(options: Options, run: Run, flow_of: Callable[[Run], Any], sandbox: RunningSandbox | None) -> None:
    if sandbox is not None:
        run.credentials = PleoCredentials(base_url=sandbox.base_url, api_key=SecretStr(sandbox.api_key))
    elif options.pleo is None and options.companies is None:
        run.credentials = credentials_from_environment(os.environ)
    asyncio.run(_flow(options, run, flow_of(run)))
    if sandbox is not None and options.settings == SETTINGS_FILE and run.stop.signal is None:
        sandbox.check(run.report)


async def _flow(options: Options, run: Run, export: Any) -> None:
    asyncio.get_running_loop().set_exception_handler(_of_a_callback)
    with run.stop.on_signals():  # from before Prefect's first call to after its last
        await _exported(options, run, export)


async def _exported(options: Options, run: Run, export: Any) -> None:
    report = run.report
    ledger, settings, results, page = _texts(options.ledger, options.settings, options.results, options.report)
    try:
        state = await export(
            pleo=options.pleo,
            erp=options.erp,
            ledger=ledger,
            settings=settings,
            companies=str(options.companies) if options.companies else None,
            company_id=UUID(options.company_id) if options.company_id else None,
            job_id=UUID(options.job_id) if options.job_id else None,
            dry_run=options.dry_run,
            results=results,
            report=page,
            return_state=True,
        )
    except Exception as error:
        if not (run.server_is_away or ground.server_has_gone()) or not (report.jobs or report.lines):
            raise
        log.warning("Prefect was not told how the run ended (%s)", type(error).__name__)
        return
    if report.exit_status == OK and not state.is_completed():
        report.say(f"the run could not be carried out: {one_line(state.message or state.name or '', 300)}", JOB_FAILED)


def _texts(*paths: Path | None) -> list[str | None]:
    return [str(path) if path is not None else None for path in paths]


@contextmanager
def private_files() -> Iterator[None]:
    """Whatever is written meanwhile (books, stored pages) can be read by the owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def ending_without_memory() -> Iterator[None]:
    """A thread that dies for want of memory leaves others waiting for it for ever: the whole process ends instead."""
    of_threads, unraisable = threading.excepthook, sys.unraisablehook

    def of_a_thread(what: threading.ExceptHookArgs) -> None:
        _end_if_memory_is_out(what.exc_type)
        of_threads(what)

    def of_nobody(what: sys.UnraisableHookArgs) -> None:
        _end_if_memory_is_out(what.exc_type)
        unraisable(what)

    threading.excepthook, sys.unraisablehook = of_a_thread, of_nobody
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = of_threads, unraisable


def _of_a_callback(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if (error := context.get("exception")) is not None:
        _end_if_memory_is_out(type(error))
    loop.default_exception_handler(context)


def _end_if_memory_is_out(error: type[BaseException] | None) -> None:
    """End the process at once, as a kill would, which every step of a run bears; nothing is left to tidy up with."""
    if error is not None and issubclass(error, MemoryError):
        with suppress(OSError):
            os.write(2, _NO_MEMORY)
        os._exit(JOB_FAILED)


def _set_up_logging() -> None:
    """Our own warnings on standard error; Prefect's lines in its UI only, unless somebody asks for them here."""
    if "PREFECT_LOGGING_LEVEL" in os.environ:
        return
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    quiet_prefect()
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in ("flows", "blocks"):
        logging.getLogger(name).addHandler(handler)
