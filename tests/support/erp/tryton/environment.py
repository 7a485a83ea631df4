"""Where Tryton for the tests is kept: a cache folder, and in it an environment of its own, installed by pip.

Everything in the cache is named by a hash of what it is made from, made under another name and renamed when it is
whole, and made by one process at a time. What is half made is never used.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
CACHE_VARIABLE = "PLEO_EXPORT_TRYTON_CACHE"
POSTGRES_MARK = "# PostgreSQL from PyPI"
NEEDED_MB = 500
UNUSED_S = 7 * 24 * 3600.0
FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


class TrytonUnavailable(Exception):
    """Tryton cannot be brought up on this machine; the message is one sentence that says what is missing."""


def cache_folder() -> Path:
    """The folder that keeps what was prepared, from `PLEO_EXPORT_TRYTON_CACHE` or the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().resolve()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "pleo-export" / "tryton"


def digest(*parts: str | bytes | Path) -> str:
    """A short hash of texts, bytes and the contents of files."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()[:16]


Say = Callable[[str], object]
"""Told what takes long, in words for people."""

TAKES = {"environment": "20 seconds", "package": "20 seconds", "company": "a minute", "module": "20 seconds"}


def say_nothing(_: str) -> None:
    """For those whom nobody watches."""


def write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)


def kept(
    cache: Path, kind: str, key: str, make: Callable[[Path], None], say: Say = say_nothing, *, product: str = "Tryton"
) -> Path:
    """The folder `kind`-`key` of the cache, made by `make` in a folder of another name where it is not there yet.

    `product` is what the cache is of. Raises TrytonUnavailable where the cache cannot be written or is full.
    """
    folder = cache / f"{kind}-{key}"
    try:
        if not _is_there(folder):
            with _locked(cache):
                if not _is_there(folder):  # now that others are done
                    _tidy(cache, kind)
                    _require_space(cache, product)
                    say(f"{product} for the tests: making the {kind} once, which takes {TAKES.get(kind, 'a while')} …")
                    _make(folder, make)
    except OSError as error:
        of_the_cache = error.errno in NOT_WRITABLE and str(error.filename).startswith(str(cache))
        if error.errno in FULL or of_the_cache:
            raise TrytonUnavailable(f"{cache} cannot be written: {error.strerror}") from error
        raise
    return folder


def environment(
    cache: Path,
    *,
    with_postgres: bool,
    requirements: Path = REQUIREMENTS,
    say: Say = say_nothing,
    product: str = "Tryton",
) -> Path:
    """The Python of an environment with Tryton, or what else is required, and with PostgreSQL if asked for.

    Raises TrytonUnavailable where pip cannot install it.
    """
    wanted = requirements.read_text()
    if not with_postgres:
        wanted = wanted.partition(POSTGRES_MARK)[0]
    python = f"{platform.python_implementation()} {sys.version_info[:2]} {sys.base_prefix} {platform.machine()}"

    def make(folder: Path) -> None:
        (folder / "requirements.txt").write_text(wanted)
        _run([sys.executable, "-m", "venv", str(folder)], "an environment cannot be made with Python's venv")
        required = ("-r", str(folder / "requirements.txt"))
        pip_install(folder / "bin" / "python", "--no-compile", "--no-deps", *required, product=product)

    return kept(cache, "environment", digest(wanted, python), make, say, product=product) / "bin" / "python"


def pip_install(python: Path, *arguments: str, product: str = "Tryton") -> None:
    """Install with pip into that Python's environment. Raises TrytonUnavailable with what pip said at last."""
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "2", *arguments]
    _run(command, f"pip cannot install {product}, which needs a package index")


def _run(command: list[str], otherwise: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
        raise TrytonUnavailable(f"{otherwise}: {said[-1] if said else f'exit status {done.returncode}'}")


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(mode=0o700)
    try:
        make(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_there(folder: Path) -> bool:
    """Whether it is whole; its time says when it was last used."""
    if not folder.is_dir():
        return False
    with suppress(OSError):  # a cache that can only be read will do
        os.utime(folder)
    return True


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tidy(cache: Path, kind: str) -> None:
    """Remove what others left half made (who holds the lock is the only one at work), and what nobody uses any more."""
    unused = [path for path in cache.glob(f"{kind}-*") if path.stat().st_mtime < time.time() - UNUSED_S]
    for path in {*cache.glob("*.partial"), *unused}:
        shutil.rmtree(path)


def _require_space(cache: Path, product: str) -> None:
    free_mb = shutil.disk_usage(cache).free // 1_000_000
    if free_mb < NEEDED_MB:
        raise TrytonUnavailable(f"{product} needs {NEEDED_MB} MB in {cache}, where {free_mb} MB are free")
