"""Runs in Tryton's environment beside the tests: asks PostgreSQL for them, and clears away what they leave behind.

Standard input brings one pickled request after another, each a tuple of its name and arguments, and standard output
takes the answers, each a pair of "ok" or "error" and the value or a text. When the input ends, the watched processes
are ended and the folder is removed: so nothing stays behind even when the tests were killed.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

PATIENCE = "-c lock_timeout=10s -c statement_timeout=120s"
END_S = 10.0
watched: dict[int, int] = {}
held: list[psycopg.Connection[Any]] = []


def sql(socket_folder: str, database: str, query: str, parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a query, each in a transaction of its own; none where it gives none."""
    with _connect(socket_folder, database) as connection:
        connection.autocommit = True
        cursor = connection.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def hold(socket_folder: str, database: str, query: str, parameters: Any) -> tuple[int, list[tuple[Any, ...]]]:
    """The rows of a query whose transaction stays open, and the number by which it is released."""
    connection = _connect(socket_folder, database)
    try:
        cursor = connection.execute(query, parameters or None)
        rows = cursor.fetchall() if cursor.description else []
    except psycopg.Error:
        connection.close()
        raise
    held.append(connection)
    return len(held) - 1, rows


def release(number: int) -> None:
    """Commit it."""
    held[number].commit()
    held[number].close()


def watch(pid: int, by_signal: int) -> None:
    """End this process with that signal when the input ends."""
    watched[pid] = by_signal


def forget(pid: int) -> None:
    """It has ended."""
    watched.pop(pid, None)


def _connect(socket_folder: str, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(host=socket_folder, user="tryton", dbname=database, options=PATIENCE)


def main(folder: str) -> None:
    """Answer until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    requests = {function.__name__: function for function in (sql, hold, release, watch, forget)}
    while True:
        try:
            name, *arguments = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            break
        answer: tuple[str, Any]
        try:
            answer = ("ok", requests[name](*arguments))
        except psycopg.Error as error:
            answer = ("error", str(error))
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    clear_away(folder)


def clear_away(folder: str) -> None:
    """End what is still watched, and remove the folder once it has gone."""
    for pid, by_signal in watched.items():
        with suppress(ProcessLookupError):
            os.kill(pid, by_signal)
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in watched):
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
