"""The export with access by OAuth: it runs out at any turn of a job, is taken back, and the real command renews it."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from blocks.collection import PleoOAuth
from blocks.pleo.oauth.grant import OAuthTokenProvider, StoredGrant
from blocks.pleo.oauth.token_endpoint import ClientAuth, Registration, Tokens
from blocks.pleo.sandbox import SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET
from tests.support.command_line import Shell
from tests.support.exporting import Office, no_waiting, office, watched_steps
from tests.support.pleo.oauth_sandbox import RECONNECT, TOKEN_CALL, MemoryTokenStore
from tests.support.processes import PrefectServer, until

ITEMS = 60


class Turns:
    """Counts the calls of a run's steps, and does something before one of them."""

    def __init__(self, at: int, act: Any) -> None:
        self.count = 0
        self._at = at
        self._act = act
        self.steps = watched_steps(self._before)

    def _before(self) -> None:
        self.count += 1
        if self.count == self._at:
            self._act()


def connected(at_work: Office) -> MemoryTokenStore:
    """Give the office access by OAuth."""
    pair = at_work.sandbox.grant_access()
    registration = Registration(SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, ClientAuth.PARAMETERS, at_work.base_url)
    store = MemoryTokenStore(StoredGrant(registration, Tokens(pair.access_token, pair.refresh_token)))
    assert store.saved.tokens is not None
    at_work.auth = OAuthTokenProvider(registration, store.saved.tokens, store, lambda: 0.0, no_waiting)
    return store


