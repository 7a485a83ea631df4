"""Tryton for the tests. Where it cannot be brought up they are skipped, and the summary names each and says why.

With `PLEO_EXPORT_REQUIRE_TRYTON=1`, as in continuous integration, they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.support.erp.tryton.environment import TrytonUnavailable
from tests.support.erp.tryton.prepare import has_module
from tests.support.erp.tryton.server import Tryton, TrytonServer

pytest.register_assert_rewrite("tests.support.erp.contract.books")

REQUIRED = "PLEO_EXPORT_REQUIRE_TRYTON"
WITHOUT = "Tryton cannot be brought up here: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every test that was skipped for want of Tryton, by its name."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if WITHOUT in str(report.longrepr)]
    if not skipped:
        return
    terminalreporter.section("skipped for want of Tryton")
    reasons = sorted({str(report.longrepr[2]).partition(WITHOUT)[2] for report in skipped})
    terminalreporter.write_line("; ".join(reasons))
    for report in skipped:
        terminalreporter.write_line(f"  {report.nodeid}")


@pytest.fixture(scope="session")
def tryton_session(request: pytest.FixtureRequest) -> Iterator[Tryton]:
    """A stock Tryton with its own PostgreSQL: for a server with options of its own, `with tryton_session.server(…)`."""
    with _session(request, module=False) as tryton:
        yield tryton


@pytest.fixture(scope="session")
def tryton_module_session(request: pytest.FixtureRequest) -> Iterator[Tryton]:
    """The same with our module activated in every database."""
    if not has_module():
        pytest.skip("there is no module in deployments/tryton")
    with _session(request, module=True) as tryton:
        yield tryton


@pytest.fixture
def tryton(tryton_session: Tryton) -> Iterator[TrytonServer]:
    """A server and a fresh database for this test alone."""
    with tryton_session.next_server() as server:
        yield server


@pytest.fixture
def own_tryton(tryton_session: Tryton) -> Iterator[TrytonServer]:
    """The same for tests that stop, kill or pause the server; beside `tryton` it is a second one."""
    with tryton_session.next_server() as server:
        yield server


@pytest.fixture
def tryton_with_module(tryton_module_session: Tryton) -> Iterator[TrytonServer]:
    """A server with our module, and a fresh database, for this test alone, which may stop it."""
    with tryton_module_session.next_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_tryton(tryton_session: Tryton) -> Iterator[TrytonServer]:
    """One server and database for all tests that ask for it: those that only read, or look at records of their own."""
    with tryton_session.server() as server:
        yield server


def _session(request: pytest.FixtureRequest, *, module: bool) -> Tryton:
    def say(text: str) -> None:
        plugin = request.config.pluginmanager.getplugin
        capture, terminal = plugin("capturemanager"), plugin("terminalreporter")
        if terminal is None:  # one of several workers, whose output nobody sees
            return
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            terminal.ensure_newline()
            terminal.write_line(text)

    try:
        return Tryton(module=module, say=say)
    except TrytonUnavailable as missing:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{WITHOUT}{missing}", pytrace=False)
        pytest.skip(f"{WITHOUT}{missing}")
