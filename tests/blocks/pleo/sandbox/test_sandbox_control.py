"""The control page and the JSON calls beside it."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--virtual-time-budget=4000", "--dump-dom",
]  # fmt: skip
HOSTILE = "<script>document.title='taken'</script><b>&</b>"


def test_the_page_of_a_new_sandbox_says_that_there_is_nothing(api):
    answer = api.get("/")
    assert answer.status_code == 200
    assert "No job yet." in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_shows_jobs_outcomes_events_and_requests(sandbox, api, send, put):
    job_id = sandbox.add_job(80)
    send(job_id, "started")
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    put(job_id, *({"accountingEntryId": name, "status": "successful"} for name in names[:72]))
    api.get("/v3/export-jobs/nowhere")
    send(job_id, "failed", failureReason="<script>x</script>")
    text = api.get("/").text
    seen = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))
    assert f'href="/jobs/{job_id}"' in text
    assert "72 successful" in seen
    assert "8 abandoned" in seen
    assert "<script>" not in text
    assert "<script>x</script>" in seen
    assert "4 to the API, 0 for receipts. By status: 200 × 1, 202 × 2, 404 × 1." in seen
    assert "/v3/export-jobs/nowhere" in seen
    assert "72 items" in seen


def test_the_items_of_a_job_come_fifty_a_page_with_their_outcome(sandbox, api, put):
    job_id = sandbox.add_job(120)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    done = {"status": "successful", "externalId": "<JE-1>"}
    failed = {"failureReason": "Account <b>6010</b> missing", "failureReasonType": "missing_configuration"}
    links = ("https://books.example/?a=1&b=2", "javascript:alert(1)")
    updates = [done, {"status": "failed", **failed}, *({**done, "externalUrl": link} for link in links)]
    put(job_id, *({"accountingEntryId": names[n], **update} for n, update in enumerate(updates)))
    pages = [api.get(f"/jobs/{job_id}", params={"start": start}).text for start in (1, 51, 101, 151)]
    shown = [[name for name in names if name in text] for text in pages[:3]]
    assert shown == [names[:50], names[50:100], names[100:]]
    assert "No items here." in pages[3]
    assert [("Earlier" in text, "Later" in text) for text in pages[::2][:2]] == [(False, True), (True, False)]
    assert "&lt;JE-1&gt;" in pages[0]
    assert "Account &lt;b&gt;6010&lt;/b&gt; missing" in pages[0]
    assert 'href="https://books.example/?a=1&amp;b=2"' in pages[0]
    assert 'href="javascript' not in pages[0]
    assert "javascript:alert(1)" in pages[0]


def test_nothing_that_a_supplier_is_called_is_markup_on_the_page(sandbox, api):
    job_id = sandbox.add_job(600)
    text = "".join(api.get(f"/jobs/{job_id}", params={"start": start}).text for start in range(1, 600, 50))
    assert "&lt;script&gt;alert" in text
    assert "<script>" not in text
    assert "<b>Ltd" not in text


def test_an_item_that_no_page_can_format_is_shown_all_the_same(sandbox, api):
    entry = "00000000-0000-4000-8000-0000000000aa"
    job_id = sandbox.add_job_of([{"accountingEntryId": entry, "amount": None}])
    answer = api.get(f"/jobs/{job_id}")
    assert answer.status_code == 200
    assert entry in answer.text


def test_a_form_makes_a_job_and_leads_back(sandbox, api):
    answer = api.post("/sandbox/jobs", data={"items": "12", "seed": "3"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    job = sandbox.jobs()[0]
    assert job.number_of_items == 12
    assert "Cancel" in api.get("/").text
    for act in ("cancel", "export-again"):
        done = api.post(f"/sandbox/jobs/{job.id}/{act}", data={"from": "page"})
        assert (done.status_code, done.headers["location"]) == (303, "/")
    assert "Export again" in api.get("/").text
    assert [made.number_of_items for made in sandbox.jobs()] == [12, 12]


def test_a_job_is_made_flagged_exported_again_and_read_by_json(sandbox, api, put):
    asked = {"items": 4, "seed": 9, "company_id": SANDBOX_COMPANY_ID, "failing": False, "vendor_based": True}
    made = api.post("/sandbox/jobs", json=asked)
    assert made.status_code == 201
    job_id = made.json()["job_id"]
    job = sandbox.job(job_id)
    assert (job.number_of_items, job.vendor_based) == (4, True)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    flags = {"missing_contra_accounts": ["EUR"], "refuse": [{"accounting_entry_id": names[0], "times": 1}]}
    assert api.post(f"/sandbox/jobs/{job_id}/flags", json=flags).status_code == 204
    assert api.get("/v3/export-items", params={"job_id": job_id}).json()["type"] == "MISSING_CONTRA_ACCOUNTS"
    assert len(put(job_id, {"accountingEntryId": names[0], "status": "successful"}).json()["errors"]) == 1
    read = api.get(f"/sandbox/jobs/{job_id}").json()
    assert read["outcome"] == {"pending": 4}
    assert [item["accounting_entry_id"] for item in read["items"]] == names
    sandbox.cancel(job_id)
    again = api.post(f"/sandbox/jobs/{job_id}/export-again", json={"accounting_entry_ids": names[1:3]})
    assert again.status_code == 201
    assert [item.accounting_entry_id for item in sandbox.items(again.json()["job_id"])] == names[1:3]
    assert [job["id"] for job in api.get("/sandbox/jobs").json()["jobs"]] == [job_id, again.json()["job_id"]]
    received = api.get("/sandbox/received").json()
    assert received["total"] == 2
    assert received["by_status"] == {"400": 1, "200": 1}
    assert api.delete("/sandbox/received").status_code == 204
    assert api.get("/sandbox/received").json()["total"] == 0


def test_an_export_that_was_taken_back_is_exported_again_changed(sandbox, api, send, put):
    job_id = sandbox.add_job(3, failing=False)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    send(job_id, "started")
    put(job_id, *({"accountingEntryId": name, "status": "successful", "externalId": "JE-1"} for name in names))
    send(job_id, "completed")
    changes = {names[0]: {"type": "personal_spend", "note": "coffee"}}
    wrong = [{names[0]: {"accountingEntryId": names[1]}}, {names[0]: "x"}, "x", {"nobody": {"note": "x"}}]
    for refused in wrong:
        body = {"accounting_entry_ids": names[:2], "changes": refused}
        assert api.post(f"/sandbox/jobs/{job_id}/export-again", json=body).status_code in (400, 404)
    body = {"accounting_entry_ids": names[:2], "changes": changes}
    again = api.post(f"/sandbox/jobs/{job_id}/export-again", json=body).json()["job_id"]
    assert [job.id for job in sandbox.jobs()] == [job_id, again], "what was refused has made no job"
    first, second = api.get("/v3/export-items", params={"job_id": again}).json()["data"]
    assert (first["accountingEntryId"], first["type"], first["note"]) == (names[0], "personal_spend", "coffee")
    assert second["type"] != "personal_spend"
    entry = api.get(f"/sandbox/entries/{names[0]}").json()
    assert entry["export_item"]["note"] == "coffee"
    assert [(job["job_id"], job["job_status"], job["item"]["status"]) for job in entry["jobs"]] == [
        (job_id, "completed", "successful"),
        (again, "pending", "pending"),
    ]
    assert api.get("/sandbox/entries/nobody").status_code == 404


WRONG_JOBS = [{"items": -1}, {"items": "many"}, {"items": 1.5}, {"item": 1}, [], {"company_id": "ACME"}]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        *(("/sandbox/jobs", wrong, 400) for wrong in WRONG_JOBS),
        ("/sandbox/jobs/nowhere/flags", {}, 404),
        ("/sandbox/jobs/nowhere/export-again", {}, 404),
    ],
)
def test_a_wrong_request_is_told_in_a_line(sandbox, api, path, body, status):
    answer = api.post(path, json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, "SANDBOX_ERROR")
    assert "\n" not in answer.json()["message"]
    assert sandbox.jobs() == []
    assert api.get("/jobs/nowhere").status_code == 404


@pytest.mark.parametrize("flags", [{"missing_contra_accounts": "EUR"}, {"refuse": ["x"]}, {"refuse": 1}])
def test_flags_that_are_none_are_refused(sandbox, api, flags):
    job_id = sandbox.add_job(1)
    assert api.post(f"/sandbox/jobs/{job_id}/flags", json=flags).status_code == 400


class _Page(HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_in_a_browser_hostile_text_stays_text(sandbox, base_url, tmp_path):
    def shown(path: str) -> _Page:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", base_url + path]
        return _Page(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)

    job_id = sandbox.add_job(items=40)
    item = sandbox.items(job_id)[0]
    sandbox.edit_export_item(item.accounting_entry_id, {"type": HOSTILE}, even_locked=True)
    overview, items = shown("/"), shown(f"/jobs/{job_id}")
    assert job_id in overview.text
    assert item.accounting_entry_id in items.text
    assert HOSTILE in items.text
    assert "script" not in overview.tags + items.tags
    assert "b" not in items.tags
