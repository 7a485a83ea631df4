"""A Tryton that is set up wrongly, or settings that do not fit it: Pleo and the user are told what to change where.

What makes the whole job fail is found before anything is recorded; what concerns single expenses fails those alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blocks.pleo.sandbox import Job
from tests.flows.test_tryton_export import files_with, footprint, settings_for
from tests.support.choice import slow
from tests.support.command_line import Shell
from tests.support.erp.tryton.server import Tryton, TrytonServer
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import Json, account, an_item, line, payable, vendor
from tests.support.processes import PrefectServer, free_port

WRONG_KEY, WRONG_PASSWORD = "key-that-nobody-may-see", "password-that-nobody-may-see"

Settings = dict[str, Any]
Told = list[tuple[str, str | None, str | None]]


class _OtherServer(BaseHTTPRequestHandler):
    """A web server that is no Tryton: a page of HTML, whatever it is asked, and nothing below /nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        page = b"<!doctype html><title>Welcome</title>"
        self.send_response(404 if self.path.startswith("/nothing/") else 200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _OtherServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Mistake:
    """A mistake in the settings, the type that Pleo has for it, and parts of the sentence that says what to do."""

    settings: Callable[[TrytonServer, str], Settings]
    type: str
    told: Sequence[str]


def _user(server: TrytonServer, login: str) -> Settings:
    user = server.company["users"][login]
    return {"application_key": user["key"], "user": user["login"], "password": user["password"]}


def _state_of_key(server: TrytonServer, state: str) -> Settings:
    return {"application_key": server.company["users"]["pleo"][f"{state}_key"]}


INVALID, MISSING = "invalid_configuration", "missing_configuration"
LOGIN, UNREACHABLE = "accounting_system_authentication_failure", "accounting_system_unreachable"

MISTAKES = {
    "nothing listens there": Mistake(
        lambda _, __: {"base_url": f"http://127.0.0.1:{free_port()}"}, UNREACHABLE, ["no Tryton answers at http://127"]
    ),
    "another web server is there": Mistake(
        lambda _, other: {"base_url": other}, INVALID, ["or is no Tryton: check the address"]
    ),
    "a web server that has nothing there": Mistake(
        lambda _, other: {"base_url": f"{other}/nothing"}, INVALID, ["or is no Tryton: check the address"]
    ),
    "the database is not there": Mistake(
        lambda _, __: {"database": "acmee"}, INVALID, ["has no database acmee", "check the address and the database"]
    ),
    "the key is wrong": Mistake(
        lambda _, __: {"application_key": WRONG_KEY}, LOGIN, ["refused the application key", "check the key"]
    ),
    "the key was never validated": Mistake(
        lambda server, _: _state_of_key(server, "requested"), LOGIN, ["that it is validated in the user's preferences"]
    ),
    "the key was cancelled": Mistake(lambda server, _: _state_of_key(server, "cancelled"), LOGIN, ["check the key"]),
    "the password is wrong": Mistake(
        lambda _, __: {"password": WRONG_PASSWORD}, LOGIN, ["refused the user name or the password", "check both"]
    ),
    "the company is not there": Mistake(
        lambda _, __: {"companies": {}, "company": "Acme A/S"},
        INVALID,
        [
            "no company Acme A/S",
            "there: Acme",
            "correct the company in the settings, or add it to the user's companies",
        ],
    ),
    "the company is one of several": Mistake(
        lambda _, __: {"companies": {}}, MISSING, ["several companies in Tryton", "name one in the settings"]
    ),
    "the user has no rights in accounting": Mistake(
        lambda server, _: _user(server, "guest"), INVALID, ["add the user to the group Accounting"]
    ),
}
QUICK = (
    "nothing listens there",
    "the key is wrong",
    "the company is one of several",
    "the user has no rights in accounting",
)
"""One of each type: what is tried in every run of the tests; the others are with `-m slow`, as is the command line."""


@pytest.mark.parametrize("mistake", [*QUICK, *slow(*(name for name in MISTAKES if name not in QUICK))])
async def test_the_job_fails_by_its_type_and_the_reason_says_what_to_do(
    mistake: str, shared_tryton: TrytonServer, other_server: str, at_work: Office
) -> None:
    made = MISTAKES[mistake]
    before = footprint(shared_tryton)
    settings = settings_for(shared_tryton, **made.settings(shared_tryton, other_server))
    job_id = at_work.sandbox.add_job(items=3, failing=0)
    report = await at_work.export(erp=settings.connect(Path.cwd()), settings=settings)
    job = at_work.sandbox.job(job_id)
    assert (report.exit_status, job.status, job.failure_reason_type) == (1, "failed", made.type)
    assert report.jobs[0].reason == job.failure_reason
    assert [part for part in made.told if part not in str(job.failure_reason)] == []
    assert footprint(shared_tryton) == before


@pytest.mark.slow
@pytest.mark.parametrize("mistake", QUICK)
def test_the_command_says_it_in_one_line_and_tells_no_secret(
    mistake: str,
    shared_tryton: TrytonServer,
    other_server: str,
    at_work: Office,
    prefect_api: PrefectServer,
    tmp_path: Path,
) -> None:
    given = MISTAKES[mistake].settings(shared_tryton, other_server)
    settings = settings_for(shared_tryton, **given)
    block = mistake.replace(" ", "-")
    settings.save(block, overwrite=True)
    at_work.sandbox.add_job(items=3, failing=0)
    done = Shell(at_work, prefect_api, tmp_path).run("--erp", f"tryton/{block}")
    heading, reason, counts = done.stdout.splitlines()
    assert (done.returncode, counts.strip()) == (1, "0 booked, 0 failed")
    assert heading.endswith(": failed")
    assert [part for part in MISTAKES[mistake].told if part not in reason] == []
    tries = done.stderr.splitlines()
    assert [line for line in tries if not line.startswith("WARNING flows.tasks: 2 validate job: ")] == []
    assert bool(tries) == (MISTAKES[mistake].type == UNREACHABLE)
    secrets = [settings.application_key.get_secret_value(), settings.password.get_secret_value()]
    assert [secret for secret in secrets if secret in done.stdout + done.stderr] == []
    homes = [Path(prefect_api.environment["PREFECT_HOME"]), tmp_path]
    assert files_with(homes, secrets) == []


@pytest.fixture(scope="module")
def changed_tryton(tryton_session: Tryton) -> Iterator[TrytonServer]:
    """A server whose database each of these tests changes, and changes back."""
    with tryton_session.server() as server:
        yield server


@contextmanager
def _changed(server: TrytonServer, table: str, where: str, state: str) -> Iterator[None]:
    before = server.sql(f"select id, state from {table} where {where}")
    server.sql(f"update {table} set state = %s where {where}", (state,))
    yield
    for id_, was in before:
        server.sql(f"update {table} set state = %s where id = %s", (was, id_))


async def _exported(
    at_work: Office, server: TrytonServer, items: Sequence[Json], *, vendor_based: bool = True, **changes: Any
) -> tuple[Job, Told]:
    """How a job of these expenses ended, and what Pleo was told of each, by its number."""
    settings = settings_for(server, attachments="skip", **changes)
    job_id = at_work.sandbox.add_job_of(items, vendor_based=vendor_based)
    await at_work.export(erp=settings.connect(Path.cwd()), settings=settings, job_id=job_id)
    rows = at_work.sandbox.items(job_id)
    return at_work.sandbox.job(job_id), [(row.status, row.failure_reason_type, row.failure_reason) for row in rows]


def _bill(number: int, **changes: Any) -> Json:
    return payable(number, "invoice", vendor=vendor("V0001"), contraAccount=None, **changes)


BOOKED = ("successful", None, None)


async def test_an_account_and_journals_that_tryton_lacks_fail_the_expenses_that_need_them(
    changed_tryton: TrytonServer, at_work: Office
) -> None:
    items = [an_item(11), an_item(12, type="out_of_pocket", contraAccount=None), _bill(13)]
    items.append(an_item(14, accountingEntryLines=[line(10_000, account=account("6666"))]))
    job, told = await _exported(at_work, changed_tryton, items, out_of_pocket_account="2999", bill_journal="NOPE")
    assert (job.status, told) == (
        "completed_with_errors",
        [
            BOOKED,
            ("failed", INVALID, "Account No. 2999 does not exist in the Accounting System. Check Category."),
            ("failed", MISSING, "Journal NOPE missing: provide journal NOPE in the configurations"),
            ("failed", INVALID, "Account No. 6666 does not exist in the Accounting System. Check Category."),
        ],
    )


@pytest.mark.slow
async def test_without_a_journal_in_the_settings_one_of_several_is_not_guessed(
    changed_tryton: TrytonServer, at_work: Office
) -> None:
    job, told = await _exported(at_work, changed_tryton, [an_item(21)], general_journal="")
    assert (job.status, told) == (
        "failed",
        [("failed", MISSING, "Journal general missing: provide journal general in the configurations")],
    )


@pytest.mark.slow
async def test_without_an_open_period_every_expense_fails_and_names_its_day(
    changed_tryton: TrytonServer, at_work: Office
) -> None:
    with _changed(changed_tryton, "account_period", "state = 'open'", "closed"):
        job, told = await _exported(at_work, changed_tryton, [an_item(31), _bill(32)])
    assert (job.status, job.failure_reason_type) == ("failed", "validation_failure")
    assert {(status, type_) for status, type_, _ in told} == {("failed", "accounting_system_validation_failure")}
    assert all("The period of 2026-10-05 is closed" in str(reason) for *_, reason in told)


@pytest.mark.slow
async def test_without_the_module_of_invoices_a_job_that_asks_for_bills_fails_and_names_it(
    changed_tryton: TrytonServer, at_work: Office
) -> None:
    with _changed(changed_tryton, "ir_module", "name = 'account_invoice'", "not activated"):
        job, _ = await _exported(at_work, changed_tryton, [an_item(41), _bill(42)])
        without_bills, told = await _exported(at_work, changed_tryton, [an_item(43)], vendor_based=False)
    assert (job.status, job.failure_reason_type) == ("failed", INVALID)
    assert "activate Tryton's module account_invoice, or switch Vendor Tagging off" in str(job.failure_reason)
    assert (without_bills.status, told) == ("completed", [BOOKED])


@pytest.mark.slow
async def test_without_the_module_of_accounting_the_job_fails_and_names_it(
    changed_tryton: TrytonServer, at_work: Office
) -> None:
    with _changed(changed_tryton, "ir_module", "name = 'account'", "not activated"):
        job, _ = await _exported(at_work, changed_tryton, [an_item(51)])
    assert (job.status, job.failure_reason_type) == ("failed", MISSING)
    assert "activate it (Administration, Modules)" in str(job.failure_reason)
