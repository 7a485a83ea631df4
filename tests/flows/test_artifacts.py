"""What Prefect's UI shows of a job: harmless, by the names that people know, and whatever Prefect's server does."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import time
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from flows import artifacts
from flows.artifacts import MAX_ARTIFACT_ROWS, OnlyForShow, table_cell
from flows.monitoring import state_of_run
from flows.outcome import JOB_FAILED, Ending, JobReport, RunReport
from flows.pictures import WIDTH
from flows.stop import Stop
from tests.support.pleo.hostile_json import TEXTS
from tests.support.pleo.hostile_pleo import assert_presentable
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import COMPANY_ID, WHY, bill_of, booked, entry_of, job_of, run_of, unbooked

SVG = "{http://www.w3.org/2000/svg}"


class Links(HTMLParser):
    """The tags of a document, and where its links lead."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str | None] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name == "href"]


def test_the_table_of_failed_items_begins_with_the_link_and_is_told_as_people_know_the_expense() -> None:
    (row,) = artifacts.failure_table(job_of([booked(1), unbooked(2)]))
    assert list(row) == ["in Pleo", "date", "supplier", "amount", "employee", "reason", "type", "accounting entry"]
    assert list(row.values()) == [
        "https://app.pleo.io/expenses/1", "2026-10-05", "DSB", "89.95 DKK", "Ann Example", WHY.reason,
        "validation_failure", entry_id(2),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["J.D. Rent-a-Car (Oslo) #4 *new*", "A_b + C & D: 50 % [net]", "2 < 3 > 1 | x", "~$!"])
def test_a_usual_text_stands_in_a_table_as_it_is(text: str) -> None:
    assert table_cell(text) == text


CELL_TAGS = {"p", "em", "strong", "code", "pre", "ul", "ol", "li", "s", "blockquote", "hr"}
READERS = [MarkdownIt("commonmark", {"html": True}).enable("table"), MarkdownIt("gfm-like", {"linkify": False})]
WORSE = (
    "[x](http://evil.example)", "![x](http://evil.example/x.png)", "[x]: http://evil.example", "<http://evil.example>",
    "[x][y] [y]:http://evil.example", "[![x](//evil.example/x.png)](//evil.example)", "<a href=//evil.example>x</a>",
    "<!-- x", "</td><svg/onload=alert(1)>", "<![CDATA[x]]>", "<?x?>",
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=["commonmark", "gfm"])
def test_no_html_link_or_image_can_come_of_a_hostile_text_in_a_table_where_cells_are_markdown(
    reader: MarkdownIt,
) -> None:
    cells = [table_cell(text) for text in (*TEXTS, *WORSE)]
    for cell in cells:
        page = Links(reader.render(cell))
        assert page.tags <= CELL_TAGS, cell


