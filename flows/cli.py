"""The command line of `python -m flows.export`: what may be given, and what is wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from blocks.pleo.fields import canonical_uuid
from flows.files import PAGE, RESULTS, FileError, check_file
from flows.outcome import USAGE

_DESCRIPTION = "Run Pleo's export: book every waiting expense once, and tell Pleo what became of it."
_EPILOG = (
    "exit status: 0 completed, or nothing to do; 3 completed with errors; 1 a job failed, expired or could not be "
    "finished; 2 wrong usage or configuration, nothing was touched; 130 or 143 stopped by SIGINT or SIGTERM."
)


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
    from_environment = None if given.sandbox else environment_company or None
    company = given.company_id if given.company_id is not None else from_environment
    return Options(
        sandbox=given.sandbox,
        pleo=given.pleo,
        erp=given.erp,
        ledger=given.ledger or (Path("sandbox-books.sqlite") if given.sandbox else None),
        settings=given.settings,
        company_id=_uuid(parser, "--company-id" if given.company_id is not None else "PLEO_COMPANY_ID", company),
        job_id=_uuid(parser, "--job-id", given.job_id),
        dry_run=given.dry_run,
        json=given.json,
        results=given.results,
        report=given.report,
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
