"""A slot of Prefect's server, so that of those who ask for the same one, one is at work at a time, where all goes well.

It is a courtesy to others and never a condition: a killed holder keeps its slot for minutes, and whether the server
gives any is no reason for money to wait. What makes two at once harmless is elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prefect import get_client
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, concurrency
from prefect.exceptions import ObjectNotFound

log = logging.getLogger(__name__)

WAIT_S = 3.0


@asynccontextmanager
async def optional_slot(name: str, of_whom: str) -> AsyncIterator[None]:
    """Hold the slot `name` meanwhile where one is set up and free within seconds. Raises nothing of its own."""
    held = AsyncExitStack()
    try:
        async with get_client() as server:
            await server.read_global_concurrency_limit_by_name(name)
        await held.enter_async_context(concurrency(name, occupy=1, timeout_seconds=WAIT_S))
    except ObjectNotFound:
        log.debug("no slot is set up for %s", of_whom)
    except AcquireConcurrencySlotTimeoutError:
        log.warning("another run holds the slot of %s, or held it when it was killed: going on", of_whom)
    except Exception as error:  # noqa: BLE001 - whatever it is, the work does not depend on it
        log.warning("the slot of %s cannot be had (%s): going on", of_whom, type(error).__name__)
    try:
        yield
    finally:
        try:
            await held.aclose()
        except Exception as error:  # noqa: BLE001 - the work that it was held for is done
            log.warning("the slot of %s was not given back (%s)", of_whom, type(error).__name__)
