"""A run that is killed round any of its writes to the ledger ends, run again, in the same books and the same report."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import PrefectServer
from tests.survival.killed_export import Undisturbed, a_scene, side_by_side
from tests.survival.power_loss import Operation, environment, read_journal

COMMAND = "tests.survival.killed_command"
COMMITS = 9
"""The books are bound to their company and proven to be writable, each of the three pages is recorded, and what Pleo
has taken of each of the four batches is noted."""


def _killed_at_commit(
    number: int, moment: str, expected: Undisturbed, server: PrefectServer, folder: Path
) -> list[str]:
    with a_scene(folder, server) as scene:
        what = f"killed when commit {number} of {COMMITS} was {moment}"
        problem = scene.killed("-m", COMMAND, moment, str(number))
        return [f"{what}: {one}" for one in ([problem] if problem else scene.problems(expected.end))]


@pytest.mark.slow
def test_a_run_killed_before_or_after_any_commit_ends_the_same_when_it_is_run_again(
    undisturbed: Undisturbed, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    kills = [(number, moment) for number in range(1, COMMITS + 1) for moment in ("before", "answered")]
    assert (
        side_by_side(
            partial(_killed_at_commit, number, moment, undisturbed, prefect_server, tmp_path / f"{number}-{moment}")
            for number, moment in kills
        )
        == []
    )
    with a_scene(tmp_path / "one-more", prefect_server) as scene:
        assert scene.killed("-m", COMMAND, "before", str(COMMITS + 1)).startswith("it was not killed")


@pytest.fixture(scope="module")
def operations(
    shim: Path, undisturbed: Undisturbed, prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Operation]]:
    """What a run does to the files of its books, and to those of its stored pages, in order."""
    found = {}
    for place in ("books", "storage"):
        folder = tmp_path_factory.mktemp(place)
        with a_scene(folder / "scene", prefect_server) as scene:
            scene.run(**environment(shim, scene.folder / place, folder / "journal"))
            assert scene.end() == undisturbed.end
            found[place] = read_journal(folder / "journal")
    return found


def _killed_at_operation(
    number: int,
    phase: str,
    place: str,
    operations: list[Operation],
    shim: Path,
    expected: Undisturbed,
    server: PrefectServer,
    folder: Path,
) -> list[str]:
    with a_scene(folder / "scene", server) as scene:
        what = f"killed {phase} operation {number}, {operations[number - 1].name} {operations[number - 1].path}"
        journal = folder / "journal"
        problem = scene.killed(**environment(shim, scene.folder / place, journal, kill=number, phase=phase))
        return [f"{what}: {one}" for one in ([problem] if problem else scene.problems(expected.end))]


def _kill(
    kills: list[tuple[int, str]],
    place: str,
    operations: dict[str, list[Operation]],
    shim: Path,
    expected: Undisturbed,
    server: PrefectServer,
    folder: Path,
) -> list[str]:
    return side_by_side(
        partial(
            _killed_at_operation, number, phase, place, operations[place], shim, expected, server,
            folder / f"{number}-{phase}",
        )
        for number, phase in kills
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_right_after_any_step_that_lasts_ends_the_same_when_it_is_run_again(
    operations: dict[str, list[Operation]],
    shim: Path,
    undisturbed: Undisturbed,
    prefect_server: PrefectServer,
    tmp_path: Path,
) -> None:
    lasting = {"sync", "rename", "unlink", "mkdir"}
    kills = [(n, "after") for n, one in enumerate(operations["books"], 1) if one.name in lasting]
    assert _kill(kills, "books", operations, shim, undisturbed, prefect_server, tmp_path) == []


@pytest.mark.slow
def test_a_run_killed_with_a_page_half_stored_or_half_forgotten_ends_the_same_when_it_is_run_again(
    operations: dict[str, list[Operation]],
    shim: Path,
    undisturbed: Undisturbed,
    prefect_server: PrefectServer,
    tmp_path: Path,
) -> None:
    kills = [(n, "after") for n, one in enumerate(operations["storage"], 1) if one.name != "failed"]
    assert _kill(kills, "storage", operations, shim, undisturbed, prefect_server, tmp_path) == []
