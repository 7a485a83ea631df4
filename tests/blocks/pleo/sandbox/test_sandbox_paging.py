"""Lists in pages: limits, cursors, offsets, sorting."""

from __future__ import annotations

import re

import pytest

ITEMS = 45


@pytest.fixture
def job_id(sandbox):
    return sandbox.add_job(ITEMS)


def lists(job_id):
    return {"items": (f"/v3/export-jobs/{job_id}/items", {}), "data": ("/v3/export-items", {"job_id": job_id})}


def walk(api, path, query, key):
    """All pages, each as its values of a key and its pagination."""
    pages, after = [], {}
    while True:
        body = api.get(path, params={**query, **after}).json()
        pages.append(([row[key] for row in body["data"]], body["pagination"]))
        if not body["pagination"]["hasNextPage"]:
            return pages
        after = {"after": body["pagination"]["endCursor"]}


@pytest.mark.parametrize("which", ["items", "data"])
@pytest.mark.parametrize("limit", [1, 7, 15, 44, 45, 46, 100])
def test_every_item_comes_once_whatever_the_page_size(api, job_id, names, which, limit):
    path, query = lists(job_id)[which]
    pages = walk(api, path, {**query, "limit": limit}, "accountingEntryId")
    assert [name for page, _ in pages for name in page] == names
    assert {len(page) for page, _ in pages[:-1]} <= {limit}
    assert len(pages) == -(-ITEMS // limit)
    for number, (_, info) in enumerate(pages):
        assert info["total"] == ITEMS
        assert info["hasPreviousPage"] is (number > 0)
        assert re.fullmatch(r"[A-Z2-7=~]+", info["startCursor"])
        assert re.fullmatch(r"[A-Z2-7=~]+", info["endCursor"])


@pytest.mark.parametrize("which", ["items", "data"])
def test_pages_are_walked_backward_too(api, job_id, names, which):
    path, query = lists(job_id)[which]
    body = api.get(path, params={**query, "limit": 10, "offset": 40}).json()
    assert body["pagination"]["hasNextPage"] is False
    pages = [[row["accountingEntryId"] for row in body["data"]]]
    while body["pagination"]["hasPreviousPage"]:
        before = {**query, "limit": 12, "before": body["pagination"]["startCursor"]}
        body = api.get(path, params=before).json()
        assert body["pagination"]["hasNextPage"] is True
        pages.insert(0, [row["accountingEntryId"] for row in body["data"]])
    assert [len(page) for page in pages] == [4, 12, 12, 12, 5]
    assert [name for page in pages for name in page] == names


def test_going_back_to_the_first_page_ends_there(api, job_id, names):
    path, query = lists(job_id)["items"]
    cursor = api.get(path, params={**query, "limit": 5}).json()["pagination"]["endCursor"]
    first = api.get(path, params={**query, "before": cursor}).json()
    assert [row["accountingEntryId"] for row in first["data"]] == names[:4]
    assert (first["pagination"]["hasPreviousPage"], first["pagination"]["hasNextPage"]) == (False, True)


def test_twenty_rows_come_when_no_limit_is_given_and_the_cap_at_most(sandbox, api):
    job_id = sandbox.add_job(120, 2)
    path, query = lists(job_id)["data"]
    default, above = api.get(path, params=query).json(), api.get(path, params={**query, "limit": 1000}).json()
    assert (len(default["data"]), default["pagination"]["currentRequestPagination"]["limit"]) == (20, 20)
    assert (len(above["data"]), above["pagination"]["currentRequestPagination"]["limit"]) == (100, 100)
    assert above["pagination"]["hasNextPage"] is True


@pytest.mark.parametrize("which", ["items", "data"])
def test_a_limit_of_nothing_is_no_limit_given_and_a_client_that_follows_cursors_gets_all(api, job_id, names, which):
    path, query = lists(job_id)[which]
    pages = walk(api, path, {**query, "limit": 0}, "accountingEntryId")
    assert [len(page) for page, _ in pages] == [20, 20, 5]
    assert [name for page, _ in pages for name in page] == names


def test_the_request_is_repeated_in_the_answer(api, job_id):
    path, query = lists(job_id)["data"]
    asked = {**query, "limit": 3, "offset": 2, "sorting_keys": "accountingEntryId", "sorting_order": "DESC"}
    info = api.get(path, params=asked).json()["pagination"]["currentRequestPagination"]
    assert info["limit"] == 3
    assert info["offset"] == 2
    assert (info["sortingKeys"], info["sortingOrder"]) == (["accountingEntryId"], ["DESC"])
    assert info["parameters"]["job_id"] == [job_id]


@pytest.mark.parametrize(
    ("items", "which", "query", "more", "earlier"),
    [
        pytest.param(ITEMS, "items", {"offset": ITEMS}, False, True, id="beyond the end"),
        pytest.param(0, "data", {}, False, False, id="a job without items"),
    ],
)
def test_a_page_may_be_empty(sandbox, api, items, which, query, more, earlier):
    path, given = lists(sandbox.add_job(items))[which]
    body = api.get(path, params=given | query).json()
    info = body["pagination"]
    assert (body["data"], info["total"]) == ([], items)
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (more, earlier)
    assert "endCursor" not in info


@pytest.mark.parametrize("which", ["items", "data"])
@pytest.mark.parametrize("order", ["ASC", "DESC", "ASC_NULLS_FIRST", "DESC_NULLS_LAST"])
def test_pages_can_be_sorted(api, job_id, names, which, order):
    path, query = lists(job_id)[which]
    asked = {**query, "limit": 8, "sorting_keys": "accountingEntryId", "sorting_order": order}
    pages = walk(api, path, asked, "accountingEntryId")
    assert [name for page, _ in pages for name in page] == sorted(names, reverse=order.startswith("DESC"))


@pytest.mark.parametrize(
    ("order", "nulls_first"),
    [("ASC", False), ("ASC_NULLS_FIRST", True), ("DESC", True), ("DESC_NULLS_LAST", False)],
)
def test_nulls_stand_where_the_order_says(api, job_id, names, order, nulls_first, put):
    done = {"status": "successful"}
    put(job_id, *({"accountingEntryId": name, "externalId": f"E{n}", **done} for n, name in enumerate(names[:9])))
    path, query = lists(job_id)["items"]
    asked = {**query, "limit": 10, "sorting_keys": "externalId", "sorting_order": order}
    found = [value for page, _ in walk(api, path, asked, "externalId") for value in page]
    known = sorted((f"E{n}" for n in range(9)), reverse=order.startswith("DESC"))
    nulls = [None] * (ITEMS - 9)
    assert found == (nulls + known if nulls_first else known + nulls)


def test_two_sorting_keys_are_taken_in_their_order(api, job_id, names, put):
    put(job_id, *({"accountingEntryId": name, "status": "successful"} for name in names[::3]))
    path, _ = lists(job_id)["items"]
    query = {"limit": 7, "sorting_keys": ["status", "accountingEntryId"], "sorting_order": ["DESC", "ASC"]}
    pages = walk(api, path, query, "accountingEntryId")
    open_names = [name for name in names if name not in names[::3]]
    assert [name for page, _ in pages for name in page] == sorted(names[::3]) + sorted(open_names)


def test_export_items_can_be_sorted_by_date(api, job_id):
    path, query = lists(job_id)["data"]
    asked = {**query, "limit": 10, "sorting_keys": "date", "sorting_order": "DESC"}
    dates = [date for page, _ in walk(api, path, asked, "date") for date in page]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) == ITEMS


