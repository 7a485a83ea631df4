"""The command line of `tests.support.erp.odoo.server`: an Odoo to look at, until Ctrl-C."""

from __future__ import annotations

import argparse
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.erp.odoo.prepare import CACHE_VARIABLE, OdooUnavailable, cache_folder
from tests.support.erp.odoo.server import Odoo, OdooServer
from tests.support.erp.tryton.environment import write_secret

USER = "pleo"
DATABASE = "acme"
FAILED, WRONG_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; answers the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if wrong := _wrong(options):
        print(f"{parser.prog}: {wrong}", file=sys.stderr)
        return WRONG_USAGE
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with (
            Odoo(say=lambda text: print(text, file=sys.stderr, flush=True)) as odoo,
            odoo.server(port=options.port or None, name=DATABASE) as server,
            _secrets(server, options.keys or server.log.parent) as files,
        ):
            _say(server, files)
            stop.wait()
    except OdooUnavailable as missing:
        print(f"{parser.prog}: {missing}", file=sys.stderr)
        return FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.erp.odoo.server",
        description="Starts PostgreSQL and Odoo 19 with a prepared Danish company on this machine, and takes all of it "
        f"down at Ctrl-C. What is prepared once is kept in {cache_folder()} ({CACHE_VARIABLE} names another folder).",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=8069, help="on loopback, 0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--keys", type=Path, metavar="FOLDER", help="where key, password and odoo.env are written while it runs"
    )
    return parser


def _wrong(options: argparse.Namespace) -> str | None:
    if not 0 <= options.port <= 65535:
        return f"--port must be from 0 to 65535, not {options.port}"
    if options.keys is not None and not options.keys.is_dir():
        return f"--keys: there is no folder {options.keys}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", options.port))
        except OSError as error:
            return f"--port {options.port}: {error.strerror}"
    return None


@contextmanager
def _secrets(server: OdooServer, folder: Path) -> Iterator[dict[str, Path]]:
    """Files with what nobody else may read, by name: the terminal shows where they are, not what they hold."""
    user = server.company["users"][USER]
    variables = {
        "ODOO_URL": server.base_url,
        "ODOO_DATABASE": server.database,
        "ODOO_COMPANY": server.company["companies"]["acme"]["name"],
        "ODOO_USER": user["login"],
        "ODOO_KEY": user["key"],
    }
    texts = {
        "key": user["key"],
        "password": user["password"],
        "odoo.env": "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()),
    }
    files = {name: folder.absolute() / name for name in texts}
    try:
        for name, text in texts.items():
            write_secret(files[name], text)
        yield files
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)


def _say(server: OdooServer, files: dict[str, Path]) -> None:
    lines = {
        "Odoo": server.base_url,
        "Database": server.database,
        "Company": server.company["companies"]["acme"]["name"],
        "Key": f"in {files['key']}",
        "Login": f"{USER}, with the password in {files['password']}",
        "All of it": f". {files['odoo.env']}",
        "Log": str(server.log),
        "Ctrl-C": "ends it; nothing is kept",
    }
    for name, value in lines.items():
        print(f"{name:<12}{value}")
    sys.stdout.flush()
