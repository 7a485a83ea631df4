"""Runs that begin at the same time leave each other's receipts alone, whatever they clean up."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.receipts.folder import receipts_folder


def test_a_folder_that_was_just_made_is_not_taken_for_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def use(_: int) -> bool:
        with receipts_folder() as folder:
            (folder / "receipt").write_bytes(b"1")
            return (folder / "receipt").exists()

    with ThreadPoolExecutor(8) as runs:
        assert all(runs.map(use, range(2000)))
    assert list(tmp_path.iterdir()) == []
