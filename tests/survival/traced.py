"""The real command, as talkative as it can be made, with canaries for secrets; and where it left any of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from tests.support.exporting import Office, office
from tests.support.pleo.canaries import Canary, Search
from tests.support.pleo.quoting_pleo import QuotingPleo, quoting_pleo
from tests.support.processes import ROOT, PrefectServer

KEY = Canary("key", "pleo/Kx7+canary=9&\"q'Z%41w")
IBAN = Canary("IBAN", "DK5000400440116243")
SUPPLIER_IBAN = Canary("supplier's IBAN", "DE89370400440532013000")
LINK = Canary("link", "sig-canary-R4nd0m-Permission")
CANARIES = (KEY, IBAN, SUPPLIER_IBAN, LINK)

TALKATIVE = {
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,blocks",
    "PREFECT_LOGGING_TO_API_ENABLED": "true",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONWARNINGS": "ignore",
}

_EVERYTHING_TO_STANDARD_ERROR = """
import logging
for name in ("httpx", "httpcore", "h11", "asyncio", "anyio"):
    logging.getLogger(name).addHandler(logging.StreamHandler())
    logging.getLogger(name).setLevel(logging.DEBUG)
"""


@dataclass
class Traced:
    """A folder in which commands run, the Pleo that they run against, and all that they have shown so far."""

    folder: Path
    office: Office
    pleo: QuotingPleo
    server: PrefectServer
    shown: list[tuple[str, bytes]] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.server.environment,
            **TALKATIVE,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(self.folder / "talkative"), str(ROOT)]),
            "PLEO_BASE_URL": self.pleo.url,
            "PLEO_API_KEY": KEY.value,
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def start(self, command: Sequence[str], umask: int = -1, **environment: str | None) -> subprocess.Popen[bytes]:
        """Start a Python command in a process group of its own."""
        given = {**self.environment, **environment}
        number = len(self.processes)  # files take what a pipe that nobody reads would not
        with self._output(number, "out").open("wb") as out, self._output(number, "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env={name: value for name, value in given.items() if value is not None},
                umask=umask,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def _output(self, number: int, stream: str) -> Path:
        return self.folder.parent / f"{self.folder.name}-{number}.{stream}"

    def end(self, process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[bytes]:
        """Wait for its end, and keep what it showed; meanwhile its process list is read."""
        over = threading.Event()
        lists: set[bytes] = set()
        ended = process.poll() is not None
        watching = threading.Thread(target=_watch, args=(process.pid, over, lists))
        watching.start()
        try:
            process.wait(timeout=240)
        finally:
            over.set()
            watching.join()
        number = self.processes.index(process)
        out, err = (self._output(number, stream).read_bytes() for stream in ("out", "err"))
        self.shown += [("standard output", out), ("standard error", err), ("the process list", b"\n".join(lists))]
        killed = process.returncode == -signal.SIGKILL  # which leaves no time to read anything
        assert lists or ended or killed, "the process list was never read"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, *arguments: str, **environment: str | None) -> subprocess.CompletedProcess[bytes]:
        """The export as a command, to its end."""
        return self.end(self.start(["-m", "flows.export", *arguments], **environment))

    def driven(self, code: str, **environment: str | None) -> subprocess.CompletedProcess[bytes]:
        """The export under a driver that changes something in it first."""
        ending = "\nimport sys\nfrom flows import export\nsys.exit(export.main([]))\n"
        return self.end(self.start(["-c", code + ending], **environment))

    def finds(self, *more: Canary) -> list[str]:
        """Every canary in whatever was shown, told to Pleo or Prefect, or written down anywhere."""
        search = Search((*CANARIES, *more))
        found = [one for where, content in self.shown for one in search.bytes(where, content)]
        found += search.folder(self.folder)
        found += search.folder(Path(self.server.environment["PREFECT_HOME"]))
        for job in self.office.sandbox.jobs():
            told = repr((job, self.office.sandbox.items(job.id)))
            found += search.bytes("what Pleo was told", told.encode())
        assert search.looked_at > 100_000
        return found

    def stored_pages(self) -> list[Path]:
        """Files of pages that are kept at the moment."""
        return [path for path in (self.folder / "prefect").rglob("pleo-export-pages/*/*") if path.is_file()]


@contextmanager
def traced(folder: Path, server: PrefectServer, **settings: Any) -> Iterator[Traced]:
    """A sandbox with a quoting Pleo before it, whose items carry canaries."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "talkative").mkdir()
    (folder / "talkative" / "sitecustomize.py").write_text(_EVERYTHING_TO_STANDARD_ERROR)
    with office(folder) as at_work, quoting_pleo(at_work.base_url, **settings) as pleo:
        at_work.sandbox.add_credential(KEY.value, [SANDBOX_COMPANY_ID])
        made = Traced(folder, at_work, pleo, server)
        pleo.edit = lambda item: with_canaries(item, pleo.url, at_work.base_url)
        try:
            yield made
        finally:
            for process in made.processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def with_canaries(item: dict[str, Any], pleo_url: str, sandbox_url: str) -> None:
    """Put bank accounts where Pleo has them, and a permission into every link."""
    information = item["additionalInformation"] = item.get("additionalInformation") or {}
    invoice = information["invoiceInformation"] = information.get("invoiceInformation") or {"status": "paid"}
    invoice["supplierBankAccount"] = {
        "iban": IBAN.value, "accountNumber": IBAN.value, "bic": "DABADKKK", "bankName": "Bank", "country": "DK"
    }  # fmt: skip
    if item.get("supplier"):
        item["supplier"]["account"] = SUPPLIER_IBAN.value
    for file in item.get("files") or ():
        path = file["url"].removeprefix(sandbox_url)
        file["url"] = f"{pleo_url}/files{path}?signature={LINK.value}"


def readable_by_others(folder: Path) -> list[str]:
    """The files and folders under it that somebody else than their owner may read."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.lstat().st_mode & 0o077]


def _watch(pid: int, over: threading.Event, lists: set[bytes]) -> None:
    while True:
        try:
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                lists.add(Path(f"/proc/{process.pid}/cmdline").read_bytes())
                assert Path(f"/proc/{process.pid}/environ").stat().st_mode & 0o077 == 0
        except (psutil.Error, OSError):
            pass
        if over.wait(0.05):
            return


assert os.name == "posix"
