"""`python -m flows.export` as its users run it: a real process, a real Prefect server, a sandbox over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.exporting import Office
from tests.support.processes import PrefectServer

EXPORT = ("-m", "flows.export")


class Shell:
    """Runs the command line in a folder of its own, against one sandbox and one Prefect server."""

    def __init__(self, office: Office, server: PrefectServer, folder: Path) -> None:
        self.office = office
        self.folder = folder
        self.prefix: list[str] = []
        self.environment = {
            **server.environment,
            "PREFECT_HOME": str(folder / "prefect"),
            "PLEO_BASE_URL": office.base_url,
            "PLEO_API_KEY": office.api_key,
        }

    def run(
        self, *arguments: str, command: Sequence[str] = EXPORT, **environment: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; an environment variable of None is unset. `command` is what Python is given to run."""
        process = self.start(*arguments, command=command, **environment)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(
        self, *arguments: str, command: Sequence[str] = EXPORT, **environment: str | None
    ) -> subprocess.Popen[str]:
        """Start a run in a process group of its own."""
        given = {**self.environment, **environment}
        return subprocess.Popen(
            [*self.prefix, sys.executable, *command, *arguments],
            cwd=self.folder,
            env={name: value for name, value in given.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit status and JSON document of a run."""
        done = self.run("--json", *arguments)
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document
