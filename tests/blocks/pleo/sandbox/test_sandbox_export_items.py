"""The data of the items, and the receipts behind their links."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from PIL import Image
from pypdf import PdfReader

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID

DAY_S = 24 * 3600


def fetch(api, job_id, **query):
    return api.get("/v3/export-items", params={"job_id": job_id, "limit": 100, **query})


def links(items):
    return [file["url"] for item in items for file in item["files"] or []]


@pytest.mark.parametrize("started", [False, True])
def test_the_data_is_served_while_the_job_is_open(sandbox, api, started, send):
    job_id = sandbox.add_job(30)
    if started:
        send(job_id, "started")
    answer = fetch(api, job_id)
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    found = [item["accountingEntryId"] for item in answer.json()["data"]]
    assert found == [item.accounting_entry_id for item in sandbox.items(job_id)]


@pytest.mark.parametrize("events", [["started", "completed"], ["started", "completed_with_errors"], ["failed"]])
def test_the_data_goes_with_the_job(sandbox, api, events, send):
    job_id = sandbox.add_job(3)
    for event in events:
        send(job_id, event)
    answer = fetch(api, job_id)
    assert (answer.status_code, answer.json()["type"]) == (422, "EXPORT_JOB_STATUS_UNPROCESSABLE")


def test_missing_contra_accounts_block_the_data_of_a_job_and_new_jobs_of_a_company(sandbox, api):
    blocked, other = sandbox.add_job(3, 1), sandbox.add_job(3, 2)
    sandbox.miss_contra_accounts(["SEK"], job_id=blocked)
    answer = fetch(api, blocked)
    assert (answer.status_code, answer.json()["type"]) == (400, "MISSING_CONTRA_ACCOUNTS")
    assert "SEK" in answer.json()["message"]
    assert fetch(api, other).status_code == 200
    sandbox.miss_contra_accounts(["DKK", "SEK"])
    assert "DKK, SEK" in fetch(api, blocked).json()["message"]
    assert fetch(api, other).status_code == 400
    ended = sandbox.add_job(1, 3)
    sandbox.cancel(ended)
    entry = sandbox.items(ended)[0].accounting_entry_id
    body = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": [entry]}
    refused = api.post("/v3/export-jobs", json=body)
    assert (refused.status_code, refused.json()["type"]) == (400, "MISSING_CONTRA_ACCOUNTS")
    assert "DKK, SEK" in refused.json()["message"]
    sandbox.miss_contra_accounts([])
    sandbox.miss_contra_accounts([], job_id=blocked)
    assert fetch(api, blocked).status_code == 200
    assert api.post("/v3/export-jobs", json=body).status_code == 201


def test_vendors_and_methods_come_with_vendor_based_bookkeeping_only(sandbox, api):
    plain, based = sandbox.add_job(60, 1), sandbox.add_job(60, 1, vendor_based=True)
    assert api.get(f"/v3/export-jobs/{based}").json()["data"]["vendorBasedBookkeeping"] is True
    assert {(item["bookkeeping"], item["vendor"]) for item in fetch(api, plain).json()["data"]} == {(None, None)}
    items = fetch(api, based).json()["data"]
    methods = {item["bookkeeping"]["method"] for item in items}
    assert methods == {"none", "journal", "accounts_payable"}
    for item in items:
        if item["bookkeeping"]["method"] == "accounts_payable":
            assert {"id", "name", "defaultCurrency"} <= set(item["vendor"])
    body = {
        "companyId": items[0]["companyId"],
        "accountingEntryIds": [item["accountingEntryId"] for item in fetch(api, plain).json()["data"]],
        "options": {"vendorBasedBookkeeping": True},
    }
    sandbox.cancel(plain)
    again = api.post("/v3/export-jobs", json=body).json()["data"]
    assert again["vendorBasedBookkeeping"] is True
    assert all(item["bookkeeping"] for item in fetch(api, again["id"]).json()["data"])


def test_receipts_are_real_files_of_the_size_and_type_that_was_said(sandbox, api, anyone):
    job_id = sandbox.add_job(100)
    files = [file for item in fetch(api, job_id).json()["data"] for file in item["files"] or [] if "size" in file]
    seen = set()
    for file in files:
        answer = anyone.get(file["url"])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == file["type"]
        assert len(answer.content) == file["size"]
        if file["type"] == "application/pdf":
            (page,) = PdfReader(BytesIO(answer.content), strict=True).pages
            assert file["url"].rsplit("/", 1)[1].removesuffix(".pdf") in page.extract_text()
        else:
            with Image.open(BytesIO(answer.content)) as picture:
                picture.load()
                assert Image.MIME[picture.format] == file["type"]
        seen.add(file["type"])
    assert seen == {"application/pdf", "image/png", "image/jpeg"}
    assert len({file["url"] for file in files}) == len(files)
    assert sandbox.received().receipts == len(files)


def test_a_link_needs_no_credentials_and_lives_for_a_day_from_each_fetch(sandbox, api, clock, anyone):
    job_id = sandbox.add_job(40)
    first = links(fetch(api, job_id).json()["data"])[0]
    clock.pass_by(1800)
    second = links(fetch(api, job_id).json()["data"])[0]
    assert first != second
    clock.pass_by(DAY_S - 1801)
    assert anyone.get(first).status_code == 200
    clock.pass_by(1)
    late = anyone.get(first)
    assert (late.status_code, late.json()["type"]) == (403, "FORBIDDEN")
    assert anyone.get(second).status_code == 200


def test_a_link_that_was_not_handed_out_is_refused(sandbox, api, anyone):
    job_id = sandbox.add_job(40)
    link = links(fetch(api, job_id).json()["data"])[0]
    base, expires, signature, name = link.rsplit("/", 3)
    other_name = ("1" if name[0] == "0" else "0") + name[1:]
    forged = [
        f"{base}/{int(expires) + 1}/{signature}/{name}",
        f"{base}/{expires}/{signature}/{other_name}",
        f"{base}/{expires}/{signature[:-1]}x/{name}",
        f"{base}/x/{signature}/{name}",
    ]
    assert [anyone.get(url).status_code for url in forged] == [403] * 4


def test_links_lead_to_the_host_that_was_asked(sandbox, api, base_url):
    job_id = sandbox.add_job(40)
    named = base_url.replace("127.0.0.1", "localhost")
    assert links(fetch(api, job_id).json()["data"])[0].startswith(f"{base_url}/receipts/")
    by_name = api.get("/v3/export-items", params={"job_id": job_id}, headers={"Host": named.removeprefix("http://")})
    assert links(by_name.json()["data"])[0].startswith(f"{named}/receipts/")
    odd = api.get("/v3/export-items", params={"job_id": job_id}, headers={"Host": 'x"y/<z>'})
    assert links(odd.json()["data"])[0].startswith(f"{base_url}/receipts/")


def test_the_large_receipt_is_a_file_of_that_size_and_the_one_that_is_gone_is_not_found(sandbox, api, anyone):
    job_id = sandbox.add_job(130, showcase=True)
    first = fetch(api, job_id).json()
    items = first["data"] + fetch(api, job_id, after=first["pagination"]["endCursor"]).json()["data"]
    assert len(items) == 130
    files = {file["url"].rsplit("/", 1)[1][:8]: file for item in items for file in item["files"] or []}
    large = anyone.get(files["ffffffff"]["url"])
    assert (large.status_code, large.headers["content-type"]) == (200, "application/pdf")
    assert len(large.content) == files["ffffffff"]["size"] > 900_000
    assert anyone.get(files["eeeeeeee"]["url"]).status_code == 404


def test_items_can_be_given_word_for_word(sandbox, api):
    entry = "00000000-0000-4000-8000-0000000000aa"
    text = f'{{"accountingEntryId": "{entry}", "amount": {{"value": NaN, "big": 123456789012345678901.5}}}}'
    job_id = sandbox.add_job_of([text])
    body = fetch(api, job_id).text
    assert '"value": NaN, "big": 123456789012345678901.5' in body
    assert json.loads(body)["data"][0]["accountingEntryId"] == entry


def test_an_item_given_as_an_object_comes_as_it_is(sandbox, api):
    item = sandbox.export_item(sandbox.items(sandbox.add_job(1))[0].accounting_entry_id)
    mine = {**item, "accountingEntryId": "00000000-0000-4000-8000-0000000000ab", "note": "mine", "files": None}
    job_id = sandbox.add_job_of([mine], vendor_based=True)
    assert fetch(api, job_id).json()["data"] == [mine]
