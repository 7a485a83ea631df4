"""What people are told of a run: expenses by the names they know, harmless, and whatever Prefect's server does."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from flows import report
from flows.console import show_run
from flows.outcome import MAX_NOTICES, RunReport
from flows.report import FIRST_FAILURES, MAX_ARTIFACT_ROWS, OnlyForShow, failure_lines, safe_link, table_cell
from flows.results import NOTHING_KNOWN, Row, failed
from tests.support.pleo.hostile_json import TEXTS
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import WHY, booked, facts, job_of, run_of, unbooked


def shown(rows: list[Row], *, terminal: bool = False, width: int = 300) -> str:
    output = io.StringIO()
    show_run([job_of(rows)], Console(file=output, force_terminal=terminal, color_system=None, width=width))
    return output.getvalue()


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


def test_a_failure_is_named_as_people_know_the_expense_and_its_id_comes_last() -> None:
    line = f"  failed 2026-10-05 · DSB · 89.95 DKK · Ann Example: validation_failure: {WHY.reason}  ({entry_id(1)})\n"
    assert line in shown([unbooked(1)])


def test_what_is_not_known_of_an_expense_is_left_out() -> None:
    rows = [failed(entry_id(1), WHY, facts(date=None, employee=None)), failed(entry_id(2), WHY, NOTHING_KNOWN)]
    assert list(failure_lines(job_of(rows))) == [
        f"failed DSB · 89.95 DKK: validation_failure: {WHY.reason}  ({entry_id(1)})",
        f"failed validation_failure: {WHY.reason}  ({entry_id(2)})",
    ]


def test_a_terminal_gets_the_same_as_a_table() -> None:
    table = shown([unbooked(1), booked(2)], terminal=True)
    for text in ("2026-10-05 · DSB · 89.95 DKK · Ann Example", f"validation_failure: {WHY.reason}", entry_id(1)):
        assert text in table
    assert entry_id(2) not in table


def test_the_json_document_keeps_its_form() -> None:
    document = job_of([booked(1), unbooked(2)]).document()
    assert document["totals"] == {"DKK": "89.95"}
    assert document["failures"] == [
        {"accounting_entry_id": entry_id(2), "type": "validation_failure", "reason": WHY.reason}
    ]
    json.dumps(document)


def test_however_many_entries_pleo_does_not_know_a_thousand_are_named_and_the_others_counted() -> None:
    lines = list(report.unreported_lines(job_of((booked(n) for n in range(MAX_NOTICES + 500)), acknowledged=False)))
    assert len(lines) == MAX_NOTICES + 2
    assert lines[0].startswith("1500 booked and not yet reported to Pleo")
    assert lines[1] == f"{entry_id(0)} is booked as PX-000000, 89.95 DKK"
    assert lines[-1] == "… and 500 more"


# -- artifacts --------------------------------------------------------------------------------------------------


def test_the_table_of_failed_items_begins_with_the_link_and_is_told_as_people_know_the_expense() -> None:
    (row,) = report.failure_table(job_of([booked(1), unbooked(2)]))
    assert list(row) == ["in Pleo", "date", "supplier", "amount", "employee", "reason", "type", "accounting entry"]
    assert list(row.values()) == [
        "https://app.pleo.io/expenses/1", "2026-10-05", "DSB", "89.95 DKK", "Ann Example", WHY.reason,
        "validation_failure", entry_id(2),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["J.D. Rent-a-Car (Oslo) #4 *new*", "A_b + C & D: 50 % [net]", "2 < 3 > 1 | x", "~$!"])
def test_a_usual_text_stands_in_a_table_as_it_is(text: str) -> None:
    assert table_cell(text) == text


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
        assert page.tags <= {"p", "em", "strong", "code", "pre", "ul", "ol", "li", "s", "blockquote", "hr"}, cell


def test_the_summary_links_the_first_failures_to_pleo_and_to_nothing_else() -> None:
    rows = [unbooked(1, pleo_url="https://app.pleo.io/a_(b)_*c*"), unbooked(2, pleo_url="javascript:alert(1)")]
    rows += [unbooked(3, supplier=text, employee=text, reason=text, pleo_url=text) for text in TEXTS]
    summary = report.summary_markdown(job_of(rows))
    for reader in READERS:
        page = Links(reader.render(summary))
        assert page.tags <= {"h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "strong", "a"}
        assert page.addresses == ["https://app.pleo.io/a_(b)_*c*"]
    assert f"… and {len(rows) - FIRST_FAILURES} more, in the table" in summary


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://app.pleo.io/expenses/1?x=y&z=%20#top", True),
        ("http://127.0.0.1:5000/books/PX-1", True),
        ("http://localhost/x", True),
        ("http://[::1]:80/x", True),
        ("http://pleo.example/x", False),
        ("javascript:alert(1)", False),
        ("https:alert(1)", False),
        ("https://app.pleo.io@evil.example/", False),
        ("https://app.pleo.io/x y", False),
        ('https://app.pleo.io/"onclick="x', False),
        ("https://app.pleo.io/<x>", False),
        ("https://app.pleo.io/\\x", False),
        ("https://app.pleo.io:99999/", False),
        ("https://[::1/", False),
        ("https://app.pleo.io/\u202ex", False),
        ("https://app.pleo.io/" + "x" * 5000, False),
        ("", False),
        (None, False),
    ],
)
def test_only_links_that_a_person_can_follow_without_harm_are_links(url: str | None, safe: bool) -> None:
    assert (safe_link(url) == url) is safe or url is None


class Server:
    """Stands for the calls of Prefect's server, and does as it is told with the first or with all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published: list[tuple[str, Any]] = []
        self.hangs = self.fails = False
        for name in ("acreate_markdown_artifact", "acreate_table_artifact"):
            monkeypatch.setattr(f"flows.report.{name}", self._publish)
        monkeypatch.setattr("flows.report.SHOW_WITHIN_S", 0.05)

    async def _publish(self, data: Any, *, key: str, description: str) -> None:
        if self.hangs:
            await asyncio.sleep(60)
        if self.fails:
            raise RuntimeError("Service\nUnavailable")
        self.published.append((key, data))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


async def test_a_job_and_a_run_are_published(server: Server) -> None:
    job = job_of(unbooked(n) for n in range(MAX_ARTIFACT_ROWS + 1))
    await report.publish(job)
    await report.publish_run(run_of(job))
    (_, _), (_, table), (_, run) = server.published
    assert [key for key, _ in server.published] == [
        "pleo-export-summary",
        "pleo-export-failed-items",
        "pleo-export-run",
    ]
    assert len(table) == MAX_ARTIFACT_ROWS
    assert "**completed with errors**" in run


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
async def test_a_server_that_does_not_take_artifacts_costs_no_job_and_little_time_and_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    setattr(server, trouble, True)
    only_for_show, started = OnlyForShow(), time.monotonic()
    with caplog.at_level(logging.WARNING):
        await report.publish(job_of([unbooked(1)]), only_for_show)
        await report.publish_run(RunReport(), only_for_show)
    assert time.monotonic() - started < 5
    (record,) = caplog.records
    assert record.getMessage() == "The Prefect UI does not show all of this run: " + (
        "TimeoutError" if trouble == "hangs" else "RuntimeError Service Unavailable"
    )
    assert record.exc_info is None


async def test_whoever_ends_the_run_is_heard_while_an_artifact_waits(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.report.SHOW_WITHIN_S", 60)
    server.hangs = True
    task = asyncio.create_task(report.publish(job_of([])))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
