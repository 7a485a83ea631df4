"""Look up, write, look up: against a server that does other things than it was asked, and whose answers get lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.errors import ErpOutcomeUnknown, RefusalKind
from tests.support.erp.acme.adapter import AcmeErp
from tests.support.erp.acme.harness import AcmeHarness
from tests.support.erp.contract.books import all_recorded, is_recorded, is_refused
from tests.support.erp.contract.entries import DRAFT, POSTED, Maker
from tests.support.erp.contract.harness import How
from tests.support.erp.contract.site import another
from tests.support.network.fault_proxy import Cut, Fault, proxying

Row = dict[str, Any]


@contextmanager
def _acme(meddle: Callable[[Row, str], None] = lambda _row, _call: None) -> Iterator[AcmeHarness]:
    """Acme, which does `meddle` with an entry after each `create` and `post`, in silence."""
    with AcmeHarness.running(None, Path()) as harness:  # type: ignore[arg-type]
        books = harness._books
        create, post = books._create, books._post

        def creating(entries: list[Row]) -> Any:
            answer = create(entries)
            for entry in entries:
                meddle(books.entries[entry["id"]], "create")
            return answer

        def posting(ids: list[str]) -> Any:
            answer = post(ids)
            for id_ in ids:
                meddle(books.entries[id_], "post")
            return answer

        books._create, books._post = creating, posting  # type: ignore[method-assign]
        yield harness


@asynccontextmanager
async def _opened(harness: AcmeHarness) -> AsyncIterator[AcmeErp]:
    async with another(harness) as erp:
        assert isinstance(erp, AcmeErp)
        yield erp


def _other_date(row: Row, call: str) -> None:
    if call == "create":
        row["date"] = "2026-04-30"


def _other_amount(row: Row, call: str) -> None:
    if call == "create":
        row["lines"][0]["amount_minor"] += 1
        row["lines"][1]["amount_minor"] -= 1


def _one_line_more(row: Row, call: str) -> None:
    if call == "create":
        row["lines"] = [*row["lines"], {**row["lines"][0], "amount_minor": 0}]


def _date_when_posted(row: Row, call: str) -> None:
    if call == "post":
        row["date"] = "2026-04-30"


@pytest.mark.parametrize(
    ("meddle", "said", "stays"),
    [
        (_other_date, "its date is 2026-04-30", False),
        (_other_amount, "has debit 10.01 DKK on 6000 besides", False),
        (_one_line_more, "has debit 0.00 DKK on 6000 besides", False),
        (_date_when_posted, "its date is 2026-04-30", True),
    ],
)
async def test_what_the_system_did_otherwise_fails_its_entry_and_leaves_no_draft(
    tmp_path: Path, meddle: Callable[[Row, str], None], said: str, stays: bool
) -> None:
    victims: set[str] = set()

    def only_some(row: Row, call: str) -> None:
        if row["id"] in victims:
            meddle(row, call)

    with _acme(only_some) as harness:
        make = Maker(harness.names, f"{said}{stays}", tmp_path)
        good, bad, other = make.purchase(), make.purchase(), make.purchase(state=DRAFT)
        victims.add(bad.accounting_entry_id)
        async with _opened(harness) as erp:
            first, refused, third = await erp.record([good, bad, other])
        is_recorded(first, good)
        is_recorded(third, other)
        told = is_refused(refused, bad, RefusalKind.OTHER)
        assert said in told.message
        standing = harness.books([bad.accounting_entry_id])
        assert [one.state for one in standing] == ([POSTED] if stays else [])
        assert ("could not be taken back" in told.message) is stays


@pytest.mark.parametrize("path", ["/entries$", "/entries/post"])
@pytest.mark.parametrize("passes", [True, False], ids=["after", "before"])
async def test_an_answer_that_is_lost_is_looked_up_and_nothing_is_sent_twice(
    tmp_path: Path, path: str, passes: bool
) -> None:
    with _acme() as harness, proxying(harness.address) as proxy:
        make = Maker(harness.names, f"{path}{passes}", tmp_path)
        entries = make.purchases(3)
        async with another(harness, How(address=proxy.address)) as erp:
            proxy.clear()
            fault = proxy.add(Fault(method="POST", path=path, passes=passes, cut=Cut.NONE))
            if passes:
                all_recorded(await erp.record(entries), entries)
            else:
                with pytest.raises(ErpOutcomeUnknown):
                    await erp.record(entries)
            assert fault.met == 1
            assert proxy.counts["POST", "/entries"] == 1
            assert proxy.counts["POST", "/entries/post"] <= 1
        standing = harness.books([entry.accounting_entry_id for entry in entries])
        if passes:
            assert [one.state for one in standing] == [POSTED] * 3
        else:
            assert [one.state for one in standing] == ([DRAFT] * 3 if "post" in path else [])


async def test_a_refused_batch_is_halved_until_the_bad_ones_stand_alone(tmp_path: Path) -> None:
    with _acme() as harness:
        make = Maker(harness.names, "halved", tmp_path)
        entries = [make.purchase(1000 + n, tax_minor=0) for n in range(20)]
        harness.close_period(harness.names.closing_day)
        bad = {3, 4, 17}
        sent = [
            replace(entry, posting_date=harness.names.closing_day) if n in bad else entry
            for n, entry in enumerate(entries)
        ]
        async with _opened(harness) as erp:
            harness._books.periods[2][2] = True  # it is closed after the reference was read
            await erp.load_reference()
            harness.close_period(harness.names.closing_day)
            outcomes = await erp.record(sent)
        for n, (outcome, entry) in enumerate(zip(outcomes, sent, strict=True)):
            if n in bad:
                is_refused(outcome, entry, RefusalKind.CLOSED_PERIOD)
            else:
                is_recorded(outcome, entry)
        assert len(harness.books([entry.accounting_entry_id for entry in entries])) == 17
