"""A slot of a real Prefect server: held where it can be had, and nothing depends on it."""

from __future__ import annotations

import logging

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.slots import courtesy_slot
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


async def test_a_slot_is_held_meanwhile_and_given_back(prefect_api: PrefectServer) -> None:
    address = _slots(prefect_api, 1)
    async with courtesy_slot(NAME, "the tests"):
        assert _held(address) == 1
    assert _held(address) == 0


async def test_a_slot_is_given_back_also_when_the_work_fails(prefect_api: PrefectServer) -> None:
    address = _slots(prefect_api, 1)
    with pytest.raises(ZeroDivisionError):
        async with courtesy_slot(NAME, "the tests"):
            raise ZeroDivisionError
    assert _held(address) == 0


async def test_what_the_server_refuses_is_no_reason_to_wait(
    prefect_api: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit of 0 is answered with 422, which Prefect takes for something else than a slot that is taken."""
    _slots(prefect_api, 0)
    done = []
    with caplog.at_level(logging.WARNING, "blocks.slots"):
        async with courtesy_slot(NAME, "the tests"):
            done.append(True)
    assert done == [True]
    assert "the slot of the tests cannot be had (ConcurrencySlotAcquisitionError): going on" in caplog.text


async def test_a_server_that_is_away_is_no_reason_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    away = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}
    with caplog.at_level(logging.WARNING, "blocks.slots"), temporary_settings(updates=away):
        async with courtesy_slot(NAME, "the tests"):
            done.append(True)
    assert done == [True]
    assert "the slot of the tests cannot be had" in caplog.text