def test_the_summary_links_the_first_failures_to_pleo_and_to_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [unbooked(1, pleo_url="https://app.pleo.io/a_(b)_*c*"), unbooked(2, pleo_url="javascript:alert(1)")]
    rows += [unbooked(3, supplier=text, employee=text, reason=text, pleo_url=text) for text in (*TEXTS, *WORSE)]
    monkeypatch.setattr("flows.artifacts.FIRST_FAILURES", len(rows) - 1)
    summary = artifacts.summary_markdown(job_of(rows))
    for reader in READERS:
        page = Links(reader.render(summary))
        assert page.tags <= {"h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "strong", "a"}
        assert page.addresses == ["https://app.pleo.io/a_(b)_*c*"]
    assert "… and 1 more, in the table" in summary


class Server:
    """Stands for the calls of Prefect's server, and does as it is told with the first or with all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published: list[tuple[str | None, Any]] = []
        self.told: list[str] = []
        self.hangs = self.fails = False
        for name in ("acreate_markdown_artifact", "acreate_table_artifact"):
            monkeypatch.setattr(f"flows.artifacts.{name}", self._publish)
        monkeypatch.setattr("flows.artifacts.SHOW_WITHIN_S", 0.05)

    async def _publish(self, data: Any, *, description: str, key: str | None = None) -> None:
        if self.hangs:
            await asyncio.sleep(60)
        if self.fails:
            raise RuntimeError("Service\nUnavailable")
        self.published.append((key, data))
        self.told.append(description)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


async def test_a_job_has_a_card_of_its_company_and_all_else_stands_with_the_run(server: Server) -> None:
    job = job_of(unbooked(n) for n in range(MAX_ARTIFACT_ROWS + 1))
    await artifacts.publish(job)
    await artifacts.publish_run(run_of(job))
    (card, _), (_, table), (_, run) = server.published
    assert [key for key, _ in server.published] == [f"pleo-export-{COMPANY_ID[:8]}", None, None]
    assert card == f"pleo-export-{COMPANY_ID[:8]}"
    assert len(table) == MAX_ARTIFACT_ROWS
    assert server.told[0] == f"Job {job.job_id[:8]} completed with errors: 0 booked, {MAX_ARTIFACT_ROWS + 1} failed."
    assert "**completed with errors**" in run


async def test_a_dry_run_has_a_card_of_its_own_and_every_posting_in_a_table(server: Server) -> None:
    rows = [booked(1), booked(2), unbooked(3)]
    job = job_of(rows, acknowledged=False, dry_run=True)
    job.preview = [entry_of(rows[0]), bill_of(rows[1])]
    await artifacts.publish(job)
    (key, summary), (_, failures), (_, postings) = server.published
    assert key == f"pleo-export-{COMPANY_ID[:8]}-dry-run"
    assert server.told[0] == "Dry run, nothing was changed: 2 would be booked, 1 would fail."
    told = summary.replace("\\", "")
    assert "Nothing was changed, in Pleo or in the books" in told
    assert "| Currency | Would be booked |" in told
    assert "| DKK | 179.90 |" in told
    assert "Reported" not in told
    assert "| Books |" not in told
    assert "| 6010 | Travel | 143.92 | 0.00 | DKK |" in told
    assert len(failures) == 1
    assert len(postings) == 3 + 5
    assert postings[0] == {
        "in Pleo": "https://app.pleo.io/expenses/1", "date": "2026-10-05", "expense": "card_purchase: DSB BOOK",
        "document": "", "account": "6010 Travel", "debit": "71.96", "credit": "", "currency": "DKK", "tax code": "I25",
        "dimensions": "project P-17, team Sales", "accounting entry": entry_id(1),
    }  # fmt: skip
    assert list(postings[0])[:5] == ["date", "account", "debit", "credit", "currency"]
    assert postings[-1]["document"] == "payment · V1 DSB A/S · INV-7"
    assert (postings[-1]["debit"], postings[-1]["credit"]) == ("", "89.95")


async def test_a_dry_run_of_a_job_that_would_fail_is_no_run_that_failed_but_one_that_broke_is() -> None:
    stop = Stop()
    states = {}
    for ending in (Ending.FAILED, Ending.UNFINISHED):
        report = run_of(job_of([unbooked(1)], dry_run=True, ending=ending))
        assert report.exit_status == JOB_FAILED
        states[ending] = await state_of_run(report, stop, None, jobs_are_runs=True)
    assert (states[Ending.FAILED].type.value, states[Ending.FAILED].name) == ("COMPLETED", "DryRun")
    assert (states[Ending.UNFINISHED].type.value, states[Ending.UNFINISHED].name) == ("FAILED", "JobsFailed")


async def test_of_a_large_dry_run_the_first_lines_are_shown_and_it_says_where_all_are(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.artifacts.MAX_POSTING_LINES", 7)
    rows = [booked(n) for n in range(5)]
    job = job_of(rows, acknowledged=False, dry_run=True)
    job.preview = [entry_of(row) for row in rows]
    await artifacts.publish(job)
    assert len(server.published[-1][1]) == 7
    assert "The first 7 of 15 lines: the parameter report writes a page with every posting" in server.told[-1]


def test_no_posting_of_a_hostile_text_is_more_than_text() -> None:
    rows = [booked(n) for n in range(len(TEXTS))]
    job = job_of(rows, dry_run=True)
    job.preview = [entry_of(row, description=text) for row, text in zip(rows, TEXTS, strict=True)]
    for line in artifacts.posting_table(job):
        for cell in line.values():
            assert Links(READERS[0].render(cell)).tags <= CELL_TAGS, cell
            assert_presentable(cell or "-", 1000)


def test_the_picture_shows_what_became_of_the_items_and_of_the_money() -> None:
    rows = [booked(1), booked(2, found=True), unbooked(3), unbooked(4, currency="EUR")]
    drawing = _picture(job_of(rows, already_final=4))
    labels = [text.text for text in drawing.iter(f"{SVG}text")]
    assert labels == [
        "1 booked, 1 found in the books, 2 failed, 4 final before this run",
        "DKK: amounts booked and failed",
        "EUR: amounts booked and failed",
    ]
    dry = _picture(job_of(rows, dry_run=True))
    assert [text.text for text in dry.iter(f"{SVG}text")][1] == "DKK: amounts that would be booked, and would fail"
    bars = [(int(one.get("x", "")), int(one.get("width", ""))) for one in drawing.iter(f"{SVG}rect")]
    assert bars[:4] == [(0, 125), (125, 125), (250, 250), (500, 500)]
    assert bars[4:] == [(0, 666), (666, 333), (0, WIDTH)]
    assert {one.tag for one in drawing.iter()} == {f"{SVG}svg", f"{SVG}text", f"{SVG}rect"}


def _picture(job: JobReport) -> ET.Element:
    """The picture in the job's summary."""
    (found,) = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", artifacts.summary_markdown(job))
    return ET.fromstring(base64.b64decode(found))


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
async def test_a_server_that_does_not_take_artifacts_costs_no_job_and_little_time_and_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    setattr(server, trouble, True)
    only_for_show, started = OnlyForShow(), time.monotonic()
    with caplog.at_level(logging.WARNING):
        await artifacts.publish(job_of([unbooked(1)]), only_for_show)
        await artifacts.publish_run(RunReport(), only_for_show)
    assert time.monotonic() - started < 5
    (record,) = caplog.records
    assert record.getMessage() == "The Prefect UI does not show all of this run: " + (
        "TimeoutError" if trouble == "hangs" else "RuntimeError Service Unavailable"
    )
    assert record.exc_info is None


async def test_whoever_ends_the_run_is_heard_while_an_artifact_waits(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.artifacts.SHOW_WITHIN_S", 60)
    server.hangs = True
    task = asyncio.create_task(artifacts.publish(job_of([])))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
