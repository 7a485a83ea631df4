"""One run for many companies: the file that says which, and what each of them is exported with.

A table a company, in TOML, named as people know it:

    at_once = 4

    [acme]
    company_id = "5a4db0c5-0000-4000-8000-000000000001"
    pleo = "acme"             # the block with the credentials; without it the run's own
    ledger = "acme.sqlite"    # or erp = "tryton/acme"
    settings = "acme.toml"    # the ledger's, where they are not the usual ones

Files are those beside this one. Whatever is wrong with the file itself, a block that is not there or one ledger for two
companies, is found before anything is done; whatever goes wrong with one company later never touches another.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from blocks.collection import load_erp_settings, load_pleo_block
from blocks.erp.block import ErpBlock
from blocks.erp.choices import ReceiptProxy
from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.ledger.ledger import file_of
from blocks.pleo.credentials import PleoCredentialsBlock, credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError, PleoError
from blocks.pleo.fields import canonical_uuid
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.models import JobStatus
from blocks.text import one_line
from flows.outcome import JOB_FAILED, USAGE, RunReport, worst
from flows.settings import SettingsError, ledger_settings, read_document

log = logging.getLogger(__name__)

AT_ONCE, MOST_AT_ONCE = 4, 32
_FIELDS = ("company_id", "pleo", "erp", "ledger", "settings")


@dataclass(frozen=True, slots=True)
class Entry:
    """A company of the file. Files have their full paths."""

    name: str
    company_id: str
    pleo: str | None
    erp: str | None
    ledger: str | None
    settings: str | None


@dataclass(frozen=True, slots=True)
class CompaniesFile:
    """The companies of one run, and how many are exported at the same time."""

    path: Path
    entries: tuple[Entry, ...]
    at_once: int


@dataclass(frozen=True, slots=True)
class Target:
    """What a run exports: a company, or all that the credentials show. Without a `client` the `problem` says why."""

    name: str
    company_id: str | None
    settings: ErpBlock
    client: PleoClient | None
    problem: str = ""


class Clients:
    """A client for each of Pleo's credentials, however many companies it is for: they share its pace."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_credential: dict[tuple[str, ...], PleoClient] = {}
        self._files: dict[tuple[str, ReceiptProxy], FileClient] = {}
        self._open = AsyncExitStack()

    def of(self, block: PleoCredentialsBlock, page_size: int) -> PleoClient:
        """The client for these credentials. Raises PleoConfigurationError."""
        secrets = ((name, getattr(block, name)) for name in type(block).model_fields)
        credential = (
            block.base_url.lower(),
            *(f"{name} {secret.get_secret_value()}" for name, secret in secrets if isinstance(secret, SecretStr)),
        )
        if credential not in self._by_credential:
            self._by_credential[credential] = block.get_client(page_size=page_size, clock=self._clock)
        return self._by_credential[credential].paged(page_size)

    def files_of(self, client: PleoClient, proxy: ReceiptProxy) -> FileClient:
        """What fetches receipts beside that client."""
        made = self._files.get((client.base_url, proxy))
        if made is None:
            made = FileClient(client.base_url, clock=self._clock, by_name=proxy is ReceiptProxy.BY_NAME)
            self._open.push_async_exit(made)
            self._files[client.base_url, proxy] = made
        return made

    async def __aenter__(self) -> Clients:
        for client in self.all():
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def all(self) -> Sequence[PleoClient]:
        """Every client, one a credential."""
        return list(self._by_credential.values())

    def redact(self, text: str) -> str:
        """The text without any of the credentials."""
        for client in self.all():
            text = client.redact(text)
        return text

    @property
    def requests_sent(self) -> int:
        """How many requests have left, repeats included."""
        return sum(client.requests_sent for client in self.all())


# -- the file ---------------------------------------------------------------------------------------------------------


