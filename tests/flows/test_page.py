"""`--report`: the page tells all, needs nothing but itself, and no text from outside does anything in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from blocks.pleo.models import JobEvent
from flows.files import PAGE, check_file, write_files, write_page
from flows.outcome import JOB_FAILED, MAX_NOTICES, Ending, JobReport, RunReport
from flows.page import page
from tests.support.pleo.hostile_json import TEXTS
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import WHY, bill_of, booked, entry_of, job_of, run_of, unbooked
from tests.survival.small_disks import fill, small_disk

NOW = datetime.fromisoformat("2026-11-30T17:00:00+01:00")


class Read(HTMLParser):
    """What a page says: its tags, the rows of its tables, its links, its text."""

    def __init__(self, jobs: list[JobReport], **run: object) -> None:
        super().__init__()
        self.document = "".join(page(replace(run_of(*jobs), **run), NOW))
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(self.document)
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([""])

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_the_outcome_is_told_in_words_figures_and_pictures() -> None:
    rows = [booked(1), booked(2, found=True, notice="it is dated 2026-11-01"), unbooked(3), booked(4, currency="EUR")]
    job = job_of(rows, already_final=2, event=JobEvent.COMPLETED_WITH_ERRORS)
    read = Read([job], pleo_requests=304, lines=["another run is at work"])
    for words in (
        "Written 2026-11-30 16:00 UTC", "304 requests to Pleo", "another run is at work", "done, with failed items",
        "completed with errors", "Pleo was told completed_with_errors", "it is dated 2026-11-01",
        "3 booked (1 of them found in the books already), 1 failed, 2 final before this run.",
        "2 booked", "1 found in the books", "1 failed", "2 final before this run", "1 × validation_failure",
    ):  # fmt: skip
        assert words in read.text
    assert ["DKK", "179.90", "179.90", "179.90", "as in the books", "bookedfailed"] in read.rows
    assert ["EUR", "89.95", "89.95", "89.95", "as in the books", "booked"] in read.rows
    assert 'class="failed" x="666" width="333"' in read.document


def test_sums_that_differ_and_what_pleo_was_not_told_are_shown_with_the_way_to_each() -> None:
    rows = [booked(n) for n in range(MAX_NOTICES + 5)]
    reason = "Pleo cannot be reached"
    read = Read([job_of(rows, acknowledged=False, ending=Ending.UNFINISHED, reason=reason)])
    assert "needs a person" in read.text
    assert reason in read.text
    assert "but 0.00 reported to Pleo" in read.text
    assert f"{MAX_NOTICES + 5} booked and not yet reported to Pleo" in read.text
    told = [row for row in read.rows if "PX-" in " ".join(row)]
    assert len(told) == MAX_NOTICES
    assert told[0] == [
        "the expense", "2026-10-05", "DSB", "89.95 DKK", "Ann Example", "PX-000000", entry_id(0)
    ]  # fmt: skip
    assert "… and 5 more, in the file of --results." in read.text
    assert "http://127.0.0.1:5000/books/PX-000000" in read.links


def test_a_failure_begins_with_the_link_to_the_expense_and_ends_with_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.page.MAX_FAILURES", 250)
    rows = [unbooked(n, amount_minor=-1250, pleo_url=f"https://app.pleo.io/expenses/{n}") for n in range(260)]
    read = Read([job_of(rows)])
    shown = [row for row in read.rows if row[0] == "the expense"]
    assert shown == [
        ["the expense", "2026-10-05", "DSB", "-12.50 DKK", "Ann Example", f"{WHY.reason} {WHY.type}", entry_id(n)]
        for n in range(250)
    ]
    assert [link for link in read.links if "pleo" in link] == [f"https://app.pleo.io/expenses/{n}" for n in range(250)]
    assert "260 failed" in read.text
    assert "… and 10 more, in the file of --results." in read.text


def test_a_dry_run_shows_every_posting_before_it_happens() -> None:
    rows = [booked(n) for n in range(1, 121)]
    job = job_of(rows, dry_run=True)
    job.preview = [entry_of(row) for row in rows[:118]]
    job.preview += [entry_of(rows[118], original_date=date(2026, 9, 30)), bill_of(rows[119])]
    read = Read([job])
    assert "Nothing was changed, in Pleo or in the books: this is what would happen." in read.text
    assert "120 would be booked" in read.text
    assert "Reported" not in read.text
    assert ["Currency", "Pleo", "What would be booked and fail, of all amounts whatever their sign"] in read.rows
    assert ["DKK", "10794.00", "booked"] in read.rows
    at = read.rows.index(["2026-10-05 · card_purchase · 89.95 DKK · DSB BOOK · draft", "the expense", entry_id(1)])
    assert read.rows[at + 1 : at + 4] == [
        ["6010", "Travel", "71.96", "", "I25", "project P-17, team Sales", "Train"],
        ["5710", "Input VAT", "17.99", "", "", "", ""],
        ["5820", "Wallet", "", "89.95", "", "", ""],
    ]
    assert all(any(row[-1] == entry_id(n) for row in read.rows) for n in range(1, 121))
    assert "· Pleo's date is 2026-09-30 ·" in read.text
    at = read.rows.index(["bill · V1 DSB A/S · INV-7"])
    assert read.rows[at + 3] == ["7440", "Payables", "", "89.95", "", "", ""]
    assert read.rows[at + 4] == ["payment · V1 DSB A/S · INV-7"]
    assert ["6010", "Travel", "8635.20", "0.00", "DKK", "debit"] in read.rows
    assert ["5820", "Wallet", "0.00", "10794.00", "DKK", "credit"] in read.rows
    assert ["7440", "Payables", "89.95", "89.95", "DKK", "debit credit"] in read.rows


def test_a_run_of_several_jobs_has_a_way_to_each() -> None:
    read = Read([job_of([booked(1)], ending=Ending.COMPLETED), job_of([unbooked(2)])])
    assert [link for link in read.links if link.startswith("#")] == ["#job-1", "#job-2"]
    assert 'id="job-2"' in read.document


def test_a_run_without_jobs_says_what_it_found() -> None:
    read = Read([], lines=["nothing to do: no export job is waiting"])
    assert "nothing to do: no export job is waiting" in read.text
    assert "all went well" in read.text


def test_the_page_is_one_file_that_asks_for_nothing_and_runs_nothing() -> None:
    read = Read(hostile_jobs())
    assert read.tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "b2"})
    assert not {name for name in read.attributes if name.startswith("on") or name in {"src", "srcset", "action"}}
    assert "default-src 'none'" in read.document
    style = read.document[read.document.index("<style>") : read.document.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_links_lead_to_pleo_and_the_books_alone_and_give_nothing_away() -> None:
    read = Read(hostile_jobs())
    links = [link for link in read.links if not link.startswith("#")]
    assert links
    assert {link.split("//")[1].split("/")[0] for link in links} == {"app.pleo.io", "127.0.0.1:5000"}
    assert read.document.count('rel="noopener noreferrer"') == len(links)


def hostile_jobs() -> list[JobReport]:
    """A job and a dry run in which every text that can come from outside is hostile."""
    texts = [*TEXTS, "x" * 3_000_000, "</style><script>alert(1)</script>", '" onmouseover="alert(1)', "{{ 7 * 7 }}"]
    words = [{"supplier": text, "employee": text, "type": text} for text in texts]
    told = [unbooked(n, reason=text, pleo_url=text, **words[n]) for n, text in enumerate(texts)]
    told += [booked(1000 + n, notice=text, **words[n]) for n, text in enumerate(texts)]
    told += [
        replace(booked(2000 + n, pleo_url=text, **words[n]), external_id=text, external_url=text)
        for n, text in enumerate(texts)
    ]
    job = job_of(told, acknowledged=False, reason=texts[-3])
    dry = job_of([booked(n, **words[n]) for n in range(len(texts))], dry_run=True)
    for row, text in zip(dry.results.frame.itertuples(index=False), texts, strict=True):
        made = booked(0, supplier=text, type=text)
        made = replace(made, accounting_entry_id=row.accounting_entry_id)
        dry.preview += [entry_of(made, description=text, reference=text), bill_of(made, number=text)]
    return [job, dry]


def test_no_text_is_longer_than_a_line_holds_or_would_be_computed_where_it_is_pasted() -> None:
    read = Read(hostile_jobs())
    assert len(read.document) < 2_000_000
    assert not {character for character in read.document if character in "\x00\x07\x1b\x9b\r\u202e\u2066\u200b\ufeff"}
    cells = {cell for row in read.rows for cell in row}
    assert "'=1+1" in cells
    assert "=1+1" not in cells
    assert "{{ 7 * 7 }}" in cells
    assert "-12.50 DKK" in {cell for row in Read([job_of([unbooked(1, amount_minor=-1250)])]).rows for cell in row}


# -- the file ---------------------------------------------------------------------------------------------------


def test_the_page_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    check_file(path, PAGE)
    write_page(path, run_of(*hostile_jobs()))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>")
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_at_the_end_keeps_the_old_page_and_does_not_keep_the_results_from_being_written(
    tmp_path: Path,
) -> None:
    report = run_of(job_of([unbooked(n) for n in range(3000)]))
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        (disk / "report.html").write_text("old")
        fill(disk, but=8192)
        write_files(report, tmp_path / "results.csv", disk / "report.html")
        assert (disk / "report.html").read_text() == "old"
    (line,) = report.lines
    assert "report.html could not be written: No space left on device; what was done stands" in line
    assert report.exit_status == JOB_FAILED
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3001


def test_long_lists_come_in_blocks_that_the_browser_lays_out_as_they_come_into_view() -> None:
    rows = [booked(n) for n in range(2000)]
    job = job_of(rows, dry_run=True)
    job.preview = [entry_of(row) for row in rows]
    document = "".join(page(RunReport(jobs=[job]), NOW))
    assert document.count('<div class="block wide" style="contain-intrinsic-size: auto 403rem">') == 40
    assert document.count('<tr class="entry">') == 2000
