"""Somebody deletes a draft between the look-up and what is done about it: nothing is reported that does not stand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from blocks.erp.entries import Attachment, EntryState, NotAttached
from blocks.erp.errors import Refused
from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.sandbox.receipts import stored_url
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import an_item, entry_id

NAME = "5f0d3c1a-0000-4000-8000-000000000001.pdf"
FIRST = entry_id(1)


class _Deleting(SmallErp):
    """An accounting system in which a person deletes the first expense's draft just before we would finish it, once.

    As Tryton does, it says of receipts that the entry is gone, and of posting nothing.
    """

    def __init__(self, server: SmallErpServer) -> None:
        super().__init__(server.base_url)
        self._server = server
        self._is_deleted = False

    def _delete(self) -> None:
        if not self._is_deleted:
            del self._server.entries[FIRST]
            self._is_deleted = True

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        self._delete()
        return await super().post([id_ for id_ in accounting_entry_ids if id_ in self._server.entries])

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        self._delete()
        if accounting_entry_id not in self._server.entries:
            return [NotAttached(one.number, "the entry does not stand any more") for one in attachments]
        return await super().attach(accounting_entry_id, attachments)


@pytest.mark.parametrize("receipts", Attachments)
@pytest.mark.parametrize("posting", EntryState)
async def test_a_draft_that_is_deleted_before_it_is_finished_is_booked_anew(
    at_work: Office, erp: SmallErpServer, receipts: Attachments, posting: EntryState
) -> None:
    items = [an_item(n, files=[{"url": stored_url(NAME), "type": "application/pdf"}]) for n in (1, 2)]
    job_id = at_work.sandbox.add_job_of(items)
    await at_work.export(erp=SmallErp(erp.base_url), settings=ErpSettings(attachments=Attachments.SKIP))
    again = at_work.sandbox.export_again(job_id)
    deleting = _Deleting(erp)
    report = await at_work.export(erp=deleting, settings=ErpSettings(posting=posting, attachments=receipts))
    assert (report.exit_status, report.jobs[0].successful) == (0, 2)
    stand = {id_: f"S-{entry.number}" for id_, entry in erp.entries.items()}
    assert {one.accounting_entry_id: one.external_id for one in at_work.sandbox.items(again)} == stand
    assert all(entry.posted is (posting is EntryState.POSTED) for entry in erp.entries.values())
    assert deleting._is_deleted or (receipts, posting) == (Attachments.SKIP, EntryState.DRAFT)
