"""Hostile texts in a whole export, looked at wherever they are shown: each place shows them as text, on one line."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from beancount.loader import load_file
from markdown_it import MarkdownIt
from rich.console import Console

from blocks.erp.settings import Attachments, ErpSettings
from blocks.text import is_formula
from flows.artifacts import summary_markdown
from flows.console import show_run
from flows.outcome import RunReport
from tests.support.pleo.hostile_json import TEXTS, written
from tests.support.pleo.hostile_pleo import assert_presentable, hostile_office, nothing_unforeseen, with_items
from tests.support.pleo.pleo_items import account, an_item, entry_id, line

HARMLESS = {"h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "strong"}


class _Tags(HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def report(folder: Path) -> Iterator[RunReport]:
    """Every text in the place of words, which are booked, and in the place of types, which fail and are quoted."""
    instead = {}
    for number, text in enumerate(TEXTS, 1):
        words = {"note": text, "supplier": {"name": text}, "user": {"name": text, "code": text}}
        information = {"reconciliationId": text, "attendees": [text], "invoiceInformation": {"invoiceNumber": text}}
        lines = [line(10_000, account=account("6010", text))]
        booked = an_item(number, **words, additionalInformation=information, accountingEntryLines=lines)
        instead[entry_id(number)] = written(booked)
        instead[entry_id(number + 500)] = written(an_item(number + 500, type=text, **words))
    with hostile_office(folder) as office:
        office.sandbox.add_job_of([an_item(n + more) for n in range(1, len(TEXTS) + 1) for more in (0, 500)])
        settings = ErpSettings(attachments=Attachments.SKIP)
        with office.saying(with_items(instead), office.books), nothing_unforeseen():
            made = asyncio.run(office.export(settings=settings))
        rows = office.journal("SELECT DISTINCT accounting_entry_id, account, description FROM journal")
        assert len({row[0] for row in rows}) == len(TEXTS)
        for _, code, description in rows:
            assert_presentable(str(description), 1000)
            assert not is_formula(str(description))
            assert not is_formula(str(code))
        yield made


def test_a_terminal_gets_no_escape_but_our_own(report: RunReport) -> None:
    for terminal in (False, True):
        output = io.StringIO()
        show_run(report.jobs, Console(file=output, force_terminal=terminal, color_system=None, width=200))
        shown = output.getvalue()
        assert "=1+1" in shown
        assert "[bold red]" in shown
        assert not set(shown) & {"\x1b", "\x07", "\x9b", "\r", "\x00", "\u202e", "\u2066"}


def test_markdown_of_the_report_is_text_and_nothing_else(report: RunReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.artifacts.FIRST_FAILURES", 1000)
    (job,) = report.jobs
    for reader in (
        MarkdownIt("commonmark", {"html": True}).enable("table"),
        MarkdownIt("gfm-like", {"linkify": False}),
    ):
        html = reader.render(summary_markdown(job))
        assert _Tags(html).tags <= HARMLESS, html
        assert "&lt;script&gt;" in html


def test_the_json_document_is_ascii_on_one_line(report: RunReport) -> None:
    text = json.dumps(report.document())
    assert text.isascii()
    assert text.isprintable()


def test_bean_check_takes_the_file_and_finds_no_directive_that_a_text_wrote(report: RunReport, folder: Path) -> None:
    entries, errors, _ = load_file(str(folder / "books.beancount"))
    assert errors == []
    transactions = [entry for entry in entries if type(entry).__name__ == "Transaction"]
    assert len(transactions) == len(TEXTS)
    assert {type(entry).__name__ for entry in entries} == {"Open", "Transaction"}
    for entry in transactions:
        assert_presentable(entry.narration, 1000)
        assert not is_formula(entry.narration)