@pytest.mark.parametrize("turns_a_step", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_access_that_runs_out_at_any_turn_of_a_job_is_renewed_once_and_the_job_completes(
    tmp_path: Path, turns_a_step: int
) -> None:
    with office(tmp_path) as at_work:
        at = 1 - turns_a_step
        while True:
            at += turns_a_step
            connected(at_work)
            at_work.books = tmp_path / f"books-{at}.sqlite"
            job_id = at_work.sandbox.add_job(ITEMS, seed=at, failing=False)
            turns = Turns(at, at_work.sandbox.expire_access_tokens)
            report = await at_work.export(page_size=20, update_batch_size=20, steps=turns.steps)
            grant = at_work.sandbox.oauth_grants()[-1]
            assert (report.exit_status, at_work.entries(), grant.revoked) == (0, ITEMS, None), f"before step {at}"
            assert at_work.sandbox.outcome(job_id) == {"successful": ITEMS}
            names = [event.name for event in at_work.sandbox.received().events]
            assert names[-2:] == ["started", "completed"]
            if turns.count < at:
                break
            assert grant.renewals == 1 or turns.count - at < 2, f"before step {at}"
        assert at > 10


@pytest.mark.parametrize("trouble", ["revoked", "lost"])
async def test_access_that_is_lost_in_the_middle_leaves_the_job_to_the_run_after_a_new_one(
    tmp_path: Path, trouble: str
) -> None:
    with office(tmp_path) as at_work:
        connected(at_work)
        job_id = at_work.sandbox.add_job(ITEMS, failing=False)

        def lose() -> None:
            if trouble == "revoked":
                at_work.sandbox.revoke_access()
            else:
                at_work.sandbox.inject("lost", TOKEN_CALL)
                at_work.sandbox.expire_access_tokens()

        report = await at_work.export(page_size=20, update_batch_size=20, steps=Turns(8, lose).steps)
        assert report.exit_status == 1
        (job,) = report.jobs
        assert RECONNECT in job.reason
        assert at_work.sandbox.job(job_id).status == "in_progress"
        assert 0 < at_work.entries() < ITEMS
        assert at_work.sandbox.received().by_call[TOKEN_CALL] == 1
        connected(at_work)
        assert (await at_work.export()).exit_status == 0
        assert (at_work.entries(), at_work.sandbox.outcome(job_id)) == (ITEMS, {"successful": ITEMS})


async def test_access_that_was_taken_back_before_is_wrong_configuration(tmp_path: Path) -> None:
    with office(tmp_path) as at_work:
        connected(at_work)
        job_id = at_work.sandbox.add_job(5)
        at_work.sandbox.revoke_access()
        report = await at_work.export()
        assert (report.exit_status, report.jobs) == (2, [])
        assert RECONNECT in report.lines[0]
        assert at_work.sandbox.job(job_id).status == "pending"


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(shell: Shell, prefect_api: PrefectServer) -> Shell:
    """Without a key, as the access is in a block."""
    for name in ("PLEO_BASE_URL", "PLEO_API_KEY"):
        del shell.environment[name]
    return shell


def saved(shell: Shell, *, tokens: bool = True) -> str:
    """The name of a block that holds access."""
    pair = shell.office.sandbox.grant_access()
    name = f"access-{uuid4().hex[:12]}"
    block = PleoOAuth(
        base_url=shell.office.base_url,
        auth_url=shell.office.base_url,
        client_id=SANDBOX_CLIENT_ID,
        client_secret=SecretStr(SANDBOX_CLIENT_SECRET),
        access_token=SecretStr(pair.access_token) if tokens else None,
        refresh_token=SecretStr(pair.refresh_token) if tokens else None,
    )
    block.save(name)
    return name


def held(name: str) -> PleoOAuth:
    return asyncio.run(PleoOAuth.aload(name))  # type: ignore[arg-type]


def test_the_command_renews_access_at_its_start_and_in_the_middle_and_nobody_sees_a_token(
    shell: Shell, prefect_api: PrefectServer
) -> None:
    sandbox = shell.office.sandbox
    name = saved(shell)
    blocks = [held(name)]
    job_id = sandbox.add_job(200, failing=False)
    sandbox.expire_access_tokens()
    sandbox.inject("status", "GET /v3/export-items", skip=1, times=1, retry_after="3")  # time to let it run out again

    def expire() -> None:
        until(lambda: sandbox.received().by_status.get(503), within_s=100)
        blocks.append(held(name))
        sandbox.expire_access_tokens()

    meanwhile = threading.Thread(target=copy_context().run, args=(expire,))  # with Prefect's settings of this test
    meanwhile.start()
    done = shell.run("--json", "--pleo", f"pleo-oauth/{name}", PREFECT_LOGGING_LEVEL="DEBUG")
    meanwhile.join()
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["jobs"][0]["successful"] == 200
    assert document["pleo_requests"] == sandbox.received().total
    assert sandbox.outcome(job_id) == {"successful": 200}
    (grant,) = sandbox.oauth_grants()
    assert (grant.renewals, grant.revoked) == (2, None)
    blocks.append(held(name))
    secrets = {SANDBOX_CLIENT_SECRET}
    for block in blocks:
        assert block.access_token is not None
        assert block.refresh_token is not None
        secrets |= {block.access_token.get_secret_value(), block.refresh_token.get_secret_value()}
    assert len(secrets) == 7
    files = [*shell.folder.rglob("*"), *Path(prefect_api.environment["PREFECT_HOME"]).rglob("*")]
    texts = [done.stdout.encode(), done.stderr.encode(), *(path.read_bytes() for path in files if path.is_file())]
    assert not [secret for secret in secrets for text in texts if secret.encode() in text]


@pytest.mark.slow
def test_a_block_without_access_and_one_whose_access_is_gone_are_one_line_and_status_2(shell: Shell) -> None:
    shell.office.sandbox.add_job(5)
    empty, gone = saved(shell, tokens=False), saved(shell)
    shell.office.sandbox.revoke_access()
    for name, said in ((empty, "holds no access yet"), (gone, "invalid_grant")):
        done = shell.run("--pleo", f"pleo-oauth/{name}")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert said in line
        assert line.endswith(f"authorise again with `python -m blocks.pleo.authorize {name}`")
