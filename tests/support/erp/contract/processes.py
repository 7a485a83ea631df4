"""Runs in processes of their own, seen from the test that starts and kills them."""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blocks.erp.entries import Entry
from tests.support.erp.contract.child import Work
from tests.support.erp.contract.harness import USUAL, Harness, How
from tests.support.processes import ROOT

WITHIN_S = 60.0


class Run:
    """One such process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._rest = b""

    def line(self) -> str:
        """The next line that it says, or nothing once it has ended. Fails the test where it keeps silent."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + WITHIN_S
        while b"\n" not in self._rest:
            waiting, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert waiting, f"the run said nothing for {WITHIN_S:g} s"
            part = os.read(self._process.stdout.fileno(), 4096)
            if not part:
                return ""
            self._rest += part
        found, _, self._rest = self._rest.partition(b"\n")
        return found.decode()

    def begin(self) -> None:
        """Let it record."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self._process.kill()
        self._process.wait()


@contextmanager
def run_of(harness: Harness, entries: Sequence[Entry], *, portion: int, how: How = USUAL) -> Iterator[Run]:
    """A process that records these entries once it is told to begin. It is gone after the context."""
    work = Work(harness.connection(how), harness.names.company_id, entries, portion)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.erp.contract.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(pickle.dumps(work))
            process.stdin.flush()
            yield Run(process)
        finally:
            process.kill()
