"""The run that nobody kills, which every killed one is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from beancount import loader

from tests.support.processes import PrefectServer
from tests.survival.killed_export import Undisturbed, a_scene
from tests.survival.power_loss import build_shim


@pytest.fixture(scope="session")
def undisturbed(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
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
