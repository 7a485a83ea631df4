"""`python -m blocks.pleo.authorize`: a user goes through it, or does not, and each way has its line and exit status."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from blocks.collection import PleoOAuth
from blocks.pleo import authorize
from blocks.pleo.oauth.block import SCOPES
from blocks.pleo.sandbox import SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, Sandbox, serve
from tests.support.chromium import CHROMIUM, MISSING, a_page
from tests.support.processes import PrefectServer, free_port

User = Callable[[str], None]


class Command:
    """A sandbox that knows the client at a port of ours, and the command, run in this process or in one of its own."""

    def __init__(
        self, sandbox: Sandbox, url: str, server: PrefectServer, capsys: Any, patch: pytest.MonkeyPatch
    ) -> None:
        self.sandbox = sandbox
        self.url = url
        self.name = f"acme-{uuid4().hex[:12]}"
        self.port = free_port()
        self.environment = {**server.environment, "PLEO_CLIENT_SECRET": SANDBOX_CLIENT_SECRET}
        self._capsys = capsys
        self._patch = patch
        sandbox.add_oauth_client(SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, redirect_uris=[self.redirect_uri])

    @property
    def redirect_uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/callback"

    @property
    def arguments(self) -> list[str]:
        where = ["--base-url", self.url, "--auth-url", self.url, "--port", str(self.port)]
        return [self.name, "--client-id", SANDBOX_CLIENT_ID, *where, "--timeout", "60"]

    def run(self, user: User, *arguments: str, secret: str | None = SANDBOX_CLIENT_SECRET) -> tuple[int, str, str]:
        """Exit status, standard output and error; `user` is what a browser is opened for."""
        errors: list[BaseException] = []

        def opened(url: str) -> bool:
            try:
                user(url)
            except BaseException as error:
                errors.append(error)
            return True

        self._patch.setattr(webbrowser, "open", opened)
        self._patch.setenv("DISPLAY", ":0")
        if secret is None:
            self._patch.delenv("PLEO_CLIENT_SECRET", raising=False)
        else:
            self._patch.setenv("PLEO_CLIENT_SECRET", secret)
        before = signal.getsignal(signal.SIGTERM)
        try:
            status = authorize.main(list(arguments) or self.arguments)
        finally:
            signal.signal(signal.SIGTERM, before)
        assert errors == []
        out, err = self._capsys.readouterr()
        return status, out, err

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "blocks.pleo.authorize", *self.arguments, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def load(self) -> PleoOAuth:
        """What was saved."""
        return asyncio.run(PleoOAuth.aload(self.name))  # type: ignore[arg-type]


@pytest.fixture
def command(prefect_api: PrefectServer, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        yield Command(sandbox, url, prefect_api, capsys, monkeypatch)


def press(decision: str) -> User:
    """A user who presses Allow or Deny on Pleo's page, and lets the browser follow."""

    def use(url: str) -> None:
        with httpx.Client(trust_env=False) as browser:
            page = browser.get(url).raise_for_status()
            (number,) = re.findall(r'name="page" value="([^"]+)"', page.text)
            answer = browser.post(url.split("?")[0], data={"page": number, "decision": decision})
            shown = browser.get(answer.headers["location"])
            assert shown.status_code == 200
            assert "You may close this window" in shown.text

    return use


def nothing(_url: str) -> None:
    """A user who does nothing."""


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    assert line.startswith("authorize: ")
    return line


def test_a_user_who_presses_allow_is_connected_and_no_token_is_shown(command: Command) -> None:
    command.sandbox.add_job(3)
    status, out, err = command.run(press("allow"))
    assert (status, err) == (0, "")
    block = command.load()
    assert (block.base_url, block.client_id, block.scopes) == (command.url, SANDBOX_CLIENT_ID, SCOPES)
    assert block.access_token is not None
    assert block.refresh_token is not None
    assert f"--pleo pleo-oauth/{command.name}" in out
    for secret in (block.access_token, block.refresh_token, SecretStr(SANDBOX_CLIENT_SECRET)):
        assert secret.get_secret_value() not in out
    assert command.sandbox.received().by_call["GET /v3/export-jobs"] == 1
    assert command.sandbox.oauth_grants()[0].revoked is None


