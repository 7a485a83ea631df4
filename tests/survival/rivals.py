"""Runs of the export in processes of their own, beside each other: in one ledger, or in an ERP without a lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command_line import Shell
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.pleo.watched_pleo import Watched
from tests.support.processes import PrefectServer

WITHIN_S = 180
"""How long a run may take before a test takes it for hanging."""

SMALL_ERP = ("--erp", "small-erp/of-tests")


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit status, the jobs of its JSON document, and what it said on standard error."""

    status: int
    jobs: list[dict[str, Any]]
    said: str

    @property
    def job(self) -> dict[str, Any]:
        (job,) = self.jobs
        return job


class Run:
    """One `--json` run in a process, and in a process group, of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def stop(self) -> None:
        """Have it hold still, wherever it is."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Have it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.communicate(timeout=WITHIN_S)

    def ended(self) -> Ended:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=WITHIN_S)
        assert "Traceback" not in err, err
        return Ended(self.process.returncode, json.loads(out)["jobs"], err)


class Rivals:
    """Starts runs on one Pleo through one Prefect server. All of them are gone after the context."""

    def __init__(self, pleo: Watched, server: PrefectServer, folder: Path, erp: SmallErpServer | None = None) -> None:
        self.pleo = pleo
        self._shell = Shell(pleo, server, folder)
        self.environment = self._shell.environment
        if erp is not None:
            self.environment["SMALL_ERP_URL"] = erp.base_url
        self._runs: list[Run] = []

    def start(self, *arguments: str) -> Run:
        """A run in the ledger."""
        return self._kept(self._shell.start("--json", *arguments))

    def start_remote(self, *arguments: str) -> Run:
        """A run in the small ERP."""
        command = [sys.executable, "-m", "tests.survival.small_erp_export", "--json", *SMALL_ERP, *arguments]
        return self._kept(self._started(command))

    def _started(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self._shell.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _kept(self, process: subprocess.Popen[str]) -> Run:
        self._runs.append(Run(process))
        return self._runs[-1]

    def end(self) -> None:
        """End what still runs, stopped ones too."""
        for run in self._runs:
            with suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)
            run.process.communicate(timeout=WITHIN_S)


@contextmanager
def rivals(pleo: Watched, server: PrefectServer, folder: Path, erp: SmallErpServer | None = None) -> Iterator[Rivals]:
    """See `Rivals`."""
    made = Rivals(pleo, server, folder, erp)
    try:
        yield made
    finally:
        made.end()


def save_small_erp_block(server: PrefectServer) -> None:
    """Save the block of the small ERP, which stays on the server."""
    command = [sys.executable, "-m", "tests.survival.small_erp_export", "save"]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stderr


class Meeting:
    """Where `many` requests wait for each other: as what happens before each of them."""

    def __init__(self, many: int) -> None:
        self._barrier = threading.Barrier(many)

    def __call__(self) -> None:
        """Wait for the others."""
        self._barrier.wait(WITHIN_S)
