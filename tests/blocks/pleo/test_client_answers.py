"""Whatever comes back, or does not: a value, or one of the drawn errors, in as many requests as it should take."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from blocks.pleo.errors import (
    AlreadyInProgress,
    JobFinished,
    MissingContraAccounts,
    NotPleo,
    PleoAuthenticationError,
    PleoError,
    PleoNotFound,
    PleoOutcomeUnknown,
    PleoPermissionError,
    PleoRejected,
    PleoUnavailable,
)
from blocks.pleo.http import transport
from blocks.pleo.models import ItemStatus, ItemUpdate, JobEvent
from tests.support.pleo.scripted_pleo import (
    COMPANY_ID,
    ENTRY_ID,
    JOB_ID,
    Step,
    answer,
    cut,
    drop,
    endless,
    html,
    job,
    page,
    refusal,
    scripted,
)

GOOD = answer({"data": job()})
TRANSIENT: dict[str, Step] = {
    "dropped": drop,
    "cut in the head": cut(GOOD, len(GOOD) - 10),
    "cut in the body": cut(GOOD),
    "500": answer(None, 500),
    "502": html(502),
    "503": refusal(503, "UNAVAILABLE"),
    "504": answer("", 504),
    "408": answer("", 408),
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a head with a broken line": b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}",
    "gzip that is none": answer(b"not gzip", content_encoding="gzip"),
}
AFTER_A_GOOD_ANSWER: dict[str, Step] = {
    "HTML": html(),
    "cut JSON": answer('{"data": {"id": "'),
    "foreign JSON": answer({"hello": "world"}),
    "no body": answer(""),
    "a 404 page": html(404),
    "a redirect": answer("", 302, location="https://elsewhere.example/"),
    "NUL bytes": answer(b"\0" * 100),
    "a job that cannot be read": answer({"data": job(id=5)}),
}


@pytest.mark.parametrize("step", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_passing_trouble_costs_one_more_request_and_at_most_a_second(step: Step) -> None:
    async with scripted([step, GOOD]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).id == JOB_ID
        assert client.requests_sent == 2
    assert len(pleo.requests) == 2
    assert len(pleo.time.sleeps) == 1
    assert 0.5 <= pleo.time.sleeps[0] <= 1.0


@pytest.mark.parametrize("step", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_lasting_trouble_ends_after_six_tries_with_one_line(step: Step) -> None:
    async with scripted([step] * 9) as pleo, pleo.client() as client:
        with pytest.raises(PleoUnavailable, match="after 6 tries") as caught:
            await client.get_job(JOB_ID)
    assert len(pleo.requests) == 6
    assert len(pleo.time.sleeps) == 5
    assert sum(pleo.time.sleeps) <= 300
    assert str(caught.value).startswith(f"GET /v3/export-jobs/{JOB_ID}: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("step", AFTER_A_GOOD_ANSWER.values(), ids=AFTER_A_GOOD_ANSWER.keys())
async def test_a_first_answer_that_is_not_pleos_is_said_at_once(step: Step) -> None:
    async with scripted([step] * 9) as pleo, pleo.client() as client:
        with pytest.raises(NotPleo, match="check the base URL") as caught:
            await client.get_job(JOB_ID)
    assert len(pleo.requests) == 1
    assert pleo.url in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("step", AFTER_A_GOOD_ANSWER.values(), ids=AFTER_A_GOOD_ANSWER.keys())
async def test_the_same_after_a_good_answer_passes(step: Step) -> None:
    async with scripted([GOOD, step, step, GOOD]) as pleo, pleo.client() as client:
        await client.get_job(JOB_ID)
        assert (await client.get_job(JOB_ID)).id == JOB_ID
    assert len(pleo.requests) == 4


async def test_a_refusal_in_pleos_words_is_a_good_answer_too() -> None:
    async with scripted([refusal(404, "EXPORT_NOT_FOUND"), html(), GOOD]) as pleo, pleo.client() as client:
        with pytest.raises(PleoNotFound):
            await client.get_job(JOB_ID)
        assert (await client.get_job(JOB_ID)).id == JOB_ID


async def test_an_answer_without_a_body_to_check_does_not_prove_that_it_was_pleo() -> None:
    async with scripted([html(200), html(200)]) as pleo, pleo.client() as client:
        with pytest.raises(NotPleo):
            await client.post_event(JOB_ID, JobEvent.STARTED)
    assert len(pleo.requests) == 2


ANOTHER_SYSTEMS_404 = [
    {"type": "about:blank", "title": "Not Found", "status": 404},
    {"type": "https://tools.ietf.org/html/rfc9110#section-15.5.5", "title": "Not Found"},
    {"detail": "Not Found"},
    {"type": 404},
    {"type": None, "message": "x"},
    *(["type"], "type", None),
]
OTHER_JSON = [[], {}, {"data": None}, {"data": []}, {"data": [job()]}, 5, "x", None, True]


@pytest.mark.parametrize(
    ("status", "wrong"), [*((404, wrong) for wrong in ANOTHER_SYSTEMS_404), *((200, wrong) for wrong in OTHER_JSON)]
)
async def test_json_of_another_shape_is_not_pleos_nor_is_another_systems_404_an_unknown_job(
    status: int, wrong: Any
) -> None:
    async with scripted([answer(wrong if wrong is not None else "null", status)]) as pleo, pleo.client() as client:
        with pytest.raises(NotPleo):
            await client.get_job(JOB_ID)
    assert len(pleo.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": []},
        {"data": [], "pagination": {}},
        {"data": [], "pagination": None},
        {"data": {}, "pagination": {"hasNextPage": False}},
        {"data": [], "pagination": {"hasNextPage": "false"}},
        {"data": [], "pagination": {"hasNextPage": 0}},
        {"data": [], "pagination": {"hasNextPage": True, "endCursor": 5}},
    ],
)
async def test_a_list_without_the_contracts_envelope_is_not_pleos(wrong: Any) -> None:
    async with scripted([answer(wrong)]) as pleo, pleo.client() as client:
        with pytest.raises(NotPleo):
            await client.list_jobs()


async def test_the_content_type_does_not_matter_where_the_body_is_right() -> None:
    good = answer({"data": job()}, content_type="text/plain")
    async with scripted([good]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).id == JOB_ID


# -- 401 and 403 --------------------------------------------------------------------------------------------------

REFUSALS = [(401, PleoAuthenticationError), (403, PleoPermissionError)]


@pytest.mark.parametrize(("status", "error"), REFUSALS)
@pytest.mark.parametrize("form", ["ExceptionInfo", "HTML", "no body", "cut", "without end", "too large"])
async def test_401_and_403_are_one_request_whatever_their_body(
    status: int, error: type[PleoError], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUT_S", 2.0)
    whole = refusal(status, "UNAUTHORIZED")
    head = whole.split(b"\r\n\r\n")[0].replace(b"content-length", b"x-length")
    steps: dict[str, Step] = {
        "ExceptionInfo": whole,
        "HTML": html(status),
        "no body": answer("", status),
        "cut": cut(whole),
        "without end": endless(head + b"\r\n\r\n", b"x", 0.01),
        "too large": head + b"\r\ncontent-length: 99999999999\r\n\r\n",
    }
    async with scripted([steps[form]] * 3) as pleo, pleo.client() as client:
        with pytest.raises(error) as caught:
            await client.list_jobs()
        for call in (
            client.get_job(JOB_ID),
            client.create_job(COMPANY_ID, []),
            client.update_job_items(JOB_ID, [ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL)]),
        ):
            pleo.requests.clear()
            with pytest.raises(error):
                await call
            assert len(pleo.requests) == 1
    assert pleo.time.sleeps == []
    assert str(status) in str(caught.value)


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "type_", "error"),
    [
        (400, "MISSING_CONTRA_ACCOUNTS", MissingContraAccounts),
        (400, "missing_contra_accounts", MissingContraAccounts),
        (409, "EXPORT_ALREADY_IN_PROGRESS", AlreadyInProgress),
        (422, "EXPORT_JOB_STATUS_UNPROCESSABLE", JobFinished),
        (422, "INVALID_EXPORT_JOB_STATUS_CHANGE", JobFinished),
        (404, "EXPORT_NOT_FOUND", PleoNotFound),
        (413, "EXPORT_JOB_ITEMS_UPDATE_LIMIT", PleoRejected),
        (400, "SOMETHING_NEW", PleoRejected),
    ],
)
async def test_a_refusal_is_classed_by_its_type_and_never_repeated(
    status: int, type_: str, error: type[PleoRejected]
) -> None:
    async with scripted([refusal(status, type_, "why\nnot")]) as pleo, pleo.client() as client:
        with pytest.raises(PleoRejected) as caught:
            await client.get_export_items(JOB_ID)
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.type, caught.value.reason) == (status, type_, "why not")
    assert str(caught.value) == f"Pleo refused: {type_} (HTTP {status}): why not"
    assert len(pleo.requests) == 1


@pytest.mark.parametrize("message", [None, "", "x" * 5_000_000, "\ud800\u202e\x1b[31m", "a\u2028b"])
async def test_what_pleo_says_is_cut_to_one_printable_line(message: str | None) -> None:
    async with scripted([refusal(400, "T" * 500_000, message)]) as pleo, pleo.client() as client:
        with pytest.raises(PleoRejected) as caught:
            await client.get_job(JOB_ID)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("error", [PleoRejected, PleoNotFound, JobFinished, MissingContraAccounts, AlreadyInProgress])
def test_a_refusal_survives_the_way_out_of_a_prefect_task(error: type[PleoRejected]) -> None:
    made = error(422, "A_TYPE", "a reason")
    back = pickle.loads(pickle.dumps(made))
    assert type(back) is error
    assert (back.status, back.type, back.reason, str(back)) == (422, "A_TYPE", "a reason", str(made))


# -- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_never_takes_the_key_to_another_host(status: int) -> None:
    async with scripted(lambda _: GOOD) as elsewhere:
        there = answer({"data": job()}, status, location=f"{elsewhere.url}/v3/export-jobs/{JOB_ID}")
        async with scripted([there, GOOD, there, there, GOOD]) as pleo, pleo.client() as client:
            with pytest.raises(NotPleo):
                await client.get_job(JOB_ID)
            assert len(pleo.requests) == 1
            await client.get_job(JOB_ID)
            await client.get_job(JOB_ID)
            assert len(pleo.requests) == 5
    assert elsewhere.requests == []


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(lambda _: GOOD) as proxy, scripted([GOOD]) as pleo:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        async with pleo.client() as client:
            await client.get_job(JOB_ID)
    assert proxy.requests == []


# -- writes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_creating_a_job_is_never_repeated_blindly(step: Step) -> None:
    async with scripted([step, GOOD]) as pleo, pleo.client() as client:
        with pytest.raises(PleoOutcomeUnknown, match="POST /v3/export-jobs"):
            await client.create_job(COMPANY_ID, [ENTRY_ID])
    assert len(pleo.requests) == 1
    assert pleo.time.sleeps == []


async def test_creating_a_job_is_repeated_after_a_429_which_did_nothing() -> None:
    async with scripted([answer("", 429), answer({"data": job()}, 201)]) as pleo, pleo.client() as client:
        assert (await client.create_job(COMPANY_ID, [ENTRY_ID])).id == JOB_ID
    assert len(pleo.requests) == 2


async def test_a_created_job_that_cannot_be_read_is_in_doubt() -> None:
    async with scripted([GOOD, answer("<html>", 201)]) as pleo, pleo.client() as client:
        await client.get_job(JOB_ID)
        with pytest.raises(PleoOutcomeUnknown):
            await client.create_job(COMPANY_ID, [ENTRY_ID])
    assert len(pleo.requests) == 2


@pytest.mark.parametrize("step", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_an_update_is_repeated_as_it_stands(step: Step) -> None:
    update = ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL, external_id="7")
    async with scripted([step, answer({"data": [], "errors": []})]) as pleo, pleo.client() as client:
        result = await client.update_job_items(JOB_ID, [update])
    assert (result.rows, result.errors) == ((), ())
    first, second = pleo.requests
    assert (first.target, first.body) == (second.target, second.body)
    assert first.method == second.method == "PUT"


@pytest.mark.parametrize("wrong", [{"data": None, "errors": []}, {"errors": []}, {"data": [], "errors": {"a": 1}}, []])
async def test_an_update_answer_of_another_shape_is_not_taken_for_a_success(wrong: Any) -> None:
    update = ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL)
    async with scripted([GOOD, *[answer(wrong)] * 6]) as pleo, pleo.client() as client:
        await client.get_job(JOB_ID)
        with pytest.raises(PleoUnavailable):
            await client.update_job_items(JOB_ID, [update])


async def test_nobody_listening_is_a_passing_trouble_with_one_line() -> None:
    async with scripted([]) as pleo:
        gone = pleo
    async with gone.client() as client:
        with pytest.raises(PleoUnavailable, match="no connection") as caught:
            await client.list_jobs()
    assert str(caught.value).isprintable()


async def test_cancelling_a_call_ends_it_and_leaves_the_client_usable() -> None:
    arrived = asyncio.Event()

    async def never(_: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.sleep(60)

    async with scripted([never, GOOD]) as pleo, pleo.client() as client:
        task = asyncio.create_task(client.get_job(JOB_ID))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get_job(JOB_ID)).id == JOB_ID


async def test_the_rows_of_a_job_are_not_taken_for_its_export_items() -> None:
    """Both have the expenses' ids, and an answer has been known to go to the wrong request."""
    rows = page([{"accountingEntryId": ENTRY_ID, "exportJobId": JOB_ID, "status": "pending"}])
    items = page([{"accountingEntryId": ENTRY_ID}])
    async with scripted([answer(page()), answer(rows), answer(items)]) as pleo, pleo.client() as client:
        await client.list_jobs()
        fetched = await client.get_export_items(JOB_ID)
    assert fetched.ids == (ENTRY_ID,)
    assert "exportJobId" not in fetched.text
    assert len(pleo.requests) == 3
