"""A run that is begun twice: the second process waits for the first, and does only what that one left."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Completed, Failed

from flows.earlier_runs import RESPECTED_S, Note
from flows.stop import Stop, Stopped

DEPLOYMENT = uuid4()


def _a_run(name: str = "export") -> FlowRun:
    return FlowRun(flow_id=uuid4(), deployment_id=DEPLOYMENT, name=name)


async def _held(folder: Path, run: FlowRun) -> Note:
    """The note of the run's first process."""
    note = Note(folder, run)
    assert await note.end_by_another_process(Stop()) is None
    return note


async def _second(folder: Path, run: FlowRun, stop: Stop | None = None) -> tuple[Note, asyncio.Task[State[Any] | None]]:
    """The run's second process, which has seen that there is a first."""
    note = Note(folder, run)
    waiting = asyncio.create_task(note.end_by_another_process(stop or Stop()))
    await asyncio.sleep(0)
    assert not waiting.done()
    return note, waiting


def _noted(folder: Path, run: FlowRun) -> Any:
    return json.loads((folder / f"{run.id}.json").read_text())["runs"][str(run.id)]


async def test_the_second_process_of_a_run_ends_as_the_first(tmp_path: Path) -> None:
    run = _a_run()
    first = await _held(tmp_path, run)
    second, waiting = await _second(tmp_path, run)
    first.ends(str(run.id), Completed(name="CompletedWithErrors", message="2 failed"))
    first.release()
    ended = await waiting
    assert ended is not None
    assert (ended.type, ended.name, ended.message) == (StateType.COMPLETED, "CompletedWithErrors", "2 failed")
    assert _noted(tmp_path, run)["name"] == "CompletedWithErrors"
    second.release()


async def test_a_first_process_that_ends_without_a_word_leaves_the_work_and_its_job_to_the_second(
    tmp_path: Path,
) -> None:
    run, job_run = _a_run(), str(uuid4())
    first = await _held(tmp_path, run)
    first.begins(job_run)
    second, waiting = await _second(tmp_path, run)
    first.release()
    assert await waiting is None
    second.ends(str(run.id), Completed(message="done"))
    assert _noted(tmp_path, run)["message"] == "done"
    kept = json.loads((tmp_path / f"{run.id}.json").read_text())["runs"]
    assert kept[job_run] is None, "nobody would close the run of the job that was broken off"


@pytest.mark.parametrize("end", [Failed(name="Interrupted"), Failed(name="JobsFailed"), Cancelled()])
async def test_what_the_first_process_did_not_finish_the_second_does(tmp_path: Path, end: State[Any]) -> None:
    run = _a_run()
    first = await _held(tmp_path, run)
    _, waiting = await _second(tmp_path, run)
    first.ends(str(run.id), end)
    first.release()
    assert await waiting is None
    assert _noted(tmp_path, run) is None


async def test_a_run_that_ended_before_is_done_anew_when_it_is_retried(tmp_path: Path) -> None:
    run = _a_run()
    first = await _held(tmp_path, run)
    first.ends(str(run.id), Completed())
    first.release()
    file = tmp_path / f"{run.id}.json"
    note = json.loads(file.read_text())
    note["runs"][str(run.id)]["at"] -= 3600  # before this process began
    file.write_text(json.dumps(note))
    assert await Note(tmp_path, run).end_by_another_process(Stop()) is None


async def test_a_signal_ends_the_waiting_and_leaves_the_note_to_the_first_process(tmp_path: Path) -> None:
    run, stop = _a_run(), Stop()
    first = await _held(tmp_path, run)
    second, waiting = await _second(tmp_path, run, stop)
    stop.request(signal.SIGTERM)
    with pytest.raises(Stopped):
        await waiting
    second.ends(str(run.id), Failed(name="Interrupted"))
    second.release()
    assert _noted(tmp_path, run) is None
    first.ends(str(run.id), Completed())
    assert _noted(tmp_path, run)["type"] == "COMPLETED"


async def test_a_first_process_that_is_at_it_for_hours_is_not_waited_for(tmp_path: Path) -> None:
    run = _a_run()
    await _held(tmp_path, run)
    file = tmp_path / f"{run.id}.json"
    note = json.loads(file.read_text())
    file.write_text(json.dumps({**note, "began": time.time() - RESPECTED_S - 1}))
    second = Note(tmp_path, run)
    assert await second.end_by_another_process(Stop()) is None
    second.ends(str(run.id), Completed())
    assert _noted(tmp_path, run) is None, "the note is the first process's"


async def test_another_run_of_the_deployment_sees_the_first_at_work_and_the_run_itself_does_not(tmp_path: Path) -> None:
    run = _a_run("the first")
    first = await _held(tmp_path, run)
    assert first.at_work() is None
    assert Note(tmp_path, _a_run()).at_work() == "the first"
    assert Note(tmp_path, run).at_work() is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"key": 1', '{"key":"","job":null,"name":"","began":1.0,"runs":{"RUN":{"type":1}}}']
)
async def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    run = _a_run()
    (tmp_path / f"{run.id}.json").write_text(text.replace("RUN", str(run.id)))
    note = Note(tmp_path, run)
    assert await note.end_by_another_process(Stop()) is None
    assert _noted(tmp_path, run) is None


async def test_where_no_note_can_be_kept_the_work_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    assert await Note(folder, _a_run()).end_by_another_process(Stop()) is None
