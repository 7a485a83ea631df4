"""Takes a user through Pleo's OAuth and saves the access as a Prefect block: `python -m blocks.pleo.authorize NAME`.

The block `pleo-oauth/NAME` is used with `--pleo pleo-oauth/NAME`. What it holds already (client, addresses, scopes)
need not be said again, so the same command without options connects anew. The client secret is read from
PLEO_CLIENT_SECRET, else from the block, else asked for; it stands on no command line. No token is ever shown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import logging
import os
import re
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence
from typing import Any, NoReturn

from blocks import ground

if __name__ == "__main__":
    ground.prepare()

from prefect.exceptions import ObjectNotFound
from prefect.logging.configuration import setup_logging
from pydantic import SecretStr, ValidationError

from blocks.pleo.credentials import STAGING_URL
from blocks.pleo.errors import PleoError
from blocks.pleo.oauth.block import SCOPES, PleoOAuth
from blocks.pleo.oauth.grant import renewal_lock
from blocks.pleo.oauth.redirect import (
    HOST,
    PATH,
    AuthorizationRequest,
    PortInUse,
    Redirect,
    RedirectListener,
    redirect_listener,
)
from blocks.pleo.oauth.token_endpoint import (
    ClientAuth,
    Tokens,
    TokensNotAsked,
    TokensRefused,
    TokensUnknown,
    exchange,
)

CONNECTED, NOT_CONNECTED, USAGE = 0, 1, 2
PORT = 8919
SECRET_VARIABLE = "PLEO_CLIENT_SECRET"  # noqa: S105 - the name of a variable

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SCREENS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
_EPILOG = (
    "exit status: 0 connected; 1 not connected: the user or Pleo said no, or nobody answered in time; 2 wrong usage or "
    "configuration: the port is taken, say, or no Prefect server answers; 130 or 143 stopped by SIGINT or SIGTERM."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, and the status for wrong usage."""
        self.exit(USAGE, f"authorize: {message} (--help lists the options)\n")


class _Exit(Exception):
    """The command ends here: one line, and the exit status."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    _set_up_logging()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        ground.ready()
        return asyncio.run(_authorize(options))
    except ground.GroundError as error:
        print(f"authorize: {error}", file=sys.stderr)
        return USAGE
    except _Exit as end:
        print(f"authorize: {end}", file=sys.stderr)
        return end.status
    except KeyboardInterrupt:
        print("authorize: stopped, nothing was saved", file=sys.stderr)
        return 128 + signal.SIGINT


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m blocks.pleo.authorize",
        description="Connect to Pleo by OAuth: a user allows it in a browser, block pleo-oauth/NAME keeps the access.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="name of the block, new or there already")
    add("--client-id", help="client ID that Pleo gave to this integration (else the block's)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--staging", action="store_true", help="Pleo's staging environment")
    where.add_argument("--base-url", metavar="URL", help="another Pleo than production, a sandbox say")
    add("--auth-url", metavar="URL", help="its authorisation server (else the one that belongs to Pleo's environment)")
    add("--port", type=_port, default=PORT, help=f"port of the redirect to http://{HOST}:PORT{PATH} (%(default)s)")
    add("--scopes", help=f"scopes to ask for, separated by spaces (else the block's, else {SCOPES})")
    add("--client-auth", choices=[way.value for way in ClientAuth], help="how the client shows its secret (parameters)")
    add("--timeout", type=_seconds, default=600, metavar="SECONDS", help="how long to wait for the user (%(default)s)")
    add("--no-browser", action="store_true", help="only print the address to open")
    options = parser.parse_args(arguments)
    if not _NAME.fullmatch(options.name):
        parser.error(f"{options.name!r} cannot be the name of a block: use small letters, digits and dashes")
    return options


async def _authorize(options: argparse.Namespace) -> int:
    saved = await _saved(options.name)
    block = _block(options, saved)
    attempt = AuthorizationRequest(f"http://{HOST}:{options.port}{PATH}")
    stop = _stop_on_signals()
    try:
        async with redirect_listener(options.port, attempt.state) as listener:
            _show(attempt.url(block.authorization_server, block.client_id, block.scopes), attempt, options)
            redirected = await _answer(listener, stop, options.timeout)
            if redirected.code is None:
                said = ": ".join(text for text in (redirected.error, redirected.description) if text)
                raise _Exit(f"not connected, Pleo says {said}", NOT_CONNECTED)
            tokens = await _tokens(block, redirected.code, attempt)
            # From here on nothing stops it: the code is spent, and what it brought is to be kept.
            block.access_token, block.refresh_token = SecretStr(tokens.access), SecretStr(tokens.refresh)
            await _save(block, options.name, saved)
    except PortInUse as error:
        raise _Exit(f"{error}; end what listens there, or choose another with --port", USAGE) from None
    print(f"saved pleo-oauth/{options.name} for {block.base_url}", flush=True)
    await _try(block)
    print(f"Connected. Export with: python -m flows.export --pleo pleo-oauth/{options.name}", flush=True)
    return CONNECTED


async def _saved(name: str) -> PleoOAuth | None:
    """The block of that name, if there is one; whatever else is wrong is said before the user does anything."""
    try:
        block: PleoOAuth = await PleoOAuth.aload(name)
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise _Exit(f"block pleo-oauth/{name} cannot be read ({type(error).__name__})", USAGE) from None
    except Exception as error:
        raise _Exit(
            f"block pleo-oauth/{name} cannot be read ({type(error).__name__}): does Prefect's server answer, with the "
            "encryption key that it was saved with?",
            USAGE,
        ) from error
    return block


def _block(options: argparse.Namespace, saved: PleoOAuth | None) -> PleoOAuth:
    """The block to be: what is given now, else what is saved. Raises _Exit with a line that says what to give."""
    values: dict[str, Any] = {}
    if saved is not None:
        names = ("base_url", "auth_url", "client_id", "client_secret", "client_auth", "scopes")
        values = {name: getattr(saved, name) for name in names}
    given = {
        "base_url": STAGING_URL if options.staging else options.base_url,
        "auth_url": options.auth_url,
        "client_id": options.client_id,
        "client_auth": options.client_auth,
        "scopes": options.scopes,
    }
    if given["base_url"] is not None:
        values.pop("auth_url", None)  # it belongs to the other address
    if given["client_id"] is not None and given["client_id"] != values.get("client_id"):
        values.pop("client_secret", None)
    values |= {name: value for name, value in given.items() if value is not None}
    if "client_id" not in values:
        raise _Exit("give --client-id, as nothing is saved under this name yet", USAGE)
    if secret := os.environ.get(SECRET_VARIABLE, "").strip():
        values["client_secret"] = secret
    elif "client_secret" not in values:
        values["client_secret"] = _asked_secret()
    try:
        return PleoOAuth(**values)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_context=False)[0]
        field = "--" + str(problem["loc"][0]).replace("_", "-") if problem["loc"] else ""
        name = SECRET_VARIABLE if field == "--client-secret" else field
        line = problem["msg"].removeprefix("Value error, ")
        raise _Exit(f"{name}: {line}" if name else line.replace("auth_url", "--auth-url"), USAGE) from None


def _asked_secret() -> str:
    if not sys.stdin.isatty():
        return ""
    try:
        return getpass.getpass("Client secret (hidden; press Enter for a public client): ")
    except EOFError:
        return ""


def _show(url: str, attempt: AuthorizationRequest, options: argparse.Namespace) -> None:
    print(f"Open this address in a browser on this machine, and allow the access:\n\n  {url}\n")
    print(f"Waiting for the answer at {attempt.redirect_uri} (Ctrl-C ends it).", flush=True)
    if not options.no_browser and _has_a_screen():
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()  # some return when they are closed


def _has_a_screen() -> bool:
    """Whether a browser would have a window; one in the terminal would take ours."""
    return os.name == "nt" or sys.platform == "darwin" or any(map(os.environ.get, _SCREENS))


def _stop_on_signals() -> asyncio.Future[int]:
    """Done by SIGINT and SIGTERM, so that neither falls between a code and the saving of what it brings."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # without, Ctrl-C is a KeyboardInterrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, stop, int(number))
    return stop


