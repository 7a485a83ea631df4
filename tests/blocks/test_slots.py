"""A slot of a real Prefect server: held where it can be had, and nothing depends on it."""

from __future__ import annotations

import logging
from contextlib import suppress

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.slots import optional_slot
from tests.support.processes import PrefectServer, free_port

NAME = "a-slot-of-the-tests"


def _slots(server: PrefectServer, limit: int) -> str:
    """Set up the slot; returns its address."""
    address = f"{server.api_url}/v2/concurrency_limits"
    httpx.delete(f"{address}/{NAME}", trust_env=False)
    httpx.post(f"{address}/", json={"name": NAME, "limit": limit}, trust_env=False).raise_for_status()
    return f"{address}/{NAME}"


def _held(address: str) -> int:
    return int(httpx.get(address, trust_env=False).json()["active_slots"])


async def test_a_slot_is_held_meanwhile_and_given_back_also_when_the_work_fails(prefect_api: PrefectServer) -> None:
    address = _slots(prefect_api, 1)
    with suppress(ZeroDivisionError):
        async with optional_slot(NAME, "the tests"):
            assert _held(address) == 1
            raise ZeroDivisionError
    assert _held(address) == 0
    async with optional_slot(NAME, "the tests"):
        assert _held(address) == 1
    assert _held(address) == 0


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "away"])
async def test_a_server_that_refuses_or_is_away_is_no_reason_to_wait(
    prefect_api: PrefectServer, caplog: pytest.LogCaptureFixture, refused: bool
) -> None:
    """A limit of 0 is answered with 422, which Prefect takes for something else than a slot that is taken."""
    _slots(prefect_api, 0)
    away = {} if refused else {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}
    done = False
    with caplog.at_level(logging.WARNING, "blocks.slots"), temporary_settings(updates=away):
        async with optional_slot(NAME, "the tests"):
            done = True
    assert done
    why = "ConcurrencySlotAcquisitionError" if refused else ""
    assert f"the slot of the tests cannot be had ({why}" in caplog.text
    assert "): going on" in caplog.text
