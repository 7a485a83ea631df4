"""A sandbox of its own for each test, with a clock that stands still, talked to over HTTP, and held to the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from tests.support.pleo.contract.deviations import Guard


class Clock:
    """Seconds since 1970 that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(rate_limit=False, clock=clock) as made:
        yield made


class Door:
    """What is served for the whole session, since a server takes a moment to stop: whichever sandbox stands behind."""

    def __init__(self) -> None:
        self.guard: Guard | None = None
        self.app = self

    def open_for(self, sandbox: Sandbox) -> None:
        """Let this sandbox answer, with a guard before it."""
        self.guard = Guard(sandbox.app, sandbox)

    def close(self) -> None:
        """Let nobody answer; fails if an answer left the contract without a reason that is listed."""
        guard, self.guard = self.guard, None
        assert guard is not None
        assert guard.found == []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.guard is not None, "a request outside of a test"
        await self.guard(scope, receive, send)


@pytest.fixture(scope="session")
def door() -> Iterator[tuple[Door, str]]:
    made = Door()
    with serve(cast("Sandbox", made)) as url:
        yield made, url


@pytest.fixture
def base_url(sandbox: Sandbox, door: tuple[Door, str]) -> Iterator[str]:
    stands, url = door
    stands.open_for(sandbox)
    yield url
    stands.close()


@pytest.fixture
def api(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, auth=(SANDBOX_API_KEY, ""), verify=False, trust_env=False) as client:
        yield client


@pytest.fixture
def anyone(base_url: str) -> Iterator[httpx.Client]:
    """A client without credentials; one for many requests, as making one takes longer than they do."""
    with httpx.Client(base_url=base_url, verify=False, trust_env=False) as client:
        yield client


@pytest.fixture
def send(api: httpx.Client) -> Callable[..., httpx.Response]:
    """Sends an event of a job."""

    def sent(job_id: str, event: object, **more: object) -> httpx.Response:
        return api.post("/v3/export-job-events", json={"jobId": job_id, "event": event, **more})

    return sent


@pytest.fixture
def put(api: httpx.Client) -> Callable[..., httpx.Response]:
    """Sends updates of a job's items."""
    return lambda job_id, *updates: api.put(f"/v3/export-jobs/{job_id}/items", json=updates)


@pytest.fixture
def names(sandbox: Sandbox, job_id: str) -> list[str]:
    """The accounting entries of the job that the module's fixture `job_id` has made."""
    return [item.accounting_entry_id for item in sandbox.items(job_id)]