def test_the_name_alone_connects_again_with_what_was_saved(command: Command) -> None:
    assert command.run(press("allow"))[0] == 0
    before = command.load()
    command.sandbox.revoke_access()
    assert command.run(press("allow"), command.name, "--port", str(command.port), secret=None)[0] == 0
    now = command.load()
    assert now.refresh_token != before.refresh_token
    assert now.client_secret == before.client_secret
    assert [grant.revoked for grant in command.sandbox.oauth_grants()] == ["it was revoked in Pleo", None]


@pytest.mark.parametrize("way", ["header", "parameters"])
def test_scopes_and_the_way_to_show_the_secret_can_be_chosen(command: Command, way: str) -> None:
    command.sandbox.add_oauth_client(
        SANDBOX_CLIENT_ID,
        SANDBOX_CLIENT_SECRET,
        client_auth=way,  # type: ignore[arg-type]
        redirect_uris=[command.redirect_uri],
    )
    chosen = [*command.arguments, "--client-auth", way, "--scopes", "export-items:read"]
    assert command.run(press("allow"), *chosen)[0] == 0
    assert command.load().client_auth.value == way
    assert command.sandbox.oauth_grants()[0].scopes == ("export-items:read",)
    assert command.sandbox.received().total == 0  # no scope for a call to try it with


def test_a_public_client_needs_no_secret(command: Command) -> None:
    command.sandbox.add_oauth_client(SANDBOX_CLIENT_ID, None, redirect_uris=[command.redirect_uri])
    assert command.run(press("allow"), secret=None)[0] == 0
    assert command.load().client_secret is None


def test_a_user_who_presses_deny_is_not_connected(command: Command) -> None:
    status, _, err = command.run(press("deny"))
    assert status == 1
    assert "access_denied" in only_line(err)
    with pytest.raises(ValueError):
        command.load()


def test_nobody_who_answers_is_a_line_after_a_while(command: Command) -> None:
    status, _, err = command.run(nothing, *command.arguments[:-1], "1")
    assert (status, only_line(err)) == (1, "authorize: not connected, nobody answered within 1 seconds")


@pytest.mark.parametrize(
    ("fault", "said"), [("none", "invalid_client"), ("drop", "no answer"), ("html", "without tokens")]
)
def test_a_code_that_brings_nothing_is_a_line_and_nothing_is_saved(command: Command, fault: Any, said: str) -> None:
    if fault != "none":
        command.sandbox.inject(fault, "POST /oauth/token")
    status, _, err = command.run(press("allow"), secret="wrong-secret" if fault == "none" else SANDBOX_CLIENT_SECRET)
    assert status == 1
    assert said in only_line(err)
    assert command.sandbox.received().by_call["POST /oauth/token"] == 1
    with pytest.raises(ValueError):
        command.load()


def test_an_access_that_does_not_work_is_said_to_be(command: Command) -> None:
    command.sandbox.inject("status", "GET /v3/export-jobs", status=403)
    status, _, err = command.run(press("allow"))
    assert status == 1
    assert "the access is saved, but does not work" in only_line(err)