def read_companies(path: Path) -> CompaniesFile:
    """The companies of a file. Raises SettingsError, one line that names the file and the company."""
    if path.suffix != ".toml":
        raise SettingsError(f"{path}: the companies are a file that ends in .toml")
    document = read_document(path)
    at_once = document.pop("at_once", AT_ONCE)
    if isinstance(at_once, bool) or not isinstance(at_once, int) or not 1 <= at_once <= MOST_AT_ONCE:
        raise SettingsError(f"{path}: at_once: how many companies at the same time, 1 to {MOST_AT_ONCE}")
    entries = tuple(_entry(path, name, table) for name, table in document.items())
    if not entries:
        raise SettingsError(f"{path}: it names no company: a table each, such as [acme]")
    by_company: dict[str, str] = {}
    for entry in entries:
        if entry.company_id in by_company:
            raise SettingsError(
                f"{path}: {by_company[entry.company_id]} and {entry.name} are both company {entry.company_id}"
            )
        by_company[entry.company_id] = entry.name
    return CompaniesFile(path, entries, at_once)


def _entry(path: Path, name: str, table: object) -> Entry:
    where = f"{path}: {one_line(name, 60)}"
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: no table: a company begins with its name in brackets, [{one_line(name, 40)}]")
    for field, value in table.items():
        if field not in _FIELDS:
            near = get_close_matches(field.lower(), _FIELDS, n=1)
            hint = f", did you mean {near[0]}?" if near else f": there are {', '.join(_FIELDS)}"
            raise SettingsError(f"{where}: {one_line(field, 60)}: nothing that a company has{hint}")
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise SettingsError(f'{where}: {field}: it should be text, in quotation marks: {field} = "…"')
    given: dict[str, str] = {field: value.strip() for field, value in table.items()}
    if "company_id" not in given:
        raise SettingsError(f"{where}: company_id: it is not set: the company's UUID in Pleo")
    try:
        company_id = canonical_uuid(given["company_id"])
    except ValueError as error:
        raise SettingsError(f"{where}: company_id: {error}") from None
    erp, ledger, settings = given.get("erp"), given.get("ledger"), given.get("settings")
    if erp is not None and (ledger is not None or settings is not None):
        raise SettingsError(f"{where}: erp is a block with all settings, so it goes without ledger and settings")
    if erp is not None and "/" not in erp:
        raise SettingsError(f"{where}: erp: it takes TYPE/NAME, such as ledger/books")
    if erp is None and ledger is None:
        raise SettingsError(f"{where}: name the books: erp = TYPE/NAME, or ledger = FILE")
    return Entry(one_line(name, 60), company_id, given.get("pleo"), erp, _beside(path, ledger), _beside(path, settings))


def _beside(path: Path, file: str | None) -> str | None:
    if file is None:
        return None
    try:
        return str(path.absolute().parent / Path(file).expanduser())
    except RuntimeError:
        raise SettingsError(f"{path}: {one_line(file, 60)}: there is no such user's home folder") from None


async def targets_of(
    file: CompaniesFile,
    clients: Clients,
    *,
    only: str | None = None,
    of_one_job: bool = False,
    pleo: str | None = None,
    environment: Mapping[str, str],
) -> list[Target]:
    """What is exported for the file's companies, or `only` for one. Credentials that an entry does not name are those
    of the block `pleo`, else of the environment. Raises SettingsError and PleoConfigurationError, for all of them,
    where something is named that is not there."""
    if of_one_job and only is None:
        raise SettingsError(f"{file.path}: a job of one of many companies is named together with its company")
    chosen = [entry for entry in file.entries if only in (None, entry.company_id)]
    if not chosen:
        raise SettingsError(f"{file.path}: it has no company {only}")
    loaded: dict[str, Any] = {}

    async def saved(load: Callable[[str], Awaitable[Any]], name: str, entry: Entry) -> Any:
        if name not in loaded:
            try:
                loaded[name] = await load(name)
            except PleoConfigurationError as error:
                raise SettingsError(f"{file.path}: {entry.name}: {error}") from None
        return loaded[name]

    targets = []
    for entry in chosen:
        name = entry.pleo or pleo
        settings = await saved(load_erp_settings, entry.erp, entry) if entry.erp else _ledger_of(file, entry)
        access = await saved(load_pleo_block, name, entry) if name else None
        try:
            client = clients.of(access or credentials_from_environment(environment), settings.page_size)
            targets.append(Target(entry.name, entry.company_id, settings, client))
        except PleoConfigurationError as error:  # a matter of this company, whose credentials have still to come
            targets.append(Target(entry.name, entry.company_id, settings, None, str(error)))
    _refuse_shared_ledgers(file, targets)
    return targets


