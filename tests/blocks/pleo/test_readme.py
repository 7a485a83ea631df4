"""The room's README tells the truth: its modules, the example, the command's options, the limits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.pleo.authorize import PORT
from blocks.pleo.credentials import PleoCredentials
from blocks.pleo.files import client as files
from blocks.pleo.http import answer_body, retries, transport
from blocks.pleo.oauth.block import SCOPES
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from tests.support.processes import PrefectServer

ROOM = Path(__file__).parents[3] / "blocks" / "pleo"
README = (ROOM / "README.md").read_text()


def test_every_module_of_the_room_is_named_and_there_is_no_other() -> None:
    modules = {path.name for path in ROOM.rglob("*.py") if "sandbox" not in path.relative_to(ROOM).parts} - {
        "__init__.py"
    }
    assert set(re.findall(r"`(?:http/|oauth/|files/)?(\w+\.py)`", README)) == modules


async def test_the_example_of_a_call_runs(prefect_api: PrefectServer, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    with Sandbox() as sandbox, serve(sandbox) as url:
        job_id = sandbox.add_job(1)
        block = PleoCredentials(base_url=url, api_key=SANDBOX_API_KEY)  # type: ignore[arg-type]
        await block.save("acme", overwrite=True)
        names: dict[str, object] = {}
        indented = example.replace("\n", "\n    ")
        exec(f"async def run():\n    {indented}", names)
        await names["run"]()  # type: ignore[operator]
    assert capsys.readouterr().out == f"{job_id} pending\n"


def test_the_options_of_the_command_are_its_own() -> None:
    section = README.split("### OAuth")[1].split("\n## ")[0]
    shown = subprocess.run(
        [sys.executable, "-m", "blocks.pleo.authorize", "--help"], cwd=ROOM.parents[1], capture_output=True, text=True
    ).stdout
    of_others = {"--pleo", "--dry-run", "--limit"}
    named = set(re.findall(r"--[a-z][a-z-]*", section)) - of_others
    assert named == set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
    assert f":{PORT}/callback" in section
    assert f"`{SCOPES}`" in section


def test_the_limits_are_those_of_the_code() -> None:
    text = " ".join(README.split())
    read, kept = answer_body.MAX_BODY_BYTES >> 20, answer_body.MAX_KEPT_BYTES >> 20
    in_a_row = f"failed {files.GIVEN_UP_IN_A_ROW} files in a row is left alone for {files.DOWN_S:g} seconds"
    for said in (
        f"At most {read} MiB of an answer are read and {kept} MiB kept",
        f"at most {transport.REQUESTS_A_MINUTE} requests in any 60 seconds",
        f"at most {retries.MAX_TRIES} tries and {retries.CALL_BUDGET_S:g} seconds a call",
        f"followed up to {retries.RETRY_AFTER_CAP_S:g} seconds",
        f"every redirect (at most {files.MAX_REDIRECTS})",
        f"{files.MAX_FILE_BYTES} bytes decoded, {files.FILE_S:g} seconds a file, {files.AT_ONCE} files at once",
        f"{files.MAX_TRIES} tries a file. A host that {in_a_row}",
    ):
        assert said in text, said
