"""Proofs that cross rooms: what is killed, repeated, contended or fed with rubbish still keeps the four promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from beancount import loader

from tests.support.pleo.watched_pleo import Watched, watched
from tests.support.processes import PrefectServer
from tests.survival.killed_export import Undisturbed, a_scene
from tests.survival.power_loss import build_shim
from tests.survival.rivals import save_small_erp_block


@pytest.fixture
def pleo(tmp_path: Path) -> Iterator[Watched]:
    """A Pleo that lets tests act between two requests of the export, and books without an entry."""
    with watched(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def server(prefect_server: PrefectServer) -> PrefectServer:
    """A Prefect server that knows the small ERP, which any number of runs may write in at once."""
    save_small_erp_block(prefect_server)
    return prefect_server


@pytest.fixture(scope="session")
def undisturbed(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run that nobody kills, which every killed one is compared with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with a_scene(folder, prefect_server) as scene:
        status, document = scene.run()
        assert (status, document["jobs"][0]["event"]) == (3, "completed_with_errors")
        _, errors, _ = loader.load_file(str(scene.books.with_suffix(".beancount")))
        assert errors == []
        requests = tuple(f"{seen.method} {seen.path.partition('?')[0]}" for seen in scene.proxy.seen)
        return Undisturbed(scene.end(), requests)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What keeps a journal of a program's files, and kills it at any of them."""
    return build_shim(tmp_path_factory.mktemp("shim"))
