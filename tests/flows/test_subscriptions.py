"""`python -m flows.webhook subscribe, list, delete, secret`, against a Pleo that keeps subscriptions as it says."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.outcome import JOB_FAILED, OK, USAGE
from flows.subscriptions import administer, parse
from tests.support.pleo.scripted_pleo import KEY, Request, answer, drop, refusal, scripted
from tests.support.webhook import SECRET

URL = "https://export.example/pleo"


class Office:
    """Subscriptions at Pleo, and what is said when a command is given."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.hooks: dict[str, Callable[[Request], Any]] = {}
        self.environment: dict[str, str] = {}

    def answer(self, request: Request) -> Any:
        if request.method in self.hooks:
            return self.hooks.pop(request.method)(request)
        path, _, rest = request.path.removeprefix("/v1/subscriptions").removeprefix("/").partition("/")
        if request.method == "POST":
            return answer({"data": self.make(request.json())})
        if not path:
            return answer({"data": self.kept, "pagination": {"hasNextPage": False, "endCursor": None}})
        found = [one for one in self.kept if one["id"] == path]
        if not found:
            return refusal(404, "NOT_FOUND")
        if rest == "secret":
            return answer({"data": {"secretKey": SECRET}})
        self.kept.remove(found[0])
        return answer(None, 204)

    def make(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.kept.append({"id": str(uuid4()), "createdAt": "2026-03-02T10:00:00Z", **asked})
        return self.kept[-1]

    async def say(self, *arguments: str | Path) -> int:
        return await administer(parse([str(one) for one in arguments]), self.environment)


@pytest.fixture
async def pleo() -> AsyncIterator[Office]:
    office = Office()
    async with scripted(office.answer) as served:
        office.environment = {"PLEO_API_KEY": KEY, "PLEO_BASE_URL": served.url}
        yield office


async def test_a_subscription_is_made_once_and_its_secret_is_in_a_file_and_on_no_screen(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    assert await pleo.say("subscribe", URL, "--secret-file", file) == OK
    (made,) = pleo.kept
    assert {key: made[key] for key in ("endpointUrl", "eventTypes", "status")} == {
        "endpointUrl": URL,
        "eventTypes": ["v1.export-job.created"],
        "status": "ACTIVE",
    }
    assert file.read_text() == SECRET + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await pleo.say("list") == OK
    said = capsys.readouterr()
    assert f"subscription {made['id']} ACTIVE: v1.export-job.created to {URL}" in said.out.splitlines()
    assert await pleo.say("subscribe", URL, "--secret-file", tmp_path / "other") == USAGE
    again = capsys.readouterr()
    assert again.err == f"webhook: Pleo delivers to {URL} already: subscription {made['id']}\n"
    assert not (tmp_path / "other").exists()
    assert len(pleo.kept) == 1
    assert SECRET not in said.out + said.err + again.out + again.err
    assert KEY not in said.out + said.err


async def test_a_file_that_is_there_is_not_written_over_and_nothing_is_made_at_pleo(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_text("something else")
    assert await pleo.say("subscribe", URL, "--secret-file", file) == USAGE
    assert await pleo.say("subscribe", URL, "--secret-file", tmp_path / "no" / "secret") == USAGE
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("it is there already, and is not written over")
    assert second.endswith("No such file or directory")
    assert file.read_text() == "something else"
    assert not pleo.kept


async def test_where_no_answer_comes_the_subscription_is_looked_for_and_not_made_twice(
    pleo: Office, tmp_path: Path
) -> None:
    def made_and_dropped(request: Request) -> Any:
        pleo.make(request.json())
        return drop

    pleo.hooks["POST"] = made_and_dropped
    assert await pleo.say("subscribe", URL, "--secret-file", tmp_path / "secret") == OK
    assert len(pleo.kept) == 1

    pleo.hooks["POST"] = lambda _: drop
    assert await pleo.say("subscribe", URL + "2", "--secret-file", tmp_path / "other") == JOB_FAILED
    assert len(pleo.kept) == 1
    assert not (tmp_path / "other").exists()


async def test_one_whose_secret_does_not_come_is_named_with_the_command_that_fetches_it(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def then_forget(request: Request) -> Any:
        made = pleo.make(request.json())
        pleo.kept.clear()
        return answer({"data": made})

    pleo.hooks["POST"] = then_forget
    file = tmp_path / "secret"
    assert await pleo.say("subscribe", URL, "--secret-file", file) == USAGE
    said = capsys.readouterr().err
    assert "the subscription was made, and its secret did not come" in said
    assert f"--secret-file {file}" in said
    assert not file.exists()


async def test_deleting_and_fetching_what_is_not_there_is_one_line(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pleo.make({"endpointUrl": URL, "eventTypes": "v1.export-job.created", "status": "ACTIVE"})["id"]
    file = tmp_path / "secret"
    assert await pleo.say("secret", made, "--secret-file", file) == OK
    assert file.read_text() == SECRET + "\n"
    assert await pleo.say("delete", made) == OK
    assert not pleo.kept
    assert await pleo.say("delete", made) == USAGE
    assert await pleo.say("list") == OK
    said = capsys.readouterr()
    assert said.err == f"webhook: Pleo has no subscription {made}, or not any more\n"
    assert said.out.splitlines()[-1] == "no subscription"


async def test_hostile_subscriptions_are_shown_on_one_line_each(
    pleo: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    pleo.make({"endpointUrl": "https://x\x1b[2J\nsubscription", "eventTypes": ["a\nb"] * 50, "status": "ACTIVE\n"})
    pleo.kept.append(json.loads('{"id": 7}'))
    assert await pleo.say("list") == OK
    (line,) = capsys.readouterr().out.splitlines()
    assert "\x1b" not in line
    assert len(line) < 1000


async def test_without_credentials_nothing_is_asked(pleo: Office, capsys: pytest.CaptureFixture[str]) -> None:
    pleo.environment = {}
    assert await pleo.say("list") == USAGE
    assert "set PLEO_API_KEY or PLEO_ACCESS_TOKEN" in capsys.readouterr().err