def test_a_filtered_list_keeps_its_place_while_items_leave_it(api, job_id, names, put):
    path = f"/v3/export-jobs/{job_id}/items"
    first = api.get(path, params={"status": "pending", "limit": 10}).json()
    assert first["pagination"]["total"] == ITEMS
    put(job_id, *({"accountingEntryId": name, "status": "successful"} for name in names[:10]))
    after = {"status": "pending", "limit": 10, "after": first["pagination"]["endCursor"]}
    second = api.get(path, params=after).json()
    assert [row["accountingEntryId"] for row in second["data"]] == names[10:20]
    assert second["pagination"]["total"] == ITEMS - 10
    assert second["pagination"]["hasPreviousPage"] is False, "what was before is not pending any more"
    successful = api.get(path, params={"status": "successful", "limit": 100}).json()
    assert [row["accountingEntryId"] for row in successful["data"]] == names[:10]


WRONG = """
    limit=-1 limit=ten limit=2147483648 limit= offset=-1 offset=9223372036854775808 after=lower after= after=AAAA
    after=MFRGG=== before=A~ after=AAAA&before=AAAA after=AAAA&offset=1 before=AAAA&offset=1 sorting_keys=status
    sorting_order=ASC sorting_keys=unheardOf&sorting_order=ASC sorting_keys=status&sorting_order=UP
"""


@pytest.mark.parametrize("query", WRONG.split())
def test_paging_that_the_contract_does_not_have_is_400(api, job_id, query):
    answer = api.get(f"/v3/export-jobs/{job_id}/items?{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "BAD_REQUEST")


def test_of_after_before_and_offset_only_one_may_be_given_even_when_each_is_good(api, job_id):
    path, _ = lists(job_id)["items"]
    info = api.get(path, params={"limit": 5}).json()["pagination"]
    both = api.get(path, params={"after": info["startCursor"], "before": info["endCursor"]})
    assert both.status_code == 400
    assert "only one of before, after, offset" in both.json()["message"]


def test_a_cursor_of_another_list_or_order_is_400(sandbox, api, job_id):
    path, _ = lists(job_id)["items"]
    cursor = api.get(path, params={"limit": 5}).json()["pagination"]["endCursor"]
    other_path, other_query = lists(job_id)["data"]
    other_job = sandbox.add_job(9, 2)
    ordered = {"after": cursor, "sorting_keys": "status", "sorting_order": "ASC"}
    answers = [
        api.get(other_path, params={**other_query, "after": cursor}),
        api.get(f"/v3/export-jobs/{other_job}/items", params={"after": cursor}),
        api.get(path, params=ordered),
    ]
    assert [answer.status_code for answer in answers] == [400] * 3
