"""What the export does with an ERP, as far as the contract goes."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.erp.base import Erp
from blocks.erp.entries import Entry, EntryState, Recorded
from blocks.erp.errors import ErpOutcomeUnknown, ErpUnavailable

TRIES = 6
"""How often the runner makes a call in all."""


async def ready(erp: Erp, company_id: str, *, dry_run: bool = False) -> Erp:
    """Open an Erp and bring it through step 2. It is closed again where that fails."""
    try:
        await erp.open(company_id, dry_run=dry_run)
        await erp.validate()
        await erp.load_reference()
    except BaseException:
        await erp.close()
        raise
    return erp


async def bring_to_an_end(erp: Erp, entries: Sequence[Entry]) -> list[Recorded]:
    """Go on as the runner does after whatever happened, and try again as often: look up, record what is missing,
    attach, post and settle what was left undone. Returns what stands then, in the order of the entries."""
    trouble: Exception | None = None
    for _ in range(TRIES):
        try:
            return await _once_more(erp, entries)
        except (ErpUnavailable, ErpOutcomeUnknown) as error:
            trouble = error
    assert trouble is not None
    raise trouble


async def _once_more(erp: Erp, entries: Sequence[Entry]) -> list[Recorded]:
    ids = [entry.accounting_entry_id for entry in entries]
    found = await erp.find(ids)
    missing = [entry for entry in entries if entry.accounting_entry_id not in found]
    most = erp.describe().max_entries
    for start in range(0, len(missing), most):
        for outcome in await erp.record(missing[start : start + most]):
            assert isinstance(outcome, Recorded), outcome
            assert outcome.not_attached == ()
    for entry in entries:
        stands = found.get(entry.accounting_entry_id)
        files = [one for one in entry.attachments if stands is not None and one.number not in stands.attached]
        if files:
            assert await erp.attach(entry.accounting_entry_id, files) == []
    unfinished = [
        entry.accounting_entry_id
        for entry in entries
        if entry.state is EntryState.POSTED
        and (stands := found.get(entry.accounting_entry_id)) is not None
        and (stands.state is EntryState.DRAFT or stands.may_be_settled)
    ]
    if unfinished:
        assert await erp.post(unfinished) == []
    found = await erp.find(ids)
    return [found[id_] for id_ in ids]
