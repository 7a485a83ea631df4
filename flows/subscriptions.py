"""The command line of `python -m flows.webhook`, and its commands on the subscriptions at Pleo."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn
from urllib.parse import urlsplit

from blocks.collection import load_pleo_block
from blocks.pleo.credentials import credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError, PleoError, PleoNotFound, PleoRejected
from blocks.pleo.fields import canonical_uuid
from blocks.pleo.http.subscriptions import JOB_CREATED, Subscription, Subscriptions
from blocks.text import one_line
from flows.outcome import JOB_FAILED, OK, USAGE

DEPLOYMENT = "pleo-export/webhook"
HOST, PORT = "127.0.0.1", 4280
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVENT = re.compile(r"[A-Za-z0-9._-]{1,80}")
_EPILOG = (
    "exit status: 0 served until a signal came, or done; 1 Pleo did not answer; 2 wrong usage or configuration, "
    "nothing was done."
)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of the webhook. Without a `command` it is served."""

    command: str | None
    deployment: str = DEPLOYMENT
    host: str = HOST
    port: int = PORT
    inbox: Path | None = None
    pleo: str | None = None
    url: str = ""
    id: str = ""
    secret_file: Path | None = None
    events: tuple[str, ...] = (JOB_CREATED,)


class SecretFileError(ValueError):
    """The file for a secret cannot be made; one line for the user."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, and the status for wrong usage."""
        self.exit(USAGE, f"webhook: {message} (--help lists the options)\n")


def parse(arguments: Sequence[str]) -> Options:
    """The options; ends the process with status 2 and one line where they cannot be used."""
    parser = _Parser(
        prog="python -m flows.webhook",
        description="Receive Pleo's webhook, and start the export of the company and job that it tells of.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--deployment", default=DEPLOYMENT, metavar="FLOW/NAME", help="what is started (%(default)s)")
    add("--host", default=HOST, help="address to listen on (%(default)s)")
    add("--port", type=_port, default=PORT, help="port to listen on, 0 for any (%(default)s)")
    inbox = "keeps deliveries until Prefect has their runs (pleo-webhook.sqlite in PREFECT_HOME)"
    add("--inbox", type=Path, metavar="FILE", help=inbox)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    subscribe = commands.add_parser("subscribe", help="make a subscription at Pleo", allow_abbrev=False)
    subscribe.add_argument("url", metavar="URL", type=_url, help="where Pleo is to deliver: https://HOST/pleo")
    subscribe.add_argument("--event", action="append", type=_event, dest="events", help=f"event ({JOB_CREATED})")
    listed = commands.add_parser("list", help="list the subscriptions at Pleo", allow_abbrev=False)
    delete = commands.add_parser("delete", help="delete a subscription at Pleo", allow_abbrev=False)
    secret = commands.add_parser("secret", help="fetch the secret of a subscription", allow_abbrev=False)
    for one in (delete, secret):
        one.add_argument("id", metavar="ID", type=_id, help="the subscription's id")
    for one in (subscribe, secret):
        one.add_argument("--secret-file", metavar="FILE", type=Path, required=True, help="new file for its secret")
    for one in (subscribe, listed, delete, secret):
        one.add_argument("--pleo", metavar="NAME", help="block with the Pleo credentials (else the environment's)")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    if "/" not in given["deployment"]:
        parser.error("--deployment takes FLOW/NAME, such as pleo-export/webhook")
    if "events" in given:
        given["events"] = tuple(dict.fromkeys(given["events"]))
    return Options(**{"command": None, **given})


def _port(value: str) -> int:
    if not (value.isdecimal() and value.isascii() and int(value) <= 65535):
        raise argparse.ArgumentTypeError(f"{value!r} is no port: use 0 to 65535")
    return int(value)


def _id(value: str) -> str:
    try:
        return canonical_uuid(value.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _event(value: str) -> str:
    if not _EVENT.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} is no event: it should look like {JOB_CREATED}")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.username is None and not parts.fragment and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not (value.isascii() and value.isprintable()) or " " in value:
        raise argparse.ArgumentTypeError(f"{one_line(value, 100)!r}: it should look like https://export.example/pleo")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise argparse.ArgumentTypeError(f"{one_line(value, 100)!r}: Pleo delivers over https alone")
    return value


async def administer(options: Options, environment: Mapping[str, str]) -> int:
    """Carry out the command on the subscriptions at Pleo; prints what came of it and returns the exit status."""
    try:
        opened = await load_pleo_block(options.pleo) if options.pleo else credentials_from_environment(environment)
        async with opened.get_client() as client:
            await _carry_out(options, Subscriptions(client))
    except PleoNotFound:
        return _said(f"Pleo has no subscription {options.id}, or not any more", USAGE)
    except (PleoConfigurationError, PleoRejected, SecretFileError) as error:
        return _said(str(error), USAGE)
    except PleoError as error:
        return _said(str(error), JOB_FAILED)
    return OK


async def _carry_out(options: Options, subscriptions: Subscriptions) -> None:
    match options.command:
        case "subscribe":
            await _subscribe(options, subscriptions)
        case "list":
            found = await subscriptions.all()
            for one in found:
                print(_shown(one))
            if not found:
                print("no subscription")
        case "delete":
            await subscriptions.delete(options.id)
            print(f"deleted subscription {options.id}")
        case _:
            with _new_file(options.secret_file) as file:
                file.write((await subscriptions.secret(options.id)).get_secret_value() + "\n")
            print(f"the secret of subscription {options.id} is in {options.secret_file}")


async def _subscribe(options: Options, subscriptions: Subscriptions) -> None:
    """One subscription for the URL, its secret in a file that only its owner can read, and on no screen."""
    with _new_file(options.secret_file) as file:  # before anything is made at Pleo
        for one in await subscriptions.all():
            if one.endpoint_url == options.url and one.status.upper() != "INACTIVE":
                raise SecretFileError(f"Pleo delivers to {options.url} already: subscription {one.id}")
        made = await subscriptions.make(options.url, options.events)
        print(f"made {_shown(made)}")
        try:
            file.write((await subscriptions.secret(made.id)).get_secret_value() + "\n")
        except PleoError as error:
            raise SecretFileError(
                f"the subscription was made, and its secret did not come ({error}): "
                f"python -m flows.webhook secret {made.id} --secret-file {options.secret_file}"
            ) from None
    print(f"its secret is in {options.secret_file}: the webhook reads it from PLEO_WEBHOOK_SECRET")


@contextmanager
def _new_file(path: Path | None) -> Iterator[IO[str]]:
    """A new file that only its owner can read, gone again where the block fails. Raises SecretFileError."""
    if path is None:
        raise SecretFileError("--secret-file: name a file")
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        raise SecretFileError(f"--secret-file {path}: it is there already, and is not written over") from None
    except OSError as error:
        raise SecretFileError(f"--secret-file {path}: {error.strerror or 'it cannot be made'}") from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _shown(one: Subscription) -> str:
    events = ", ".join(one_line(event, 80) for event in one.event_types[:20])
    return f"subscription {one.id} {one_line(one.status, 20)}: {events} to {one_line(one.endpoint_url, 300)}"


def _said(line: str, status: int) -> int:
    print(f"webhook: {line}", file=sys.stderr)
    return status