def _stop(stop: asyncio.Future[int], number: int) -> None:
    if not stop.done():
        stop.set_result(number)


async def _answer(listener: RedirectListener, stop: asyncio.Future[int], timeout_s: float) -> Redirect:
    waited_for: list[asyncio.Future[Any]] = [listener.answer, stop]
    await asyncio.wait(waited_for, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if listener.answer.done():
        return listener.answer.result()
    if stop.done():
        raise _Exit("stopped, nothing was saved", 128 + stop.result())
    raise _Exit(f"not connected, nobody answered within {timeout_s:g} seconds", NOT_CONNECTED)


async def _tokens(block: PleoOAuth, code: str, attempt: AuthorizationRequest) -> Tokens:
    try:
        return await exchange(block.registration, code, attempt.verifier, attempt.redirect_uri)
    except (PleoError, TokensRefused, TokensNotAsked, TokensUnknown) as error:
        raise _Exit(
            f"not connected, Pleo gave no access for its code ({error}); run this again", NOT_CONNECTED
        ) from None


async def _save(block: PleoOAuth, name: str, saved: PleoOAuth | None) -> None:
    """Save the block, while no run renews what it replaces."""
    try:
        async with renewal_lock(str(saved._block_document_id if saved is not None else name)):
            await block.save(name, overwrite=True)
    except PleoError as error:
        raise _Exit(f"not connected, the access was not saved: {error}", NOT_CONNECTED) from None
    except Exception as error:
        raise _Exit(
            f"not connected, Prefect did not save the access ({type(error).__name__})", NOT_CONNECTED
        ) from error


async def _try(block: PleoOAuth) -> None:
    """A call that changes nothing, where the scopes allow one."""
    if "export-jobs:read" not in block.scopes.split():
        return
    try:
        async with block.get_client() as client:
            await client.list_jobs()
    except PleoError as error:
        raise _Exit(f"the access is saved, but does not work: {error}", NOT_CONNECTED) from None


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, not {text}")
    return number


def _seconds(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of seconds, 1 or more, not {text}")
    return number


def _set_up_logging() -> None:
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        setup_logging()  # or Prefect would tell of the temporary server that it starts where there is none
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
