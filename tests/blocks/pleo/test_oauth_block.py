"""The saved block in real processes, with a real Prefect server: one renewal whoever asks, and nothing half done."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import concurrency
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr, ValidationError

from blocks.collection import PleoOAuth
from blocks.pleo.errors import PleoAuthenticationError, PleoConfigurationError, PleoUnavailable
from blocks.pleo.oauth.grant import renewal_lock
from blocks.pleo.oauth.token_endpoint import ClientAuth
from blocks.pleo.sandbox import SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, Sandbox, serve
from tests.support.pleo.oauth_sandbox import TOKEN_CALL
from tests.support.processes import PrefectServer, free_port, until

WORK = """
import asyncio, sys
from blocks.pleo.oauth.block import PleoOAuth

async def main():
    block = await PleoOAuth.aload(sys.argv[1])
    async with block.get_client() as client:
        print("ready", flush=True)
        while sys.stdin.readline():
            await client.list_jobs()
            print("done", flush=True)

asyncio.run(main())
"""
DIES_BEFORE_SAVING = """
import os
from blocks.pleo.oauth import block

async def die(*_):
    os.kill(os.getpid(), 9)

block._LockedBlock.save = die
"""
HOLDS_THE_LOCK = """
import asyncio, sys
from blocks.pleo.oauth.grant import renewal_lock

async def main():
    async with renewal_lock(sys.argv[1]):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


