"""Access that runs out while a client works: renewed once, saved before it is used, and given up for good reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from blocks.pleo.errors import PleoAuthenticationError, PleoError, PleoUnavailable
from blocks.pleo.models import JobEvent
from blocks.pleo.oauth.grant import StoredGrant
from blocks.pleo.oauth.token_endpoint import ClientAuth, Tokens
from blocks.pleo.sandbox import SANDBOX_CLIENT_SECRET
from tests.support.pleo.oauth_sandbox import RECONNECT, TOKEN_CALL, OAuthSandbox, oauth_sandbox
from tests.support.processes import free_port, until

LIST = "GET /v3/export-jobs"


@pytest.fixture
def oauth() -> Iterator[OAuthSandbox]:
    with oauth_sandbox() as made:
        yield made


WAYS = [*((way, SANDBOX_CLIENT_SECRET) for way in ClientAuth), (ClientAuth.PARAMETERS, None)]


@pytest.mark.parametrize(("client_auth", "secret"), WAYS, ids=["parameters", "header", "public client"])
async def test_a_401_means_one_renewal_and_one_repeat_however_the_client_shows_who_it_is(
    client_auth: ClientAuth, secret: str | None
) -> None:
    with oauth_sandbox(client_auth, secret=secret) as oauth:
        oauth.sandbox.expire_access_tokens()
        async with oauth.client() as client:
            await client.list_jobs()
            await client.list_jobs()
            assert client.requests_sent == 3
        assert oauth.sandbox.received().total == 3
        assert (oauth.token_requests, oauth.of_user.renewals, oauth.of_user.revoked) == (1, 1, None)


async def test_an_access_token_that_works_is_not_renewed(oauth: OAuthSandbox) -> None:
    async with oauth.client() as client:
        await client.list_jobs()
    assert oauth.token_requests == 0


async def test_an_event_is_repeated_too_as_a_401_did_nothing(oauth: OAuthSandbox) -> None:
    job_id = oauth.sandbox.add_job(2)
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        await client.post_event(job_id, JobEvent.STARTED)
        assert client.requests_sent == 2
    assert [event.name for event in oauth.sandbox.received().events] == ["started"]


async def test_calls_at_once_share_one_renewal(oauth: OAuthSandbox) -> None:
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        await asyncio.gather(*(client.list_jobs() for _ in range(20)))
        assert client.requests_sent <= 40
    assert (oauth.token_requests, oauth.of_user.renewals, oauth.store.saves) == (1, 1, 1)


async def test_runs_at_once_share_one_renewal_by_what_is_saved(oauth: OAuthSandbox) -> None:
    grants = [oauth.grant() for _ in range(8)]
    oauth.sandbox.expire_access_tokens()

    async def work(number: int) -> None:
        async with oauth.client(grants[number]) as client:
            for _ in range(3):
                await client.list_jobs()

    for renewals in (1, 2):
        await asyncio.gather(*map(work, range(8)))
        assert (oauth.token_requests, oauth.of_user.renewals, oauth.of_user.revoked) == (renewals, renewals, None)
        oauth.sandbox.expire_access_tokens()


async def test_saved_tokens_that_have_run_out_too_are_renewed_within_the_same_call(oauth: OAuthSandbox) -> None:
    grant = oauth.grant()
    pair = oauth.sandbox.grant_access()
    oauth.sandbox.expire_access_tokens()
    registration = oauth.store.saved.registration
    oauth.store.saved = StoredGrant(registration, Tokens(pair.access_token, pair.refresh_token))
    async with oauth.client(grant) as client:
        await client.list_jobs()
        assert client.requests_sent == 3
    assert [each.renewals for each in oauth.sandbox.oauth_grants()] == [0, 1]


async def test_new_tokens_are_saved_before_they_are_used(oauth: OAuthSandbox) -> None:
    oauth.sandbox.expire_access_tokens()
    held = asyncio.Event()
    before = oauth.store.saved.tokens

    async def slow_save(tokens: Tokens) -> None:
        await held.wait()
        oauth.store.saved = StoredGrant(oauth.store.saved.registration, tokens)

    oauth.store.save = slow_save  # type: ignore[method-assign]
    async with oauth.client() as client:
        call = asyncio.create_task(client.list_jobs())
        await asyncio.to_thread(until, lambda: oauth.of_user.renewals, within_s=30)
        other = asyncio.create_task(client.list_jobs())  # which finds nothing better than the old token yet
        try:
            await asyncio.to_thread(until, lambda: oauth.sandbox.received().total == 2, within_s=30)
            assert oauth.sandbox.received().by_status.get(200, 0) == 1  # the renewal's own
            assert oauth.store.saved.tokens == before
        finally:
            held.set()
        await asyncio.gather(call, other)


async def test_a_call_that_is_given_up_in_the_middle_of_a_renewal_loses_nothing(oauth: OAuthSandbox) -> None:
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        call = asyncio.create_task(client.list_jobs())
        while oauth.of_user.renewals == 0:  # noqa: ASYNC110 - the very moment at which Pleo has renewed
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert oauth.store.saves == 1
    async with oauth.client() as client:
        await client.list_jobs()
    assert (oauth.of_user.renewals, oauth.of_user.revoked) == (1, None)


async def test_a_run_that_ends_while_it_waits_for_its_turn_renews_nothing(oauth: OAuthSandbox) -> None:
    oauth.sandbox.expire_access_tokens()
    async with oauth.store.locked(), asyncio.timeout(60):
        async with oauth.client() as client:
            call = asyncio.create_task(client.list_jobs())
            await asyncio.to_thread(until, lambda: oauth.sandbox.received().total, within_s=30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert oauth.token_requests == 0
    async with oauth.client() as client:
        await client.list_jobs()
    assert oauth.of_user.renewals == 1


# -- what ends it -------------------------------------------------------------------------------------------------


async def refused(oauth: OAuthSandbox, kind: type[PleoError] = PleoAuthenticationError) -> str:
    """What two calls after each other are refused with, once the token has run out."""
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        said = []
        for _ in range(2):
            with pytest.raises(kind) as caught:
                await client.list_jobs()
            said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    assert RECONNECT in said[0]
    return said[0]


@pytest.mark.parametrize("why", ["invalid_grant", "invalid_client"])
async def test_a_refused_renewal_is_terminal_and_says_how_to_connect_again(oauth: OAuthSandbox, why: str) -> None:
    if why == "invalid_grant":
        oauth.sandbox.revoke_access()
    else:
        oauth.sandbox.add_oauth_client("sandbox-client", "another secret")
    assert why in await refused(oauth)
    assert oauth.token_requests == 1


@pytest.mark.parametrize(("kind", "renewals"), [("lost", 1), ("drop", 0), ("cut", 1), ("html", 0), ("status", 0)])
async def test_a_renewal_whose_answer_is_lost_is_not_sent_again_in_this_run(
    oauth: OAuthSandbox, kind: str, renewals: int
) -> None:
    oauth.sandbox.inject(kind, TOKEN_CALL)
    assert "not asked again in this run" in await refused(oauth, PleoUnavailable)
    assert (oauth.token_requests, oauth.of_user.renewals, oauth.of_user.revoked) == (1, renewals, None)


@pytest.mark.parametrize("kind", ["drop", "status"])
async def test_the_run_after_a_lost_answer_goes_on_where_pleo_did_not_renew(oauth: OAuthSandbox, kind: str) -> None:
    oauth.sandbox.inject(kind, TOKEN_CALL)
    await refused(oauth, PleoUnavailable)
    async with oauth.client() as client:
        await client.list_jobs()
    assert (oauth.of_user.renewals, oauth.of_user.revoked) == (1, None)


async def test_the_run_after_a_lost_answer_says_how_to_connect_again_where_pleo_did_renew(oauth: OAuthSandbox) -> None:
    oauth.sandbox.inject("lost", TOKEN_CALL)
    await refused(oauth, PleoUnavailable)
    await refused(oauth)
    assert oauth.of_user.revoked == "a refresh token was used twice"


async def test_too_many_requests_is_asked_again_as_nothing_was_done(oauth: OAuthSandbox) -> None:
    oauth.sandbox.expire_access_tokens()
    oauth.sandbox.inject("status", TOKEN_CALL, status=429, retry_after="0", times=2)
    async with oauth.client() as client:
        await client.list_jobs()
    assert (oauth.token_requests, oauth.of_user.renewals) == (3, 1)


async def test_a_server_that_is_not_there_costs_the_run_and_not_the_grant(oauth: OAuthSandbox) -> None:
    there = oauth.store.saved
    gone = replace(there.registration, authorization_server=f"http://127.0.0.1:{free_port()}")
    oauth.store.saved = StoredGrant(gone, there.tokens)
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        with pytest.raises(PleoUnavailable, match="after 4 tries"):
            await client.list_jobs()
        oauth.store.saved = there
        await client.list_jobs()
    assert oauth.of_user.renewals == 1


async def test_tokens_that_cannot_be_saved_are_not_used(oauth: OAuthSandbox) -> None:
    oauth.store.refuses_to_save = True
    assert "could not be saved, so they are not used" in await refused(oauth)
    assert (oauth.token_requests, oauth.of_user.renewals) == (1, 1)
    assert oauth.sandbox.received().total == 1


async def test_a_new_token_that_is_refused_too_ends_it(oauth: OAuthSandbox) -> None:
    oauth.sandbox.inject("status", LIST, status=401, times=10)
    assert "even the access token that it has just made" in await refused(oauth)
    assert oauth.sandbox.received().total == 2  # the second call is not even sent
    assert oauth.token_requests == 1


async def test_an_access_that_was_taken_out_of_the_store_is_not_renewed(oauth: OAuthSandbox) -> None:
    grant = oauth.grant()
    oauth.store.saved = StoredGrant(oauth.store.saved.registration, None)
    oauth.sandbox.expire_access_tokens()
    async with oauth.client(grant) as client:
        with pytest.raises(PleoAuthenticationError, match="not there any more"):
            await client.list_jobs()
    assert oauth.token_requests == 0


# -- time ---------------------------------------------------------------------------------------------------------


async def test_a_token_is_renewed_before_it_runs_out_where_its_life_is_known(oauth: OAuthSandbox) -> None:
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        await client.list_jobs()
        oauth.seconds += 839
        await client.list_jobs()
        assert oauth.of_user.renewals == 1
        oauth.seconds += 2
        await client.list_jobs()
        assert oauth.of_user.renewals == 2
        assert client.requests_sent == 4


async def test_where_the_renewal_ahead_of_time_fails_the_token_that_is_there_is_used_on(
    oauth: OAuthSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    oauth.sandbox.expire_access_tokens()
    async with oauth.client() as client:
        await client.list_jobs()
        oauth.seconds += 880
        oauth.sandbox.inject("status", TOKEN_CALL)
        await client.list_jobs()
        await client.list_jobs()
        assert oauth.token_requests == 2
        assert "going on with the access token" in caplog.text
        oauth.sandbox.expire_access_tokens()
        with pytest.raises(PleoUnavailable, match="not asked again in this run"):
            await client.list_jobs()
    assert oauth.token_requests == 2


@pytest.mark.parametrize("hours", [-30, 30])
async def test_a_clock_that_runs_wild_changes_nothing(oauth: OAuthSandbox, hours: int) -> None:
    async with oauth.client() as client:
        for renewals in (1, 2, 3):
            oauth.sandbox.expire_access_tokens()
            oauth.seconds -= 5  # never does; and if it did
            await client.list_jobs()
            assert oauth.of_user.renewals == renewals
        oauth.seconds += hours * 3600
        await client.list_jobs()
        oauth.sandbox.expire_access_tokens()
        await client.list_jobs()
    assert oauth.of_user.revoked is None