def test_a_port_in_use_is_a_line_before_any_browser_opens(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", command.port))
        taken.listen()
        status, out, err = command.run(nothing)
    assert (status, out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{command.port}" in only_line(err)
    assert "--port" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: NAME"),
        (["Acme Ltd"], "'Acme Ltd' cannot be the name of a block"),
        (["acme", "--port", "0"], "must be a port from 1 to 65535"),
        (["acme", "--timeout", "-1"], "a whole number of seconds"),
        (["acme", "--client-auth", "both"], "invalid choice"),
        (["acme", "--staging", "--base-url", "https://x.example"], "not allowed with"),
        (["acme", "--client-secret", "hunter2"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        authorize.main(arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert said in only_line(err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --client-id"),
        (["--client-id", "x", "--base-url", "http://pleo.example"], "--base-url: plain http"),
        (["--client-id", "x", "--base-url", "http://127.0.0.1:1"], "--auth-url: name the authorisation server"),
        (["--client-id", "x", "--auth-url", "ftp://x"], "--auth-url: not a URL"),
        (["--client-id", "x", "--scopes", " "], "--scopes: name scopes"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_status_2(command: Command, arguments: list[str], said: str) -> None:
    status, out, err = command.run(nothing, command.name, *arguments)
    assert (status, out) == (2, "")
    assert said in only_line(err)


def test_a_secret_that_no_header_can_hold_is_named_by_its_variable(command: Command) -> None:
    status, _, err = command.run(nothing, secret="hunter2 hunter2")
    assert status == 2
    assert only_line(err).startswith("authorize: PLEO_CLIENT_SECRET: ")
    assert "hunter2" not in err


def test_where_prefects_server_is_away_nobody_is_sent_anywhere(command: Command) -> None:
    with temporary_settings(updates={PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        status, out, err = command.run(nothing)
    assert (status, out) == (2, "")
    assert "does Prefect's server answer" in only_line(err)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().startswith("http"):
            return line.strip()
    raise AssertionError(process.stderr.read() if process.stderr else "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_line_and_saves_nothing(command: Command, number: signal.Signals) -> None:
    process = command.start("--no-browser")
    _address(process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert only_line(err) == "authorize: stopped, nothing was saved"


@pytest.mark.slow
def test_a_browser_that_the_environment_names_is_opened(command: Command, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    script.chmod(0o755)
    command.environment["BROWSER"] = f"{script} %s"
    process = command.start()
    address = _address(process)
    press("allow")(address)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert opened.read_text() == address


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_a_person_in_a_real_browser_presses_allow_and_is_connected(command: Command) -> None:
    process = command.start("--no-browser")
    address = _address(process)
    with a_page() as page:
        page.open(address)
        page.wait_for("document.querySelector('#allow') !== null")
        assert "export-items:read" in page.run("document.body.innerText")
        page.run("document.querySelector('#allow').click()")
        text = page.wait_for("document.body.innerText.includes('close this window') && document.body.innerText")
        assert "The terminal says how it went on" in text
        assert page.run("location.pathname") == "/callback"
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    block = command.load()
    assert block.refresh_token is not None
    assert block.refresh_token.get_secret_value() not in out + text
    assert command.sandbox.oauth_grants()[0].revoked is None


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_a_person_in_a_real_browser_presses_deny_and_is_not(command: Command) -> None:
    process = command.start("--no-browser")
    address = _address(process)
    with a_page() as page:
        page.open(address)
        page.wait_for("document.querySelector('#deny') !== null")
        page.run("document.querySelector('#deny').click()")
        page.wait_for("document.body.innerText.includes('Nothing was allowed')")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "access_denied" in only_line(err)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_secret_is_asked_for_where_a_person_sits_and_is_not_echoed(command: Command) -> None:
    import fcntl
    import pty
    import termios

    command.environment.pop("PLEO_CLIENT_SECRET")
    main_end, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "blocks.pleo.authorize", *command.arguments, "--no-browser"],
        env=command.environment,
        stdin=other_end,
        stdout=subprocess.PIPE,
        stderr=other_end,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # its own terminal, as getpass asks that one
    )
    os.close(other_end)
    shown = b""
    while b"Client secret" not in shown:
        shown += os.read(main_end, 1000)
    os.write(main_end, SANDBOX_CLIENT_SECRET.encode() + b"\n")
    press("allow")(_address(process))
    assert process.wait(60) == 0
    shown += os.read(main_end, 1000)  # the end of the line that was typed, at least
    os.close(main_end)
    assert SANDBOX_CLIENT_SECRET.encode() not in shown
    assert process.stdout is not None
    assert SANDBOX_CLIENT_SECRET not in process.stdout.read()
    process.stdout.close()
    assert command.load().client_secret == SecretStr(SANDBOX_CLIENT_SECRET)
