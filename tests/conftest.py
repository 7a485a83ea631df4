"""What every test has: an environment without the settings of whoever runs it, and, where asked for, a Prefect server.

Prefect reads its settings when it is imported, so the cleaning happens when this file is, before any test module.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import ROOT, PrefectServer, a_prefect_server
from tests.support.schedule import in_order, make_scheduler

if TYPE_CHECKING:  # what they import has to find the environment cleaned
    from tests.support.command_line import Shell
    from tests.support.erp.small_erp.server import SmallErpServer
    from tests.support.exporting import Office

pytest_plugins = ["tests.support.erp.tryton.fixtures", "tests.support.erp.odoo.fixtures"]
_OF_TESTS = "PLEO_EXPORT_"  # PLEO_EXPORT_REQUIRE_TRYTON=1 say: how the tests themselves are run
for _name in [name for name in os.environ if name.startswith(("PREFECT_", "PLEO_", "TRYTON_", "ODOO_"))]:
    if not _name.startswith(_OF_TESTS):
        del os.environ[_name]
_HOME = Path(tempfile.mkdtemp(prefix="pleo-export-tests-"))
os.environ.update(
    PYTHONPATH=str(ROOT),  # programs that tests start in folders of their own find `tests` too
    PREFECT_HOME=str(_HOME),
    XDG_STATE_HOME=str(_HOME / "state"),  # where the lock for renewing access by OAuth is
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="90",
    NO_PROXY="127.0.0.1,localhost",
)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first."""
    in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How tests are shared out between processes."""
    return make_scheduler(config, log)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """One Prefect server for the whole session; starting it takes some ten seconds."""
    with a_prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture
def prefect_api(prefect_server: PrefectServer) -> Iterator[PrefectServer]:
    """The Prefect server as the one that this very process talks to."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    changes = {PREFECT_API_URL: prefect_server.api_url, PREFECT_HOME: prefect_server.environment["PREFECT_HOME"]}
    with temporary_settings(updates=changes):
        yield prefect_server


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Office]:
    """A Pleo without a job yet, and books without an entry."""
    from tests.support.exporting import office

    with office(tmp_path) as made:
        yield made


@pytest.fixture
def shell(at_work: Office, prefect_server: PrefectServer, tmp_path: Path) -> Shell:
    """The command line in a folder of its own, against such a Pleo and the session's Prefect server."""
    from tests.support.command_line import Shell

    return Shell(at_work, prefect_server, tmp_path)


@pytest.fixture
def erp() -> Iterator[SmallErpServer]:
    """A small accounting system over HTTP, without an entry."""
    from tests.support.erp.small_erp.server import serving

    with serving() as server:
        yield server
