"""The ground that a command of ours stands on before it imports Prefect: TLS, a home folder, proxies, a Prefect server.

A command calls `prepare` before that import and `ready` after it. Where nobody names a Prefect server, the command gets
one of its own (`blocks.ground.server`): begun at once, so that it starts while the command's modules are imported, and
in a session of its own, so that Ctrl-C, `timeout` or a lost terminal end the command and not the server under it.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from blocks.ground.proxies import UnusableProxy, settle_proxies
from blocks.ground.server import NoServer, OwnServer
from blocks.tls import CannotVerify, verifying_tls

__all__ = [
    "GroundError",
    "check_environment",
    "leave",
    "leave_at_once",
    "prepare",
    "ready",
    "server_has_gone",
    "without_retries",
]

USAGE = 2


class GroundError(Exception):
    """What a command cannot do without is not there; the message is one line that says what to set."""


class _Ground:
    """What this process has begun."""

    def __init__(self) -> None:
        self.server: OwnServer | None = None


_ground = _Ground()


def prepare(*, server: bool = True) -> None:
    """Look at the environment, and begin a Prefect server where none is named; before Prefect is imported.

    Ends the program with one line and status 2 where the environment cannot be used: Prefect's import breaks over
    some of it, and waits for minutes over the rest. Without `server` none is begun.
    """
    try:
        check_environment(os.environ)
    except GroundError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(USAGE) from None
    if server and _may_have_its_own():
        _ground.server = _begun()


def check_environment(environment: MutableMapping[str, str]) -> None:
    """Raise GroundError for what Prefect or the clients could not work with; let loopback go by no proxy."""
    try:
        verifying_tls(environment)
        settle_proxies(environment)
    except (CannotVerify, UnusableProxy) as error:
        raise GroundError(str(error)) from None
    _check_home(environment)


def ready(given_up: Callable[[], bool] = lambda: False) -> None:
    """Have Prefect use the server of this process, and wait until it answers; after Prefect is imported.

    Does nothing where a server is named, in the environment or in a profile of Prefect's. Returns early once `given_up`
    says so. Raises GroundError.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url:
        if _ground.server is not None:
            _ground.server.close()
        return
    if not settings.server.ephemeral.enabled:
        raise GroundError(
            "no Prefect server is named, and Prefect's settings allow no temporary one: set PREFECT_API_URL, or "
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true"
        )
    if _ground.server is None and _may_have_its_own():
        _ground.server = _begun()
    if _ground.server is None:
        return  # Prefect starts a temporary one by itself
    os.environ["PREFECT_API_URL"] = _ground.server.api_url
    refresh_global_settings_context()
    try:
        _ground.server.wait(settings.server.ephemeral.startup_timeout_seconds, given_up, without_retries)
    except NoServer as error:
        raise GroundError(str(error)) from None


def without_retries() -> None:
    """Have Prefect's client try each call once: for a server that has gone for good, it would wait a minute a call."""
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "0"
    refresh_global_settings_context()


def leave(status: int, *, server_is_away: bool = False) -> int:
    """The exit status, for a command that has said all it has to say.

    Where the server of this process has gone for good, or one that somebody named is away, the process ends here: what
    Prefect still wants to tell it as the interpreter ends would be tried for minutes.
    """
    if server_is_away or server_has_gone():
        leave_at_once(status)
    return status


def server_has_gone() -> bool:
    """Whether the server of this process has ended for good."""
    return _ground.server is not None and _ground.server.is_gone


def leave_at_once(status: int) -> NoReturn:
    """End the process here, with the server that was begun for it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if _ground.server is not None:
        _ground.server.close()
    os._exit(status)


def _may_have_its_own() -> bool:
    return os.name == "posix" and not os.environ.get("PREFECT_API_URL")


def _begun() -> OwnServer | None:
    try:
        server = OwnServer()
    except OSError:
        return None  # no more processes or file handles: Prefect, which will try the same, says so in its own words
    atexit.register(server.close)  # registered before Prefect is imported, so it comes after Prefect's last calls
    return server


def _check_home(environment: MutableMapping[str, str]) -> None:
    """Raise GroundError unless Prefect has a folder that it can write. Its import needs a home even where it does not
    use one: it gets PREFECT_HOME."""
    given = environment.get("PREFECT_HOME", "")
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path's raises instead
        if not given:
            raise GroundError("this user has no home folder: set PREFECT_HOME to a folder that can be written")
        environment["HOME"] = str(Path(given).absolute())
    home = Path(given or "~/.prefect").expanduser()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise GroundError(
            f"Prefect's home folder {home}: {why}: set PREFECT_HOME to a folder that can be written"
        ) from None
