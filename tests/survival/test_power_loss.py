"""A loss of power at any moment of a run leaves books that open, that hold all that Pleo was told, and that a further
run brings to the same end."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox, serve
from flows.settings import read_settings
from tests.support.exporting import Office
from tests.support.processes import PrefectServer
from tests.survival.killed_export import (
    PAGE_SIZE,
    UPDATE_BATCH_SIZE,
    End,
    Undisturbed,
    a_scene,
    books_of,
    history_of,
    pleo_of,
    settings_text,
    side_by_side,
)
from tests.survival.power_loss import Loss, lay_out
from tests.survival.recorded_run import Recording, Told, copy_state, record

SEEDS = 4
"""How often chance chooses what survives, at each moment."""


@pytest.fixture(scope="module")
def recording(
    shim: Path, undisturbed: Undisturbed, prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    """A run that nobody kills."""
    return record(tmp_path_factory.mktemp("recording"), "", shim, undisturbed, prefect_server)


def _books(folder: Path) -> Path:
    return folder / "books" / "books.sqlite"


async def _wrong_with(folder: Path, told: Told, expected: End) -> list[str]:
    """What is wrong with the books that a loss of power has left."""
    beancount = _books(folder).with_suffix(".beancount")
    problems = []
    if beancount.exists() and beancount.read_text() != expected.beancount:
        problems.append("the Beancount file is not whole")
    erp = read_settings(folder / "settings.toml", path=str(_books(folder))).connect(folder)
    await erp.open(SANDBOX_COMPANY_ID, dry_run=False)
    try:
        await erp.validate()
        found = await erp.find(list(told.successful))
    finally:
        await erp.close()
    for id_, external_id in told.successful.items():
        if id_ not in found or found[id_].external_id != external_id:
            problems.append(f"Pleo was told of {external_id}, the books have {found.get(id_)}")
    journal, _, attachments, receipts, _ = books_of(_books(folder))
    if list(journal) != [row for row in expected.journal if row[0] in {one[0] for one in journal}]:
        problems.append(f"entries that are not whole, or not the right ones: {journal}")
    for id_, number, _, _, _, sha256, file in attachments:
        if receipts.get(file) != sha256:
            problems.append(f"receipt {number} of {id_} is not whole: {file}")
    return problems


async def _end_after_another_run(folder: Path, state: Path, expected: End) -> list[str]:
    """What is not as expected after a further run, without Prefect, on this disk and against this state of Pleo."""
    copy_state(state, folder / "pleo.sqlite")
    with Sandbox(folder / "pleo.sqlite", rate_limit=False) as sandbox, serve(sandbox) as base_url:
        settings = read_settings(folder / "settings.toml", path=str(_books(folder)))
        await Office(sandbox, base_url, _books(folder)).export(
            erp=settings.connect(folder),
            settings=settings,
            page_size=PAGE_SIZE,
            update_batch_size=UPDATE_BATCH_SIZE,
        )
        end = End(
            *books_of(_books(folder)),
            *pleo_of(sandbox, sandbox.jobs()[0].id),
            left_behind=(),
            history=history_of(_books(folder)),
        )
    return end.differences(expected)


def _laid_out(found: dict[str, Any], folder: Path) -> None:
    lay_out(found, folder)
    (folder / "settings.toml").write_text(settings_text("books/books.sqlite"))


def _try(found: dict[str, Any], told: Told, state: Path, expected: End, folder: Path, *, go_on: bool) -> list[str]:
    """What is wrong after this loss of power, and with `go_on` after a further run."""
    try:
        _laid_out(found, folder)
        problems = asyncio.run(_wrong_with(folder, told, expected))
        if go_on and not problems:
            shutil.rmtree(folder)
            _laid_out(found, folder)
            problems = asyncio.run(_end_after_another_run(folder, state, expected))
    except Exception as error:
        problems = [f"{type(error).__name__}: {error}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return problems


def _problems(
    recording: Recording, loss: Loss, expected: End, folder: Path, *, always_go_on: bool, seeds: int = SEEDS
) -> list[str]:
    """What is wrong after a loss of power at any moment; whatever the same disk would show is tried once."""
    problems: list[str] = []
    seen: set[str] = set()
    for number, disk, told in recording.moments():
        for seed in range(seeds if loss is Loss.SOME else 1):
            found = disk.after(loss, seed * 1000 + number)
            what = hashlib.sha256(repr((found, told.requests)).encode()).hexdigest()
            if what in seen:
                continue
            seen.add(what)
            go_on = always_go_on or seed == number % 20
            wrong = _try(found, told, recording.states[told.requests], expected, folder, go_on=go_on)
            problems += [f"{loss} lost after operation {number}, seed {seed}: {one}" for one in wrong]
    return problems


@pytest.mark.slow
@pytest.mark.parametrize("loss", Loss)
def test_a_loss_of_power_at_any_moment_loses_nothing_that_pleo_was_told(
    loss: Loss, recording: Recording, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    found = _problems(recording, loss, undisturbed.end, tmp_path / "disk", always_go_on=loss is Loss.ALL)
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "killed_after",
    ["mkdir books-receipts", "rename .incoming", "sync books.sqlite-wal", "rename books.beancount.tmp"],
)
def test_a_loss_of_power_in_the_run_after_a_killed_one_loses_nothing_either(
    killed_after: str,
    recording: Recording,
    shim: Path,
    undisturbed: Undisturbed,
    prefect_server: PrefectServer,
    tmp_path: Path,
) -> None:
    books = recording.root / "books"
    done = [one for one in recording.operations if Path(one.path).is_relative_to(books)]
    number = [f"{one.name} {Path(one.path).name}" for one in done].index(killed_after) + 1
    twice = record(tmp_path / "recording", "books", shim, undisturbed, prefect_server, number)
    for loss in (Loss.ALL, Loss.SOME):
        assert _problems(twice, loss, undisturbed.end, tmp_path / "disk", always_go_on=False, seeds=1) == []


@pytest.mark.slow
def test_the_whole_command_goes_on_after_a_loss_of_power(
    recording: Recording, undisturbed: Undisturbed, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    cases = []
    for number, disk, told in recording.moments():
        if number % 16 == 0:
            loss = (Loss.ALL, Loss.BYTES, Loss.ZEROS, Loss.SOME)[number // 16 % 4]
            folder = tmp_path / str(number)
            found = disk.after(loss, number)
            stays = [name for name in found if not name.startswith("storage")]  # pages are another Pleo's, by its port
            lay_out({name: found[name] for name in stays}, folder)
            copy_state(recording.states[told.requests], folder / "pleo.sqlite")
            cases.append((f"{loss} lost after operation {number}", folder))

    def go_on(what: str, folder: Path) -> list[str]:
        with a_scene(folder, prefect_server, folder / "pleo.sqlite") as scene:
            return [f"{what}: {one}" for one in scene.problems(undisturbed.end)]

    assert side_by_side((lambda case=case: go_on(*case)) for case in cases) == []
