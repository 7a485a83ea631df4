"""The fixtures of the contract suite. A test module takes them with `pytest_plugins`, and runs in its module's loop.

`site` is an ERP of the test's own: for what closes periods, counts everything, or stops the server. `shared_site` is
one that all tests of an ERP share, each with entries of its own; its Erp is opened once a module.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.erp.contract.entries import Maker
from tests.support.erp.contract.harness import Harness
from tests.support.erp.contract.site import Connection, Site
from tests.support.erp.contract.subscribers import QUICK_TESTS, SLOW_TESTS, SUBSCRIBED, SUBSCRIBED_SLOWLY, harness_class


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow with one ERP and quick with another."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        name = callspec.params.get("subscriber") if callspec is not None else None
        if name in QUICK_TESTS and not {item.name, getattr(item, "originalname", "")} & set(QUICK_TESTS[name]):
            item.add_marker(pytest.mark.slow)
        if getattr(item, "originalname", "") in SLOW_TESTS.get(name or "", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(
    scope="session", params=[*SUBSCRIBED, *(pytest.param(name, marks=pytest.mark.slow) for name in SUBSCRIBED_SLOWLY)]
)
def subscriber(request: pytest.FixtureRequest) -> type[Harness]:
    """The ERP under test."""
    return harness_class(request.param)


@pytest.fixture(scope="session")
def shared_harness(
    subscriber: type[Harness], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harness]:
    """One running ERP for all tests that leave it as good as it was."""
    with subscriber.running(request, tmp_path_factory.mktemp("shared")) as harness:
        yield harness


@pytest.fixture
def harness(subscriber: type[Harness], request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """A running ERP of the test's own."""
    folder = tmp_path / "erp"
    folder.mkdir()
    with subscriber.running(request, folder) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_connection(shared_harness: Harness) -> AsyncIterator[Connection]:
    """The shared ERP with an Erp for the tests of one module."""
    connection = Connection(shared_harness)
    await connection.open()
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="module")
async def shared_site(shared_connection: Connection, request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """The shared ERP, and entries that no other test has."""
    if not shared_connection.is_open:  # a test failed half-way
        await shared_connection.open()
    return Site(shared_connection, _maker(shared_connection.harness, request, tmp_path))


@pytest_asyncio.fixture(loop_scope="module")
async def site(harness: Harness, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """An ERP of the test's own, with an Erp that is ready."""
    connection = Connection(harness)
    await connection.open()
    yield Site(connection, _maker(harness, request, tmp_path))
    await connection.close()


def _maker(harness: Harness, request: pytest.FixtureRequest, folder: Path) -> Maker:
    downloads = folder / "downloads"
    downloads.mkdir()
    return Maker(harness.names, request.node.nodeid, downloads)