class Program:
    """Python code in a process of its own, spoken with line by line."""

    def __init__(self, code: str, argument: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def says(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{line}\n"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def program(code: str, argument: str, server: PrefectServer) -> Iterator[Program]:
    started = Program(code, argument, server.environment)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


@pytest.fixture
def sandbox() -> Iterator[tuple[Sandbox, str]]:
    with Sandbox(rate_limit=False) as made, serve(made) as url:
        yield made, url


async def saved(sandbox: Sandbox, url: str) -> PleoOAuth:
    pair = sandbox.grant_access()
    block = PleoOAuth(
        base_url=url,
        auth_url=url,
        client_id=SANDBOX_CLIENT_ID,
        client_secret=SecretStr(SANDBOX_CLIENT_SECRET),
        access_token=SecretStr(pair.access_token),
        refresh_token=SecretStr(pair.refresh_token),
    )
    await block.save(f"access-{uuid4().hex[:12]}")
    return block


def _renewed_once_each_time(sandbox: Sandbox, name: str, server: PrefectServer, *, programs: int, times: int) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(program(WORK, name, server)) for _ in range(programs)]
        for each in running:
            each.says("ready")
        for expiry in range(1, times + 1):
            sandbox.expire_access_tokens()
            for each in running:
                each.go_on()
            for each in running:
                each.says("done")
            (grant,) = sandbox.oauth_grants()
            assert (grant.renewals, grant.revoked) == (expiry, None)
    assert sandbox.received().by_call[TOKEN_CALL] == times


async def test_programs_at_once_renew_once_for_each_expiry(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    block = await saved(*sandbox)
    name = str(block._block_document_name)
    await asyncio.to_thread(_renewed_once_each_time, sandbox[0], name, prefect_api, programs=3, times=3)


@pytest.mark.slow
async def test_many_programs_at_once_renew_once_for_each_of_many_expiries(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    block = await saved(*sandbox)
    name = str(block._block_document_name)
    await asyncio.to_thread(_renewed_once_each_time, sandbox[0], name, prefect_api, programs=8, times=12)


async def test_new_tokens_are_in_the_block_and_the_rest_of_it_stays_as_it_was_edited(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    made, url = sandbox
    block = await saved(made, url)
    name = str(block._block_document_name)
    edited = await PleoOAuth.aload(name)
    edited.client_auth = ClientAuth.HEADER
    await edited.save(name, overwrite=True)
    made.expire_access_tokens()
    async with block.get_client() as client:
        await client.list_jobs()
    now = await PleoOAuth.aload(name)
    assert now.client_auth is ClientAuth.HEADER
    assert now.client_secret == block.client_secret
    assert None not in (now.access_token, now.refresh_token)
    assert {now.access_token, now.refresh_token}.isdisjoint({block.access_token, block.refresh_token})
    async with now.get_client() as client:
        await client.list_jobs()
    assert made.oauth_grants()[0].renewals == 1


async def test_the_lock_of_a_program_that_is_killed_is_free_at_once(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    block = await saved(*sandbox)
    sandbox[0].expire_access_tokens()
    with program(HOLDS_THE_LOCK, str(block._block_document_id), prefect_api) as holder:
        await asyncio.to_thread(holder.says, "held")
        async with block.get_client() as client:
            call = asyncio.create_task(client.list_jobs())
            await asyncio.to_thread(until, lambda: sandbox[0].received().total == 1, within_s=60)
            await asyncio.sleep(0.3)  # time enough to take a lock that was not held
            assert sandbox[0].oauth_grants()[0].renewals == 0
            holder.process.send_signal(signal.SIGKILL)
            await asyncio.wait_for(call, 60)
    assert sandbox[0].oauth_grants()[0].renewals == 1


async def test_the_run_after_one_that_was_killed_before_it_saved_says_how_to_connect_again(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    block = await saved(*sandbox)
    name = str(block._block_document_name)
    sandbox[0].expire_access_tokens()
    with program(DIES_BEFORE_SAVING + WORK, name, prefect_api) as dying:
        await asyncio.to_thread(dying.says, "ready")
        dying.go_on()
        assert await asyncio.to_thread(dying.process.wait, 60) == -signal.SIGKILL
    assert sandbox[0].oauth_grants()[0].renewals == 1
    async with (await PleoOAuth.aload(name)).get_client() as client:
        with pytest.raises(PleoAuthenticationError) as caught:
            await client.list_jobs()
    assert f"authorise again with `python -m blocks.pleo.authorize {name}`" in str(caught.value)
    assert str(caught.value).isprintable()


async def test_where_prefects_server_is_away_pleo_is_not_asked_and_nothing_is_lost(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    block = await saved(*sandbox)
    sandbox[0].expire_access_tokens()
    async with block.get_client() as client:
        with (
            temporary_settings(updates={PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
            pytest.raises(PleoUnavailable, match="Prefect's server"),
        ):
            await client.list_jobs()
        assert sandbox[0].oauth_grants()[0].renewals == 0
        await client.list_jobs()
    assert sandbox[0].oauth_grants()[0].renewals == 1


async def test_a_block_that_is_deleted_meanwhile_is_not_renewed(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str]
) -> None:
    block = await saved(*sandbox)
    sandbox[0].expire_access_tokens()
    async with block.get_client() as client:
        await Block.adelete(f"pleo-oauth/{block._block_document_name}")
        with pytest.raises(PleoAuthenticationError, match=r"is gone: authorise again with"):
            await client.list_jobs()
    assert sandbox[0].oauth_grants()[0].renewals == 0


@pytest.mark.slow
async def test_a_slot_that_is_held_for_good_is_waited_for_a_moment_only(
    prefect_api: PrefectServer, sandbox: tuple[Sandbox, str], caplog: pytest.LogCaptureFixture
) -> None:
    block = await saved(*sandbox)
    slot = f"pleo-oauth-{block._block_document_name}"
    async with get_client() as server:
        await server.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=slot, limit=1))
    sandbox[0].expire_access_tokens()
    async with concurrency(slot, occupy=1), block.get_client() as client:
        await client.list_jobs()
    assert sandbox[0].oauth_grants()[0].renewals == 1
    assert "going on" in caplog.text


async def test_a_block_without_access_says_what_to_do(prefect_api: PrefectServer) -> None:
    block = PleoOAuth(client_id="acme")
    with pytest.raises(PleoConfigurationError, match="must be saved"):
        block.get_client()
    name = f"access-{uuid4().hex[:12]}"
    await block.save(name)
    with pytest.raises(PleoAuthenticationError, match=f"holds no access yet: .*authorize {name}`"):
        block.get_client()


def test_each_of_pleos_environments_has_its_authorisation_server() -> None:
    assert PleoOAuth(client_id="acme").authorization_server == "https://auth.pleo.io"
    staging = PleoOAuth(client_id="acme", base_url="https://external.staging.pleo.io/")
    assert staging.authorization_server == "https://auth.staging.pleo.io"
    own = PleoOAuth(client_id="acme", base_url="http://127.0.0.1:1", auth_url="http://127.0.0.1:2/")
    assert own.authorization_server == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://127.0.0.1:1"},
        {"auth_url": "http://auth.pleo.io"},
        {"base_url": "http://external.pleo.io"},
        {"client_id": " "},
        {"client_id": "acmé"},
        {"scopes": ""},
        {"client_auth": "both"},
        {"client_secret": "s3cret s3cret"},
        {"refresh_token": "s3cret\n1"},
        {"kind": "pleo-credentials"},
    ],
)
def test_what_cannot_be_used_is_refused_and_not_shown(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        PleoOAuth(**{"client_id": "acme", **fields})
    assert "s3cret" not in str(caught.value)


async def test_locks_of_different_blocks_are_different_and_their_folder_is_private(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "state" / "pleo-export").mkdir(parents=True, mode=0o755)
    async with renewal_lock("one"), renewal_lock("../other"):
        folder = tmp_path / "state" / "pleo-export"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(list(folder.iterdir())) == 2
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(PleoConfigurationError, match="XDG_STATE_HOME"):
        async with renewal_lock("one"):
            pass
