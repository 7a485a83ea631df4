"""What the tests of the deployment share: commands of the README, and questions to the Prefect server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import ROOT, PrefectServer, until


def asked(call: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer of the Prefect server, whose database takes one writer at a time and says 503 while it is busy."""

    def answered() -> httpx.Response | None:
        answer = call()
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

    answer = until(answered, within_s=60, otherwise="the server stayed busy")
    assert answer is not None
    # What an earlier try has deleted is not found any more.
    assert answer.is_success or answer.status_code == httpx.codes.NOT_FOUND, answer.text
    return answer


@dataclass(frozen=True)
class Installation:
    """A Prefect server with our deployment, a Pleo, and where the books will be."""

    server: PrefectServer
    pleo: httpx.Client
    books: Path
    environment: dict[str, str]
    deployment: dict[str, Any]

    def ask(self, path: str, question: dict[str, Any] | None = None) -> Any:
        """What the Prefect server's API answers: to a GET, or to a POST with a question."""
        address = f"{self.server.api_url}/{path}"
        if question is None:
            return asked(lambda: httpx.get(address, trust_env=False)).json()
        return asked(lambda: httpx.post(address, json=question, trust_env=False)).json()


def run(command: Sequence[str], environment: dict[str, str]) -> str:
    """What a command of the README prints, in the repository's root."""
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