def _ledger_of(file: CompaniesFile, entry: Entry) -> LedgerSettings:
    try:
        return ledger_settings(entry.ledger, entry.settings)
    except SettingsError as error:
        raise SettingsError(f"{file.path}: {entry.name}: {error}") from None


def _refuse_shared_ledgers(file: CompaniesFile, targets: Sequence[Target]) -> None:
    """Two companies must not have one ledger, however its file is named."""
    of_ledger: dict[object, str] = {}
    for target in targets:
        if not isinstance(target.settings, LedgerSettings):
            continue
        path = Path(os.path.realpath(file_of(Path(target.settings.path).expanduser(), target.company_id or "")))
        known = [str(path)]
        try:
            status = path.stat()
            known.append(f"{status.st_dev}:{status.st_ino}")
        except OSError:
            pass  # it is not there yet, or its opening says what is wrong with it
        for one in known:
            if one in of_ledger:
                raise SettingsError(f"{file.path}: {of_ledger[one]} and {target.name} have one ledger, {path}")
        of_ledger |= dict.fromkeys(known, target.name)


# -- the run ----------------------------------------------------------------------------------------------------------


async def export_companies(
    file: CompaniesFile,
    targets: Sequence[Target],
    told: RunReport,
    export: Callable[[Target, RunReport], Awaitable[None]],
) -> None:
    """Export companies, some at once. `told` gets their reports, in the order of the file, whatever happens."""
    limit, reports = asyncio.Semaphore(file.at_once), [RunReport() for _ in targets]

    async def one(target: Target, report: RunReport) -> None:
        if target.client is None:
            report.say(target.problem, USAGE)
            return
        async with limit:
            try:
                await export(target, report)
            except Exception as error:
                log.exception("Unexpected in the run of %s", target.name)
                what = f"something unforeseen ({type(error).__name__}), the log has the cause"
                report.say(f"it could not be exported: {what}", JOB_FAILED)

    try:
        await asyncio.gather(*(one(*pair) for pair in zip(targets, reports, strict=True)))
    finally:
        _tell(told, targets, reports)


def _tell(told: RunReport, targets: Sequence[Target], reports: Sequence[RunReport]) -> None:
    for target, report in zip(targets, reports, strict=True):
        told.jobs += report.jobs
        told.status = worst((told.status, report.status))
        if not report.is_idle:  # one line for all of these
            told.lines += [f"{target.name}: {line}" for line in report.lines]
    if reports and all(report.is_idle for report in reports):
        told.say(f"nothing to do: no export job is waiting for any of {len(reports)} companies")


async def tell_of_strangers(file: CompaniesFile, clients: Clients, told: RunReport) -> None:
    """Say of each company that has jobs waiting and no entry that it has none: a line, and no failure at every tick."""
    known = {entry.company_id for entry in file.entries}
    waiting: dict[str, int] = {}
    for client in clients.all():
        try:
            jobs = await client.list_jobs(statuses=(JobStatus.IN_PROGRESS, JobStatus.PENDING))
        except PleoError as error:  # a Pleo that wants a company named, or a trouble that its companies tell themselves
            log.debug("companies without an entry are not looked for: %s", error)
            continue
        for job in jobs:
            if job.is_open and job.company_id not in known:
                waiting[job.company_id] = waiting.get(job.company_id, 0) + 1
    for company_id, count in waiting.items():
        told.say(f"company {company_id} has {count} waiting and no entry in {file.path}: its jobs are left alone")
