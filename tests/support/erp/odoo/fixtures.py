"""Odoo for the tests. Where it cannot be brought up they are skipped, and the summary names each and says why.

With `PLEO_EXPORT_REQUIRE_ODOO=1`, as in continuous integration, they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.erp.odoo.prepare import OdooUnavailable
from tests.support.erp.odoo.server import Odoo, OdooServer

REQUIRED = "PLEO_EXPORT_REQUIRE_ODOO"
WITHOUT = "Odoo cannot be brought up here: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every test that was skipped for want of Odoo, by its name."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if WITHOUT in str(report.longrepr)]
    if not skipped:
        return
    terminalreporter.section("skipped for want of Odoo")
    reasons = sorted({str(report.longrepr[2]).partition(WITHOUT)[2] for report in skipped})
    terminalreporter.write_line("; ".join(reasons))
    for report in skipped:
        terminalreporter.write_line(f"  {report.nodeid}")


@pytest.fixture(scope="session")
def odoo_session() -> Iterator[Odoo]:
    """An Odoo with its own PostgreSQL, for the whole session."""
    try:
        session = Odoo()
    except OdooUnavailable as missing:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{WITHOUT}{missing}", pytrace=False)
        pytest.skip(f"{WITHOUT}{missing}")
    with session:
        yield session


@pytest.fixture
def odoo(odoo_session: Odoo) -> Iterator[OdooServer]:
    """A server and a fresh database for this test alone, which may stop it."""
    with odoo_session.server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_odoo(odoo_session: Odoo) -> Iterator[OdooServer]:
    """One server and database for the tests of a module that only read, or look at records of their own."""
    with odoo_session.server() as server:
        yield server
