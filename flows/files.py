"""The files that a run writes when it is asked to: the results as a table, and the page for people.

Each is written under another name beside its own and renamed when it is whole, and only its owner may read it. Whether
it can be written is looked at before anything is done: what is exported is not exported again for its report.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.text import one_line
from flows.outcome import JOB_FAILED, RunReport
from flows.page import page
from flows.results_file import WRITERS, results_of_run

log = logging.getLogger(__name__)

RESULTS = tuple(WRITERS)
PAGE = (".html", ".htm")


class FileError(ValueError):
    """A file that cannot be written, in one line."""


def check_file(path: Path, endings: tuple[str, ...]) -> None:
    """Raise FileError unless a file of one of these endings (`RESULTS`, `PAGE`) can be written there."""
    ending, name = path.suffix.lower(), _shown(path)
    if ending not in endings:
        raise FileError(f"{name}: the file's name has to end in {' or '.join(endings)}")
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise FileError(f"{name}: a .parquet file needs pyarrow: python -m pip install pyarrow")
    try:
        if path.is_dir():
            raise FileError(f"{name}: it is a folder")
        path.parent.stat()
        with _beside(path):
            pass
    except OSError as error:
        raise FileError(f"{name}: {_why(error)}") from None


def check_files(results: str | None, page_path: str | None) -> None:
    """Raise FileError unless what was asked for can be written."""
    for path, endings in ((results, RESULTS), (page_path, PAGE)):
        if path is not None:
            check_file(Path(path), endings)


def write_results(path: Path, report: RunReport) -> None:
    """Write the results DataFrame of all jobs, as CSV, Excel workbook or Parquet by the ending. Raises FileError."""
    frame = results_of_run(report)
    with _replaced(path) as new:
        WRITERS[path.suffix.lower()](frame, new)


def write_page(path: Path, report: RunReport) -> None:
    """Write the page for people. Raises FileError."""
    with _replaced(path) as new, new.open("w", encoding="utf-8") as file:
        file.writelines(page(report))


def write_files(report: RunReport, results: str | None, page_path: str | None) -> None:
    """Write what was asked for. For a file that cannot be written the report gets a line and a status."""
    for name, write in ((results, write_results), (page_path, write_page)):
        if name is None:
            continue
        path = Path(name)
        try:
            write(path, report)
        except FileError as error:
            why = str(error)
        except Exception as error:
            log.exception("Unexpected in writing a file")
            unforeseen = f"something unforeseen ({type(error).__name__}), the log has the cause"
            why = f"{_shown(path)} could not be written: {unforeseen}"
        else:
            continue
        report.say(f"{why}; what was done stands in Pleo and in the books", JOB_FAILED)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A new file, which takes the place of the one at `path` when the block ends well. Raises FileError."""
    try:
        with _beside(path) as new:
            yield new
            with new.open("rb") as file:
                os.fsync(file.fileno())
            new.replace(path.resolve())  # where a link leads, and not in the link's place
    except OSError as error:
        raise FileError(f"{_shown(path)} could not be written: {_why(error)}") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file of no bytes in the folder of `path`, gone afterwards unless it was renamed."""
    folder = path.resolve().parent
    handle, name = tempfile.mkstemp(prefix=".pleo-export-", suffix=path.suffix, dir=folder)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _shown(path: Path) -> str:
    return one_line(str(path), 300)


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else one_line(str(error), 200)
