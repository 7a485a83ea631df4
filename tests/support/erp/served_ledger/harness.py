"""The ledger behind HTTP as a subscriber, so that the suite's remote half is always run."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from blocks.erp.base import Erp
from tests.support.erp.contract.harness import USUAL, Credentials, How, Lever
from tests.support.erp.ledger_harness import LedgerHarness
from tests.support.erp.served_ledger.client import CHANGING, RemoteLedger
from tests.support.erp.served_ledger.server import Setting
from tests.support.network.fault_proxy import Answer, Seen
from tests.support.processes import ROOT, free_port

if TYPE_CHECKING:
    import pytest

R = TypeVar("R", bound="RemoteLedgerHarness")

_KEYS = {Credentials.GOOD: "key-good", Credentials.WRONG: "key-wrong", Credentials.POWERLESS: "key-powerless"}
_RIGHTS = {"key-good": "all", "key-powerless": "nothing"}


def a_remote_ledger(base_url: str, key: str, **options: Any) -> Erp:
    """The adapter, not opened yet."""
    return RemoteLedger(base_url, key, **options)


class RemoteLedgerHarness(LedgerHarness):
    """A server process on a loopback port, with books in a file of `folder`."""

    levers = frozenset(Lever)
    secrets = tuple(_KEYS.values())
    troubles = (Answer(200, b"<html>Back soon</html>"),)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._keys = folder / "keys.json"
        self._keys.write_text(json.dumps(_RIGHTS))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls: type[R], request: pytest.FixtureRequest, folder: Path) -> Iterator[R]:
        """The server, started and in the end stopped."""
        made = cls(folder)
        made.start()
        try:
            yield made
        finally:
            made.kill()

    @property
    def address(self) -> str:
        """Always the same."""
        return f"http://127.0.0.1:{self._port}"

    def connection(self, how: How = USUAL) -> partial[Erp]:
        """The adapter, not opened yet."""
        options: dict[str, Any] = {"timeout_s": how.timeout_s, "max_attachment_bytes": how.max_attachment_bytes}
        given = {name: value for name, value in options.items() if value is not None}
        return partial(a_remote_ledger, how.address or self.address, _KEYS[how.credentials], **given)

    def may_change(self, seen: Seen) -> bool:
        """By the name of the call."""
        return seen.path.strip("/") in CHANGING

    def start(self) -> None:
        """Start the server and wait until it listens."""
        assert self._process is None
        setting = Setting(self._port, self.path, self._charts, self.names.company_id, self.names.currency, self._keys)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.erp.served_ledger.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(setting))
        process.stdin.close()
        assert process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        """SIGTERM."""
        self._end(lambda process: process.terminate())

    def kill(self) -> None:
        """SIGKILL."""
        self._end(lambda process: process.kill())

    def revoke(self) -> None:
        """Take the good key out of the list."""
        self._keys.write_text(json.dumps({}))

    def _end(self, how: Any) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            assert process.stdout is not None
            how(process)
            process.wait(20)
            process.stdout.close()
