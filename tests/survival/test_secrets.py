"""Canary keys, bank accounts and signed links are looked for in all that runs of the real command leave behind."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from tests.support.pleo.canaries import Canary, Search
from tests.support.pleo.quoting_pleo import (
    Quote,
    Rule,
    bad_header,
    in_type,
    no_http,
    plain,
    redirect,
    refusal,
    web_page,
)
from tests.support.processes import ROOT, PrefectServer, a_prefect_server, until
from tests.survival.traced import CANARIES, IBAN, KEY, LINK, Traced, readable_by_others, traced

JOBS, ITEMS, DATA = "GET /v3/export-jobs\\?", "GET /v3/export-jobs/[^/]+/items", "GET /v3/export-items"
EVENT, UPDATE, FILE = "POST /v3/export-job-events", "PUT ", "GET /files/"


@pytest.fixture
def world(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Traced]:
    with traced(tmp_path / "world", prefect_server) as made:
        yield made


def _clean(world: Traced) -> None:
    """No canary anywhere; nothing that others may read; no page kept."""
    assert world.finds() == []
    assert readable_by_others(world.folder / "prefect") == []
    assert [path.name for path in world.folder.glob("books*") if path.stat().st_mode & 0o077] == []
    assert world.stored_pages() == []
    assert list((world.folder / "tmp").iterdir()) == []


def test_a_run_at_its_most_talkative_leaves_no_secret_and_nothing_that_others_may_read(world: Traced) -> None:
    world.office.sandbox.add_job(items=90, seed=9)
    done = world.end(world.start(["-m", "flows.export", "--json"], umask=0))
    assert done.returncode == 3
    assert any(request.startswith("GET /files/") and LINK.value in request for request in world.pleo.asked)
    assert b"send_request_headers" in done.stderr  # or it was not talkative at all
    _clean(world)


@pytest.mark.slow
def test_a_refusal_that_quotes_all_it_was_sent_is_told_without(world: Traced) -> None:
    world.pleo.rules = [Rule(JOBS, refusal(400))]
    done = world.run()
    assert done.returncode == 2
    assert b"Pleo refused: BAD_REQUEST (HTTP 400): *** | " in done.stderr
    assert KEY.value in world.pleo.quoted[0]
    _clean(world)


def test_the_search_finds_every_canary_in_every_form_and_place(world: Traced, tmp_path: Path) -> None:
    for canary in CANARIES:
        for name, form in canary.forms().items():
            assert Search(CANARIES).bytes("here", b"a" * 99 + form + b"z" * 99), (canary.kind, name)
    assert not Search(CANARIES).bytes("here", b"nothing of the kind" * 999)
    with closing(sqlite3.connect(tmp_path / "long.sqlite")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (?)", ("y" * 4000 + IBAN.value + "y" * 60_000,))
        for start in range(3990, 4120):
            connection.execute("INSERT INTO t VALUES (?)", ("y" * start + KEY.value + "y" * 9000,))
        connection.commit()
    found = Search(CANARIES).folder(tmp_path)
    assert "IBAN as plain in the rows of long.sqlite" in found
    assert "key as plain in the rows of long.sqlite" in found


@pytest.mark.slow
def test_what_a_run_shows_writes_or_tells_is_looked_at(world: Traced) -> None:
    world.office.sandbox.add_job(items=3, seed=9, failing=False)
    planted = Canary("planted", "Pl4ntedInPrefectsDatabase")  # which the session's server keeps
    leak = (
        "import base64, os, sys, pathlib, flows.artifacts, flows.run, prefect.artifacts\n"
        f"key = {KEY.value!r}\n"
        "print(key); print(key[::-1], file=sys.stderr)\n"
        "pathlib.Path('leak').write_bytes(base64.b64encode(b'Basic ' + key.encode()))\n"
        "counts = flows.artifacts.counts\n"
        f"flows.artifacts.counts = lambda job: counts(job) + {planted.value!r}\n"  # in an artifact
    )
    world.driven(leak)
    found = "\n".join(world.finds(planted))
    for place in ("standard output", "standard error", "leak"):
        assert f" in {place}" in found, found
    assert "planted as plain in the rows of prefect.db" in found, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quote", "said"),
    [
        (refusal(401), "refused the credentials"),
        (refusal(403), "does not allow"),
        (plain(401), "refused the credentials"),
        (in_type, "Pleo refused: ***"),
        (web_page, "does not answer as Pleo does"),
        (redirect, "does not answer as Pleo does"),
        (refusal(404, "EXPORT_NOT_FOUND"), "EXPORT_NOT_FOUND"),
    ],
    ids=["401", "403", "401 in plain text", "in the type", "web page", "redirect", "404"],
)
def test_an_answer_that_ends_the_run_and_quotes_what_it_was_sent(world: Traced, quote: Quote, said: str) -> None:
    world.pleo.rules = [Rule(JOBS, quote)]
    done = world.run("--json")
    assert done.returncode == 2
    assert said in done.stderr.decode()
    _clean(world)


@pytest.mark.slow
@pytest.mark.parametrize("call", [JOBS, DATA, ITEMS, UPDATE, EVENT], ids=["jobs", "data", "items", "update", "event"])
def test_answers_that_are_waited_out_and_quote_what_they_were_sent(world: Traced, call: str) -> None:
    world.office.sandbox.add_job(items=90, seed=9)
    world.pleo.rules = [Rule(call, quote) for quote in (plain(500), no_http, bad_header, plain(503))]
    done = world.run()
    assert done.returncode == 3
    assert len(world.pleo.quoted) == 4
    _clean(world)


@pytest.mark.slow
def test_all_tries_answered_by_what_is_no_http_and_quotes_what_it_was_sent(world: Traced) -> None:
    world.pleo.rules = [Rule(JOBS, no_http, 3), Rule(JOBS, bad_header, 3)]
    done = world.run()
    assert done.returncode == 1
    assert b"Pleo cannot be reached" in done.stderr
    _clean(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "quote"),
    [
        (ITEMS, refusal(400)),
        (DATA, refusal(400)),
        (DATA, refusal(400, "MISSING_CONTRA_ACCOUNTS")),
        (UPDATE, refusal(400)),
        (UPDATE, refusal(422, "EXPORT_JOB_STATUS_UNPROCESSABLE")),
        (EVENT, refusal(403)),
    ],
)
def test_refusals_in_the_middle_that_quote_what_they_were_sent(world: Traced, call: str, quote: Quote) -> None:
    world.office.sandbox.add_job(items=90, seed=9)
    world.pleo.rules = [Rule(call, quote, 99)]
    assert world.run("--json").returncode in {1, 2}
    world.pleo.rules = []
    world.run("--json")
    _clean(world)


@pytest.mark.slow
def test_pages_that_quote_the_key_bring_it_neither_into_the_store_nor_into_the_books(world: Traced) -> None:
    job_id = world.office.sandbox.add_job(items=90, seed=9)
    edit = world.pleo.edit

    def quoting(item: dict[str, object]) -> None:
        edit(item)
        item["note"] = f"sent with {KEY.value}"

    world.pleo.edit = quoting
    world.pleo.rules = [Rule(UPDATE, refusal(400), 99)]
    assert world.run().returncode == 1
    assert world.stored_pages()
    assert Search([KEY]).folder(world.folder) == []
    world.pleo.rules = []
    assert world.run().returncode in {0, 3}
    assert world.office.sandbox.job(job_id).status == "completed_with_errors"
    _clean(world)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["optional", "required"])
@pytest.mark.parametrize(
    "quote",
    [refusal(404), plain(500), redirect, web_page, no_http, bad_header],
    ids=["404", "500", "redirect", "page", "no HTTP", "header"],
)
def test_receipts_that_do_not_come_are_told_without_their_links(world: Traced, quote: Quote, settings: str) -> None:
    world.office.sandbox.add_job(items=12, seed=9, failing=False)
    (world.folder / "s.toml").write_text(f'attachments = "{settings}"\n')
    world.pleo.rules = [Rule(FILE, quote, 999)]
    assert world.run("--settings", "s.toml").returncode in {0, 3}
    assert any(LINK.value in quoted for quoted in world.pleo.quoted)
    _clean(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        "flows.steps.record.book",
        "flows.steps.record.collect_page",
        "blocks.pleo.http.client._export_page",  # in step 4
        "blocks.pleo.http.client._rows_page",  # in step 3
        "blocks.pleo.http.client.readable",  # in step 1, before any job
        "flows.export.export_jobs",
        "flows.steps.update.updates_of",
        "blocks.pleo.http.client._update_answer",  # in step 6
        "flows.job.final_event",
    ],
)
def test_an_error_that_nobody_foresaw_tells_its_cause_without_the_secrets_in_it(world: Traced, place: str) -> None:
    world.office.sandbox.add_job(items=12, seed=9, failing=False)
    module, _, name = place.rpartition(".")
    words = " ".join(["unforeseen", KEY.value, IBAN.value, f"{world.pleo.url}/files/x?signature={LINK.value}"])
    asynchronous = "async " if name in {"collect_page", "export_jobs"} else ""
    code = (
        f"import importlib\nmodule = importlib.import_module({module!r})\n"
        f"words = {words!r}\n"
        f"{asynchronous}def broken(*args, **kwargs):\n"
        "    inner = words\n"
        "    try:\n        int(inner)\n    except ValueError as error:\n        raise LookupError(inner) from error\n"
        f"broken.__name__ = {name!r}\n"
        f"if hasattr(module, {name!r}):\n    module.{name} = broken\n"
    )
    in_prefects_log_alone = {"PREFECT_LOGGING_EXTRA_LOGGERS": None} if name in {"book", "updates_of"} else {}
    done = world.driven(code, **in_prefects_log_alone)
    world.shown = [(where, content) for where, content in world.shown if where != "the process list"]  # the driver's
    assert done.returncode == 1
    assert b"LookupError" in done.stderr
    assert b"unforeseen" in done.stderr
    assert [one for one in world.finds() if "pleo-export-pages" not in one] == []
    world.run()
    world.shown = [(where, content) for where, content in world.shown if where != "the process list"]
    _clean(world)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_in_the_middle_keeps_pages_for_its_owner_alone_until_the_job_has_ended(
    world: Traced, signum: signal.Signals
) -> None:
    world.office.sandbox.add_job(items=300, seed=9)
    world.office.sandbox.inject("status", "PUT /v3/export-jobs/{jobId}/items", retry_after="50")
    process = world.start(["-m", "flows.export"], umask=0)
    until(lambda: any(request.startswith("PUT") for request in world.pleo.asked), within_s=90)
    process.send_signal(signum)
    world.end(process)
    assert len(world.stored_pages()) == 3
    assert readable_by_others(world.folder / "prefect") == []
    allowed = ("IBAN as", "supplier's IBAN as", "link as")
    kept = world.finds()
    assert all(" in prefect/storage/pleo-export-pages/" in one and one.startswith(allowed) for one in kept), kept
    assert world.run().returncode == 3
    _clean(world)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["elsewhere", "dry run"])
def test_pages_of_a_job_that_ended_elsewhere_go_with_the_next_run(world: Traced, ending: str) -> None:
    job_id = world.office.sandbox.add_job(items=300, seed=9)
    world.office.sandbox.inject("status", "PUT /v3/export-jobs/{jobId}/items", retry_after="50")
    world.office.sandbox.inject("status", "GET /v3/export-items", retry_after="50", skip=2)
    process = world.start(["-m", "flows.export", *(["--dry-run"] if ending == "dry run" else [])])
    until(lambda: len(world.stored_pages()) >= 2, within_s=90)
    process.send_signal(signal.SIGKILL)
    world.end(process)
    world.office.sandbox.clear_faults()
    assert world.stored_pages()
    if ending == "elsewhere":
        event = {"jobId": job_id, "event": "failed", "failureReason": "x", "failureReasonType": "canceled_by_user"}
        answer = httpx.post(
            f"{world.office.base_url}/v3/export-job-events", json=event, auth=(KEY.value, ""), trust_env=False
        )
        assert answer.status_code == 202, answer.text
        assert world.office.sandbox.job(job_id).status == "failed"
    assert world.run().returncode in {0, 3}
    _clean(world)


@pytest.mark.slow
def test_a_temporary_server_leaves_no_secret_and_nothing_that_others_may_read(world: Traced) -> None:
    world.office.sandbox.add_job(items=12, seed=9)
    done = world.end(world.start(["-m", "flows.export"], umask=0, PREFECT_API_URL=None))
    assert done.returncode in {0, 3}, done.stderr
    _clean(world)


@pytest.mark.slow
def test_credentials_in_a_block_are_readable_nowhere(tmp_path: Path) -> None:
    """The same flow as a deployment runs it: parameters name blocks, which Prefect's database holds encrypted.

    The server is this test's own, as the blocks have the names that a deployment on it would use.
    """
    (tmp_path / "prefect").mkdir()
    with a_prefect_server(tmp_path / "prefect") as server, traced(tmp_path / "world", server) as world:
        world.office.sandbox.add_job(items=12, seed=9)
        saved = world.end(world.start([str(ROOT / "deployments" / "save_blocks.py")]))
        assert saved.returncode == 0, saved.stderr
        done = world.run("--pleo", "pleo", "--erp", "ledger/books", PLEO_API_KEY=None, PLEO_BASE_URL=None)
        assert done.returncode in {0, 3}, done.stderr
        _clean(world)


@pytest.mark.slow
def test_a_token_is_kept_as_a_key_is(world: Traced) -> None:
    world.office.sandbox.add_credential(KEY.value, [SANDBOX_COMPANY_ID], token=True)
    world.office.sandbox.add_job(items=12, seed=9)
    world.pleo.rules = [Rule(JOBS, plain(500)), Rule(UPDATE, refusal(400))]
    assert world.run(PLEO_API_KEY=None, PLEO_ACCESS_TOKEN=KEY.value).returncode == 1
    world.pleo.rules = []
    assert world.run(PLEO_API_KEY=None, PLEO_ACCESS_TOKEN=KEY.value).returncode in {0, 3}
    _clean(world)
