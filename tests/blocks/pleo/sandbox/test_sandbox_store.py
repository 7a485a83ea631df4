"""The state file: it outlives a restart, and what is not one is refused."""

from __future__ import annotations

import sqlite3

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, SandboxError, serve
from blocks.pleo.sandbox.store import APPLICATION_ID, SCHEMA


def client(url):
    return httpx.Client(base_url=url, auth=(SANDBOX_API_KEY, ""))


def test_everything_is_as_it_was_after_a_restart(tmp_path, clock):
    state = tmp_path / "state.sqlite"
    with Sandbox(state, clock=clock) as sandbox, serve(sandbox) as url, client(url) as api:
        job_id = sandbox.add_job(30)
        names = [item.accounting_entry_id for item in sandbox.items(job_id)]
        api.post("/v3/export-job-events", json={"jobId": job_id, "event": "started"})
        done = [{"accountingEntryId": name, "status": "successful", "externalId": "7"} for name in names[:10]]
        api.put(f"/v3/export-jobs/{job_id}/items", json=done)
        first = api.get("/v3/export-items", params={"job_id": job_id, "limit": 10}).json()
        cursor = first["pagination"]["endCursor"]
        links = [file["url"] for item in first["data"] for file in item["files"] or []]
        sandbox.refuse_item(job_id, names[10])
        sandbox.miss_contra_accounts(["EUR"], company_id="11111111-2222-4333-8444-555555555555")
        sandbox.add_credential("mine", [sandbox.job(job_id).company_id])
        before = (sandbox.jobs(), sandbox.items(job_id), sandbox.received().events)
    with Sandbox(state, clock=clock) as sandbox, serve(sandbox) as url, client(url) as api:
        assert (sandbox.jobs(), sandbox.items(job_id), sandbox.received().events) == before
        assert sandbox.received().total == 0
        rest = api.get("/v3/export-items", params={"job_id": job_id, "limit": 10, "after": cursor}).json()
        assert [item["accountingEntryId"] for item in rest["data"]] == names[10:20]
        moved = links[0].replace(links[0].split("/receipts/")[0], url)
        assert httpx.get(moved).status_code == 200, "a link lives for its day, whoever serves it"
        refused = api.put(
            f"/v3/export-jobs/{job_id}/items", json=[{"accountingEntryId": names[10], "status": "failed"}]
        )
        assert refused.json()["errors"][0]["type"] == "EXPORT_ENTRY_STATUS_UPDATE_FAILED"
        assert httpx.get(f"{url}/v3/export-jobs", auth=("mine", "")).status_code == 200
        assert sandbox.add_job(30) != job_id, "a seed goes on with new expenses"


def test_time_goes_on_while_the_sandbox_is_away(tmp_path, clock):
    state = tmp_path / "state.sqlite"
    with Sandbox(state, clock=clock, expires_in=60) as sandbox:
        job_id = sandbox.add_job(2)
    clock.pass_by(60)
    with Sandbox(state, clock=clock) as sandbox:
        assert sandbox.job(job_id).failure_reason_type == "job_expired"


def test_without_a_file_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Sandbox() as sandbox:
        sandbox.add_job(200)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    text, books = tmp_path / "notes.txt", tmp_path / "books.sqlite"
    text.write_text("not a database, and long enough to be looked at\n" * 100)
    change(books, "CREATE TABLE journal (amount INTEGER)")
    for path, reason in ((text, "not a sandbox state"), (books, "a database of something else")):
        before = path.read_bytes()
        with pytest.raises(SandboxError, match=reason) as caught:
            Sandbox(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["books.sqlite", "notes.txt"]


def change(state, script):
    connection = sqlite3.connect(state)
    connection.executescript(script)
    connection.close()


def test_a_state_of_the_version_before_gets_what_it_lacks_and_a_later_one_is_refused(tmp_path):
    state = tmp_path / "state.sqlite"
    change(state, SCHEMA + f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    with Sandbox(state) as sandbox:
        sandbox.add_job(1)
        assert sandbox.grant_access().access_token
    Sandbox(state).close()
    change(state, "PRAGMA user_version = 99")
    with pytest.raises(SandboxError, match="of version 99"):
        Sandbox(state)


def test_grants_outlive_a_restart_and_the_file_holds_no_token(tmp_path):
    state = tmp_path / "state.sqlite"
    with Sandbox(state) as sandbox:
        sandbox.add_oauth_client("acme", "s3cret:+/%&")
        pair = sandbox.grant_access("acme")
    for secret in ("s3cret:+/%&", pair.access_token, pair.refresh_token):
        assert secret.encode() not in state.read_bytes()
    with Sandbox(state) as sandbox:
        assert [grant.client_id for grant in sandbox.oauth_grants()] == ["acme"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    for path in (tmp_path / "missing" / "state.sqlite", tmp_path):
        with pytest.raises(SandboxError, match="cannot use the state file"):
            Sandbox(path)


def test_one_sandbox_at_a_time_has_a_state(tmp_path):
    state = tmp_path / "state.sqlite"
    state.touch()  # an empty file is a new state
    with Sandbox(state) as sandbox:
        sandbox.add_job(1)
        with pytest.raises(SandboxError, match="another sandbox has it open"):
            Sandbox(state)
        assert len(sandbox.jobs()) == 1
    with Sandbox(state) as sandbox:
        assert len(sandbox.jobs()) == 1


@pytest.mark.parametrize("wrong", [{"page_cap": 0}, {"expires_in": 0}])
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SandboxError):
        Sandbox(**wrong)
