"""An Odoo that is set up wrongly, or settings that do not fit it: Pleo and the user are told what to change where.

Versions, a wrong key by either protocol and an Odoo without accounting are met in `tests/erp/test_odoo_server.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.test_odoo_export import footprint, settings_for
from tests.flows.test_tryton_bad_input import INVALID, LOGIN, MISSING, UNREACHABLE, WRONG_KEY, other_server
from tests.flows.test_tryton_export import files_with
from tests.support.command_line import Shell
from tests.support.erp.odoo.server import OdooServer
from tests.support.exporting import Office
from tests.support.processes import PrefectServer, free_port

__all__ = ["other_server"]
pytestmark = pytest.mark.slow

MISTAKES = {
    "nothing listens there": (UNREACHABLE, ["no Odoo answers at http://127"]),
    "another web server is there": (INVALID, ["has no Odoo for us: check the address in the settings"]),
    "a web server that has nothing there": (INVALID, ["has no Odoo for us: check the address in the settings"]),
    "the database is not there": (INVALID, ["has no such database: check its name in the settings"]),
    "the key is wrong": (LOGIN, ["does not take the key", "New API Key"]),
    "the key has expired": (LOGIN, ["has expired", "New API Key"]),
    "by xml-rpc the key is wrong": (LOGIN, ["does not take the key", "New API Key"]),
    "the company is not there": (INVALID, ["no company Acme A/S in Odoo (there: Acme ApS", "user's companies"]),
    "the company is one of several": (MISSING, ["several companies in Odoo", "name one in the settings"]),
    "the user has no rights in accounting": (INVALID, ["give the user the right Accounting: Bookkeeper there"]),
}
"""The type that Pleo has for each, and parts of the sentence that says what to do."""


def settings_with(mistake: str, server: OdooServer, other: str) -> dict[str, object]:
    """What is wrong in the settings then."""
    users = server.company["users"]
    wrong: dict[str, dict[str, object]] = {
        "nothing listens there": {"base_url": f"http://127.0.0.1:{free_port()}"},
        "another web server is there": {"base_url": other},
        "a web server that has nothing there": {"base_url": f"{other}/nothing"},
        "the database is not there": {"database": "acmee"},
        "the key is wrong": {"api_key": WRONG_KEY},
        "the key has expired": {"api_key": users["pleo"]["expired_key"]},
        "by xml-rpc the key is wrong": {"api_key": WRONG_KEY, "protocol": "xmlrpc"},
        "the company is not there": {"companies": {}, "company": "Acme A/S"},
        "the company is one of several": {"companies": {}},
        "the user has no rights in accounting": {"api_key": users["guest"]["key"], "user": "guest"},
    }
    return wrong[mistake]


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_the_job_fails_by_its_type_and_the_reason_says_what_to_do(
    mistake: str, shared_odoo: OdooServer, other_server: str, at_work: Office
) -> None:
    type_, said = MISTAKES[mistake]
    before = footprint(shared_odoo)
    settings = settings_for(shared_odoo, **settings_with(mistake, shared_odoo, other_server))
    job_id = at_work.sandbox.add_job(items=3, failing=0)
    report = await at_work.export(erp=settings.connect(Path.cwd()), settings=settings)
    job = at_work.sandbox.job(job_id)
    assert (report.exit_status, job.status, job.failure_reason_type) == (1, "failed", type_), job.failure_reason
    assert report.jobs[0].reason == job.failure_reason
    assert [part for part in said if part not in str(job.failure_reason)] == [], job.failure_reason
    assert len(str(job.failure_reason).splitlines()) == 1
    assert footprint(shared_odoo) == before


@pytest.mark.parametrize("mistake", ["the key is wrong", "the company is one of several"])
def test_the_command_says_it_in_one_line_and_tells_no_secret(
    mistake: str,
    shared_odoo: OdooServer,
    other_server: str,
    at_work: Office,
    prefect_api: PrefectServer,
    tmp_path: Path,
) -> None:
    settings = settings_for(shared_odoo, **settings_with(mistake, shared_odoo, other_server))
    settings.save("mistaken", overwrite=True)
    at_work.sandbox.add_job(items=3, failing=0)
    done = Shell(at_work, prefect_api, tmp_path).run("--erp", "odoo/mistaken")
    heading, reason, counts = done.stdout.splitlines()
    assert (done.returncode, counts.strip(), done.stderr) == (1, "0 booked, 0 failed", "")
    assert heading.endswith(": failed")
    assert [part for part in MISTAKES[mistake][1] if part not in reason] == []
    secrets = [settings.api_key.get_secret_value()]
    assert secrets[0] not in done.stdout + done.stderr
    assert files_with([Path(prefect_api.environment["PREFECT_HOME"]), tmp_path], secrets) == []
