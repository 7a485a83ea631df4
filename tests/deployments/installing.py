"""What the tests of the deployment share: commands of the README, and questions to the Prefect server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from processes import ROOT, PrefectServer


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
        answer = httpx.get(address, trust_env=False) if question is None else httpx.post(address, json=question)
        return answer.raise_for_status().json()


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
