"""An expense's receipts become files that the accounting system takes, or failures in the words of Pleo's table."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from blocks.erp.entries import Attachment
from blocks.erp.settings import Attachments
from blocks.pleo.credentials import PleoCredentials
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from flows.failures import Failure
from flows.receipts.collect import Collected, collect, collect_page
from tests.flows.receipts.collected import (
    ANY,
    DOWNLOAD,
    OPTIONAL,
    PDF,
    PNG,
    REQUIRED,
    SIZE,
    SKIP,
    collected,
    shown,
)
from tests.support.pleo.pleo_items import entry_id, receipt
from tests.support.pleo.receipt_files import pdf, picture
from tests.support.pleo.receipt_server import ReceiptServer, item_of

NONE_THERE = Failure(
    ItemFailure.VALIDATION,
    "The expense has no receipt, and the settings require one. Add it in Pleo and export again.",
)
NONE_TAKEN = Failure(
    ItemFailure.INVALID_CONFIGURATION,
    "The settings require receipts, but the accounting system takes none. Change the setting for attachments.",
)


async def test_each_file_becomes_an_attachment_in_pleos_order(server: ReceiptServer, tmp_path: Path) -> None:
    contents = (pdf(), picture(), b"Coffee 3.50", picture("JPEG"))
    found = await collected(server, tmp_path, server.item(*contents))
    assert shown(found) == [
        (1, "BOOK-1-receipt-1.pdf", PDF),
        (2, "BOOK-1-receipt-2.png", PNG),
        (3, "BOOK-1-receipt-3.txt", "text/plain"),
        (4, "BOOK-1-receipt-4.jpg", "image/jpeg"),
    ]
    assert [one.path.read_bytes() for one in found.attachments] == list(contents)
    assert (found.problems, found.links_dead) == ((), False)


@pytest.mark.parametrize(
    ("reference", "stem"),
    [
        ("BOOK 7/ä", "BOOK-7"),
        ("../../etc/passwd", "etc-passwd"),
        ("\u202efdp.exe\n", "fdp-exe"),
        ("x" * 100, "x" * 40),
        ("收据", entry_id(1)[:8]),
        (None, entry_id(1)[:8]),
    ],
)
async def test_a_file_name_is_short_and_harmless(
    server: ReceiptServer, tmp_path: Path, reference: str | None, stem: str
) -> None:
    item = server.item(pdf(), additionalInformation={"reconciliationId": reference})
    assert shown(await collected(server, tmp_path, item)) == [(1, f"{stem}-receipt-1.pdf", PDF)]


async def test_what_is_attached_already_is_not_fetched_again(server: ReceiptServer, tmp_path: Path) -> None:
    item = server.item(pdf(), picture(), pdf())
    found = await collected(server, tmp_path, item, skip=frozenset({1, 3}))
    assert shown(found) == [(2, "BOOK-1-receipt-2.png", PNG)]
    assert server.asked == ["/receipts/2"]


async def test_where_receipts_are_skipped_nothing_is_fetched(server: ReceiptServer, tmp_path: Path) -> None:
    assert await collected(server, tmp_path, server.item(pdf()), policy=SKIP) == Collected()
    assert server.asked == []


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [REQUIRED, OPTIONAL])
@pytest.mark.parametrize(("content", "dead"), [(404, True), (403, True), (500, False)])
async def test_a_file_that_does_not_come_is_a_problem_beside_those_that_do(
    server: ReceiptServer, tmp_path: Path, policy: Attachments, content: bytes | int, dead: bool
) -> None:
    found = await collected(server, tmp_path, server.item(pdf(), content, pdf()), policy=policy)
    assert [one.number for one in found.attachments] == [1, 3]
    assert (found.problems, found.links_dead) == ((DOWNLOAD,), dead)


@pytest.mark.parametrize("file", [None, receipt(None), receipt(""), receipt("http://10.0.0.1/r.pdf"), receipt("r")])  # type: ignore[arg-type]
async def test_a_file_without_a_usable_link_is_one_that_did_not_come(
    server: ReceiptServer, tmp_path: Path, file: dict[str, Any] | None
) -> None:
    found = await collected(server, tmp_path, item_of([file, server.put(pdf())]))
    assert ([one.number for one in found.attachments], found.problems, found.links_dead) == ([2], (DOWNLOAD,), False)


async def test_a_file_that_pleo_says_is_too_large_is_not_fetched(server: ReceiptServer, tmp_path: Path) -> None:
    at_limit, over = ({**server.put(pdf()), "size": size} for size in (5000, 5001))
    found = await collected(server, tmp_path, item_of([at_limit, over]), max_attachment_bytes=5000)
    assert ([one.number for one in found.attachments], found.problems) == ([1], (SIZE,))
    assert server.asked == ["/receipts/1"]


async def test_a_file_that_turns_out_too_large_fails_likewise(server: ReceiptServer, tmp_path: Path) -> None:
    said_small = {**server.put(pdf() + bytes(5000)), "size": 10}
    found = await collected(server, tmp_path, item_of([said_small]), max_attachment_bytes=5000)
    assert found == Collected(problems=(SIZE,))


async def test_a_size_that_pleo_states_wrongly_is_only_logged(
    server: ReceiptServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = pdf()
    found = await collected(server, tmp_path, item_of([{**server.put(content), "size": 7}]))
    assert (len(found.attachments), found.problems) == (1, ())
    assert caplog.messages == [f"Receipt 1 of {entry_id(1)} has {len(content)} bytes, Pleo says 7"]


async def test_the_log_tells_the_cause_and_not_the_link(
    server: ReceiptServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await collected(server, tmp_path, server.item(404))
    assert caplog.messages == [f"Receipt 1 of {entry_id(1)}: 127.0.0.1 says that the link is no good (HTTP 404)"]


# -- required, and none there -----------------------------------------------------------------------------------------

BY_NATURE_WITHOUT = [
    "mileage",
    "per_diem",
    "wallet_topup",
    "wallet_unload",
    "direct_reimbursement",
    "external_reimbursement",
    "fee",
    "cashback",
    "atm_withdrawal",
    "invoice_payment",
    "refund",
    "chargeback",
    "personal_spend",
    "something_new",
]


@pytest.mark.parametrize("files", [None, []])
@pytest.mark.parametrize("type_", ["card_purchase", "card_invoice", "out_of_pocket", "invoice"])
async def test_a_required_receipt_that_pleo_does_not_have_fails_its_expense(
    server: ReceiptServer, tmp_path: Path, files: list[dict[str, Any]] | None, type_: str
) -> None:
    item = item_of(files, type=type_)
    assert await collected(server, tmp_path, item) == Collected(problems=(NONE_THERE,))
    assert await collected(server, tmp_path, item, policy=OPTIONAL) == Collected()
    assert await collected(server, tmp_path, item, skip=frozenset({1})) == Collected()


@pytest.mark.parametrize("type_", BY_NATURE_WITHOUT)
async def test_what_has_no_receipt_by_nature_needs_none(server: ReceiptServer, tmp_path: Path, type_: str) -> None:
    assert await collected(server, tmp_path, item_of(None, type=type_)) == Collected()
    found = await collected(server, tmp_path, item_of([server.put(404)], type=type_))
    assert found.problems == (DOWNLOAD,)  # but one that is there is required like any other


async def test_an_erp_that_takes_no_files_gets_none(server: ReceiptServer, tmp_path: Path) -> None:
    item = server.item(pdf())
    assert await collected(server, tmp_path, item, policy=OPTIONAL, max_attachments=0) == Collected()
    assert await collected(server, tmp_path, item, max_attachments=0) == Collected(problems=(NONE_TAKEN,))
    assert await collected(server, tmp_path, item_of(None, type="mileage"), max_attachments=0) == Collected()
    assert server.asked == []


# -- many, and for real -----------------------------------------------------------------------------------------------


async def test_a_page_of_expenses_is_collected_side_by_side(server: ReceiptServer, tmp_path: Path) -> None:
    items = [server.item(pdf(), 404 if n == 7 else picture(), number=n) for n in range(1, 26)]
    skip = {entry_id(3): frozenset({1, 2})}
    async with server.client() as files:
        found = await collect_page(items, files, ANY, REQUIRED, tmp_path, skip)
    assert list(found) == [entry_id(n) for n in range(1, 26)]
    assert {id_: len(one.attachments) for id_, one in found.items() if len(one.attachments) != 2} == {
        entry_id(3): 0,
        entry_id(7): 1,
    }
    assert len(server.asked) == 48


async def test_a_hundred_files_of_one_expense_come(server: ReceiptServer, tmp_path: Path) -> None:
    found = await collected(server, tmp_path, server.item(*[pdf()] * 100))
    assert [one.number for one in found.attachments] == list(range(1, 101))


@pytest.mark.parametrize("policy", [REQUIRED, OPTIONAL])
async def test_of_more_than_a_hundred_files_none_is_asked_for_and_the_number_is_told(
    server: ReceiptServer, tmp_path: Path, policy: Attachments
) -> None:
    found = await collected(server, tmp_path, server.item(*[pdf()] * 101), policy=policy)
    reason = "The expense has 101 receipts, and at most 100 can be attached. Put them together in fewer files in Pleo"
    assert (found.attachments, server.asked) == ((), [])
    assert found.problems == (Failure(ItemFailure.VALIDATION, f"{reason}, and export again."),)


class Ends(Exception):
    """What the clock raises in a run that is asked to end."""


async def test_the_end_of_the_run_ends_collecting_as_it_is(server: ReceiptServer, tmp_path: Path) -> None:
    async def sleep(_seconds: float) -> None:
        raise Ends

    items = [server.item(500, pdf(), number=n) for n in range(1, 9)]
    async with server.client(clock=Clock(sleep=sleep)) as files:
        with pytest.raises(Ends):
            await collect_page(items, files, ANY, REQUIRED, tmp_path, {})
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_the_first_error_ends_what_is_under_way_beside_it(server: ReceiptServer, tmp_path: Path) -> None:
    class Files:
        async def download(self, url: str, *_: object, **__: object) -> None:
            if url.endswith("/3"):
                raise OSError("no space left on the disk")
            await asyncio.Event().wait()

    items = [server.item(pdf(), number=n) for n in range(1, 5)]
    with pytest.raises(OSError, match="no space left"):
        async with asyncio.timeout(10):
            await collect_page(items, cast("FileClient", Files()), ANY, REQUIRED, tmp_path, {})


async def test_what_is_wrong_on_our_side_is_no_problem_of_the_expense(server: ReceiptServer, tmp_path: Path) -> None:
    (tmp_path / entry_id(1)).write_bytes(b"in the way")
    async with server.client() as files:
        with pytest.raises(FileExistsError):
            await collect(server.item(pdf()), files, ANY, OPTIONAL, tmp_path)


async def test_receipts_of_the_sandbox_are_followed_from_item_to_file(tmp_path: Path) -> None:
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        job_id = sandbox.add_job(items=60, seed=5, failing=False)
        async with (
            PleoCredentials(base_url=url, api_key=SecretStr(SANDBOX_API_KEY)).get_client() as pleo,
            FileClient(url) as files,
        ):
            page = await pleo.get_export_items(job_id)
            items = [item for item in page.items(page.ids).values() if isinstance(item, ExportItem)]
            found = await collect_page(items, files, ANY, OPTIONAL, tmp_path, {})
        assert sandbox.received().receipts == sum(len(item.files or ()) for item in items) > 20
    attached: list[Attachment] = [one for item in found.values() for one in item.attachments]
    stated = [(file.size, file.type) for item in items for file in item.files or () if file is not None]
    assert [item.problems for item in found.values()] == [()] * 60
    assert {one.media_type for one in attached} == {PDF, PNG, "image/jpeg"}
    assert all(
        size in (None, one.size) and kind in (None, one.media_type)
        for one, (size, kind) in zip(attached, stated, strict=True)
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "is empty"), (b"<!doctype html><html><body>Receipt 12.50</body></html>", "is a web page and no file")],
)
async def test_a_file_that_is_no_receipt_is_told_with_what_to_do_and_never_to_be_exported_again_as_it_is(
    server: ReceiptServer, tmp_path: Path, content: bytes, what: str
) -> None:
    found = await collected(server, tmp_path, server.item(pdf(), content))
    (problem,) = found.problems
    assert problem == Failure(
        ItemFailure.RECEIPT_DOWNLOAD,
        f"The receipt in Pleo {what}. Replace it in Pleo, by a PDF for instance, and export again.",
    )
    assert len(found.attachments) == 1
