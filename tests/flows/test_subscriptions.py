"""`python -m flows.webhook subscribe, list, delete, secret`, against the sandbox, and one that says what it likes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY, SANDBOX_COMPANY_ID, Sandbox, serve
from blocks.pleo.sandbox.subscriptions import Subscription
from flows.outcome import JOB_FAILED, OK, USAGE
from flows.subscriptions import administer, parse
from tests.support.pleo.scripted_pleo import KEY, answer, scripted

URL = "https://export.example/pleo"


class Office:
    """A Pleo with subscriptions, and what is said when a command is given."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox = sandbox
        self.environment = {"PLEO_API_KEY": SANDBOX_API_KEY, "PLEO_BASE_URL": url}

    @property
    def kept(self) -> list[Subscription]:
        return self.sandbox.webhooks.subscriptions.told_of(SANDBOX_COMPANY_ID)

    async def say(self, *arguments: str | Path) -> int:
        return await administer(parse([str(one) for one in arguments]), self.environment)


@pytest.fixture
def pleo() -> Iterator[Office]:
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        yield Office(sandbox, url)


async def test_a_subscription_is_made_once_and_its_secret_is_in_a_file_and_on_no_screen(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    assert await pleo.say("subscribe", URL, "--secret-file", file) == OK
    (made,) = pleo.kept
    assert (made.endpoint_url, made.event_types, made.status) == (URL, ("v1.export-job.created",), "ACTIVE")
    assert file.read_text() == made.secret + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await pleo.say("list") == OK
    said = capsys.readouterr()
    assert f"subscription {made.id} ACTIVE: v1.export-job.created to {URL}" in said.out.splitlines()
    assert await pleo.say("subscribe", URL, "--secret-file", tmp_path / "other") == USAGE
    again = capsys.readouterr()
    assert again.err == f"webhook: Pleo delivers to {URL} already: subscription {made.id}\n"
    assert not (tmp_path / "other").exists()
    assert len(pleo.kept) == 1
    assert made.secret not in said.out + said.err + again.out + again.err
    assert SANDBOX_API_KEY not in said.out + said.err


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
    pleo.sandbox.inject("lost", "POST /v1/subscriptions")
    assert await pleo.say("subscribe", URL, "--secret-file", tmp_path / "secret") == OK
    assert len(pleo.kept) == 1

    pleo.sandbox.inject("drop", "POST /v1/subscriptions")
    assert await pleo.say("subscribe", URL + "2", "--secret-file", tmp_path / "other") == JOB_FAILED
    assert len(pleo.kept) == 1
    assert not (tmp_path / "other").exists()


async def test_one_whose_secret_does_not_come_is_named_with_the_command_that_fetches_it(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pleo.sandbox.inject("status", "GET /v1/subscriptions/{id}/secret", status=404)
    file = tmp_path / "secret"
    assert await pleo.say("subscribe", URL, "--secret-file", file) == USAGE
    said = capsys.readouterr().err
    assert "the subscription was made, and its secret did not come" in said
    assert f"--secret-file {file}" in said
    assert not file.exists()


async def test_deleting_and_fetching_what_is_not_there_is_one_line(
    pleo: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"endpointUrl": URL, "eventTypes": ["v1.export-job.created"]}
    kept = pleo.sandbox.webhooks.subscriptions.make(None, asked, 0.0)
    made, file = kept.id, tmp_path / "secret"
    assert await pleo.say("secret", made, "--secret-file", file) == OK
    assert file.read_text() == kept.secret + "\n"
    assert await pleo.say("delete", made) == OK
    assert not pleo.kept
    assert await pleo.say("delete", made) == USAGE
    assert await pleo.say("list") == OK
    said = capsys.readouterr()
    assert said.err == f"webhook: Pleo has no subscription {made}, or not any more\n"
    assert said.out.splitlines()[-1] == "no subscription"


async def test_hostile_subscriptions_are_shown_on_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {"endpointUrl": "https://x\x1b[2J\nsubscription", "eventTypes": ["a\nb"] * 50, "status": "ACTIVE\n"}
    printed = {"endpointUrl": URL, "eventTypes": "v1.export-job.created", "status": "ACTIVE"}  # as one of Pleo's pages
    kept = [{"id": str(uuid4()), **hostile}, {"id": 7}, {"id": str(uuid4()), **printed}]
    async with scripted(lambda _: answer({"data": kept})) as served:
        environment = {"PLEO_API_KEY": KEY, "PLEO_BASE_URL": served.url}
        assert await administer(parse(["list"]), environment) == OK
    line, other = capsys.readouterr().out.splitlines()
    assert "\x1b" not in line
    assert len(line) < 1000
    assert other.endswith(f"ACTIVE: v1.export-job.created to {URL}")


async def test_without_credentials_nothing_is_asked(pleo: Office, capsys: pytest.CaptureFixture[str]) -> None:
    pleo.environment = {}
    assert await pleo.say("list") == USAGE
    assert "set PLEO_API_KEY or PLEO_ACCESS_TOKEN" in capsys.readouterr().err
