"""One export in a process of its own: prints how many MiB it held before, and at most. Linux tells that by VmHWM."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path


def held_mib() -> int:
    """The most that this process has held so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def main(base_url: str, books: str) -> None:
    """Export from there into these books."""
    from blocks.erp.settings import Attachments, ErpSettings
    from tests.support.exporting import Office

    office = Office(None, base_url, Path(books))  # type: ignore[arg-type]  # only its address is needed
    before = held_mib()
    report = asyncio.run(office.export(settings=ErpSettings(attachments=Attachments.SKIP)))
    (job,) = report.jobs
    told = {"before": before, "most": held_mib(), "successful": job.successful, "failed": job.failed}
    print(json.dumps({**told, "ending": job.ending, "reason": job.reason}))


if __name__ == "__main__":
    main(*sys.argv[1:])
