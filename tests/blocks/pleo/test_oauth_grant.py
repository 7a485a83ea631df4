"""Access that runs out while a client works: renewed once, saved before it is used, and given up for good reasons."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace

import pytest

from blocks.pleo.errors import PleoAuthenticationError, PleoError, PleoRejected, PleoUnavailable
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.models import JobEvent
from blocks.pleo.oauth.endpoint import ClientAuth, Tokens
from blocks.pleo.oauth.grant import Saved
from tests.support.pleo.oauth_world import RECONNECT, TOKEN_CALL, World, a_world, no_waiting
from tests.support.pleo.scripted_pleo import answer, page, refusal, scripted
from tests.support.processes import free_port, until

LIST = "GET /v3/export-jobs"


@pytest.fixture
def world() -> Iterator[World]:
    with a_world() as made:
        yield made


@pytest.mark.parametrize("client_auth", list(ClientAuth))
async def test_a_401_means_one_renewal_and_one_repeat_in_either_way_to_show_the_secret(client_auth: ClientAuth) -> None:
    with a_world(client_auth) as world:
        world.sandbox.expire_access_tokens()
        async with world.client() as client:
            await client.list_jobs()
            await client.list_jobs()
            assert client.requests_sent == 3
        assert world.sandbox.received().total == 3
        assert (world.token_requests, world.of_user.renewals, world.of_user.revoked) == (1, 1, None)


async def test_a_public_client_renews_without_a_secret() -> None:
    with a_world(secret=None) as world:
        world.sandbox.expire_access_tokens()
        async with world.client() as client:
            await client.list_jobs()
        assert world.of_user.renewals == 1


async def test_an_access_token_that_works_is_not_renewed(world: World) -> None:
    async with world.client() as client:
        await client.list_jobs()
    assert world.token_requests == 0


async def test_an_event_is_repeated_too_as_a_401_did_nothing(world: World) -> None:
    job_id = world.sandbox.add_job(2)
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        await client.post_event(job_id, JobEvent.STARTED)
        assert client.requests_sent == 2
    assert [event.name for event in world.sandbox.received().events] == ["started"]


async def test_calls_at_once_share_one_renewal(world: World) -> None:
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        await asyncio.gather(*(client.list_jobs() for _ in range(20)))
        assert client.requests_sent <= 40
    assert (world.token_requests, world.of_user.renewals, world.drawer.saves) == (1, 1, 1)


async def test_runs_at_once_share_one_renewal_by_what_is_saved(world: World) -> None:
    grants = [world.grant() for _ in range(8)]
    world.sandbox.expire_access_tokens()

    async def work(number: int) -> None:
        async with world.client(grants[number]) as client:
            for _ in range(3):
                await client.list_jobs()

    for renewals in (1, 2):
        await asyncio.gather(*map(work, range(8)))
        assert (world.token_requests, world.of_user.renewals, world.of_user.revoked) == (renewals, renewals, None)
        world.sandbox.expire_access_tokens()


async def test_saved_tokens_that_have_run_out_too_are_renewed_within_the_same_call(world: World) -> None:
    grant = world.grant()
    pair = world.sandbox.grant_access()
    world.sandbox.expire_access_tokens()
    registration = world.drawer.saved.registration
    world.drawer.saved = Saved(registration, Tokens(pair.access_token, pair.refresh_token))
    async with world.client(grant) as client:
        await client.list_jobs()
        assert client.requests_sent == 3
    assert [each.renewals for each in world.sandbox.oauth_grants()] == [0, 1]


async def test_new_tokens_are_saved_before_they_are_used(world: World) -> None:
    world.sandbox.expire_access_tokens()
    held = asyncio.Event()
    before = world.drawer.saved.tokens

    async def slow_save(tokens: Tokens) -> None:
        await held.wait()
        world.drawer.saved = Saved(world.drawer.saved.registration, tokens)

    world.drawer.save = slow_save  # type: ignore[method-assign]
    async with world.client() as client:
        call = asyncio.create_task(client.list_jobs())
        await asyncio.to_thread(until, lambda: world.of_user.renewals, within_s=30)
        other = asyncio.create_task(client.list_jobs())  # which finds nothing better than the old token yet
        try:
            await asyncio.to_thread(until, lambda: world.sandbox.received().total == 2, within_s=30)
            assert world.sandbox.received().by_status.get(200, 0) == 1  # the renewal's own
            assert world.drawer.saved.tokens == before
        finally:
            held.set()
        await asyncio.gather(call, other)


async def test_a_call_that_is_given_up_in_the_middle_of_a_renewal_loses_nothing(world: World) -> None:
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        call = asyncio.create_task(client.list_jobs())
        while world.of_user.renewals == 0:  # noqa: ASYNC110 - the very moment at which Pleo has renewed
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert world.drawer.saves == 1
    async with world.client() as client:
        await client.list_jobs()
    assert (world.of_user.renewals, world.of_user.revoked) == (1, None)


async def test_a_run_that_ends_while_it_waits_for_its_turn_renews_nothing(world: World) -> None:
    world.sandbox.expire_access_tokens()
    async with world.drawer.alone(), asyncio.timeout(60):
        async with world.client() as client:
            call = asyncio.create_task(client.list_jobs())
            await asyncio.to_thread(until, lambda: world.sandbox.received().total, within_s=30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert world.token_requests == 0
    async with world.client() as client:
        await client.list_jobs()
    assert world.of_user.renewals == 1


# -- what ends it -------------------------------------------------------------------------------------------------


async def refused(world: World, kind: type[PleoError] = PleoAuthenticationError) -> str:
    """What two calls after each other are refused with, once the token has run out."""
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        said = []
        for _ in range(2):
            with pytest.raises(kind) as caught:
                await client.list_jobs()
            said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    assert RECONNECT in said[0]
    return said[0]


async def test_a_refused_renewal_is_terminal_and_says_how_to_connect_again(world: World) -> None:
    world.sandbox.revoke_access()
    assert "invalid_grant" in await refused(world)
    assert world.token_requests == 1


async def test_a_client_that_is_known_no_more_is_told_so(world: World) -> None:
    world.sandbox.add_oauth_client("sandbox-client", "another secret")
    assert "invalid_client" in await refused(world)
    assert world.token_requests == 1


@pytest.mark.parametrize(("kind", "renewals"), [("lost", 1), ("drop", 0), ("cut", 1), ("html", 0), ("status", 0)])
async def test_a_renewal_whose_answer_is_lost_is_not_sent_again_in_this_run(
    world: World, kind: str, renewals: int
) -> None:
    world.sandbox.inject(kind, TOKEN_CALL)
    assert "not asked again in this run" in await refused(world, PleoUnavailable)
    assert (world.token_requests, world.of_user.renewals, world.of_user.revoked) == (1, renewals, None)


@pytest.mark.parametrize("kind", ["drop", "status"])
async def test_the_run_after_a_lost_answer_goes_on_where_pleo_did_not_renew(world: World, kind: str) -> None:
    world.sandbox.inject(kind, TOKEN_CALL)
    await refused(world, PleoUnavailable)
    async with world.client() as client:
        await client.list_jobs()
    assert (world.of_user.renewals, world.of_user.revoked) == (1, None)


async def test_the_run_after_a_lost_answer_says_how_to_connect_again_where_pleo_did_renew(world: World) -> None:
    world.sandbox.inject("lost", TOKEN_CALL)
    await refused(world, PleoUnavailable)
    await refused(world)
    assert world.of_user.revoked == "a refresh token was used twice"


async def test_too_many_requests_is_asked_again_as_nothing_was_done(world: World) -> None:
    world.sandbox.expire_access_tokens()
    world.sandbox.inject("status", TOKEN_CALL, status=429, retry_after="0", times=2)
    async with world.client() as client:
        await client.list_jobs()
    assert (world.token_requests, world.of_user.renewals) == (3, 1)


async def test_a_server_that_is_not_there_costs_the_run_and_not_the_grant(world: World) -> None:
    there = world.drawer.saved
    gone = replace(there.registration, authorization_server=f"http://127.0.0.1:{free_port()}")
    world.drawer.saved = Saved(gone, there.tokens)
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        with pytest.raises(PleoUnavailable, match="after 4 tries"):
            await client.list_jobs()
        world.drawer.saved = there
        await client.list_jobs()
    assert world.of_user.renewals == 1


async def test_tokens_that_cannot_be_saved_are_not_used(world: World) -> None:
    world.drawer.refuses_to_save = True
    assert "could not be saved, so they are not used" in await refused(world)
    assert (world.token_requests, world.of_user.renewals) == (1, 1)
    assert world.sandbox.received().total == 1


async def test_a_new_token_that_is_refused_too_ends_it(world: World) -> None:
    world.sandbox.inject("status", LIST, status=401, times=10)
    assert "even the access token that it has just made" in await refused(world)
    assert world.sandbox.received().total == 2  # the second call is not even sent
    assert world.token_requests == 1


async def test_an_access_that_was_taken_out_of_the_store_is_not_renewed(world: World) -> None:
    grant = world.grant()
    world.drawer.saved = Saved(world.drawer.saved.registration, None)
    world.sandbox.expire_access_tokens()
    async with world.client(grant) as client:
        with pytest.raises(PleoAuthenticationError, match="not there any more"):
            await client.list_jobs()
    assert world.token_requests == 0


# -- time ---------------------------------------------------------------------------------------------------------


async def test_a_token_is_renewed_before_it_runs_out_where_its_life_is_known(world: World) -> None:
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        await client.list_jobs()
        world.seconds += 839
        await client.list_jobs()
        assert world.of_user.renewals == 1
        world.seconds += 2
        await client.list_jobs()
        assert world.of_user.renewals == 2
        assert client.requests_sent == 4


async def test_where_the_renewal_ahead_of_time_fails_the_token_that_is_there_is_used_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.sandbox.expire_access_tokens()
    async with world.client() as client:
        await client.list_jobs()
        world.seconds += 880
        world.sandbox.inject("status", TOKEN_CALL)
        await client.list_jobs()
        await client.list_jobs()
        assert world.token_requests == 2
        assert "going on with the access token" in caplog.text
        world.sandbox.expire_access_tokens()
        with pytest.raises(PleoUnavailable, match="not asked again in this run"):
            await client.list_jobs()
    assert world.token_requests == 2


@pytest.mark.parametrize("hours", [-30, 30])
async def test_a_clock_that_runs_wild_changes_nothing(world: World, hours: int) -> None:
    async with world.client() as client:
        for renewals in (1, 2, 3):
            world.sandbox.expire_access_tokens()
            world.seconds -= 5  # never does; and if it did
            await client.list_jobs()
            assert world.of_user.renewals == renewals
        world.seconds += hours * 3600
        await client.list_jobs()
        world.sandbox.expire_access_tokens()
        await client.list_jobs()
    assert world.of_user.revoked is None


# -- secrets ------------------------------------------------------------------------------------------------------


async def test_what_pleo_quotes_is_hidden_old_tokens_and_new_ones_alike(world: World) -> None:
    grant = world.grant()
    before = grant.secrets
    world.sandbox.expire_access_tokens()
    steps = [answer("", 401), answer(page()), lambda: refusal(400, "BAD", " and ".join(grant.secrets))]

    def say(_: object) -> bytes:
        step = steps.pop(0)
        return step if isinstance(step, bytes) else step()

    async with scripted(say) as pleo, PleoClient(pleo.url, grant, clock=Clock(sleep=no_waiting)) as client:
        await client.list_jobs()
        with pytest.raises(PleoRejected) as caught:
            await client.list_jobs()
    assert len(grant.secrets) == len(before) + 2
    assert not [secret for secret in grant.secrets if secret in str(caught.value)]
    assert "***" in str(caught.value)


@pytest.mark.parametrize("trouble", ["none", "revoked", "lost"])
async def test_no_token_that_was_ever_held_shows_anywhere(
    world: World, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "httpx", "httpcore", "asyncio", "blocks"):
        caplog.set_level(logging.DEBUG, logger=name)
    grant = world.grant()
    world.sandbox.expire_access_tokens()
    if trouble == "revoked":
        world.sandbox.revoke_access()
    if trouble == "lost":
        world.sandbox.inject("lost", TOKEN_CALL)
    told = ""
    client = world.client(grant)
    async with client:
        try:
            await client.list_jobs()
        except PleoError as error:
            told = "".join(traceback.format_exception(error)) + repr(error)
    held = grant.secrets
    assert len(held) == (6 if trouble == "none" else 4)  # two pairs where it was renewed, the secret in two forms
    shown = told + caplog.text + repr(client) + repr(vars(client)) + repr(grant) + repr(world.drawer.saved)
    assert "send_request_headers" in caplog.text
    assert not [secret for secret in held if secret in shown]
