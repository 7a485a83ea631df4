"""Step 6, update items: tell Pleo each item's outcome, and make sure that it took it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from blocks.pleo.models import ExportJob, ItemStatus, ItemUpdate, JobItem
from flows.results import updates_of
from flows.session import Session


async def update_items(session: Session, job: ExportJob, batch: pd.DataFrame, number: int) -> dict[str, str]:
    """Send one batch of the results, the `number`-th; returns what Pleo did not take: accounting entry id → what it
    says.

    An item counts as taken only when the answer shows it in the wanted state and names no error for it.
    """
    updates = updates_of(batch)
    answer = await session.pleo.update_job_items(job.id, updates)
    refused = {
        error.accounting_entry_id: f"{error.type or 'error'}: {error.message or 'no message'}"
        for error in answer.errors
    }
    shown = {row.accounting_entry_id: row.status for row in answer.rows}
    not_taken: dict[str, str] = {}
    for update in updates:
        id_ = update.accounting_entry_id
        if id_ in refused:
            not_taken[id_] = refused[id_]
        elif shown.get(id_) != update.status:
            not_taken[id_] = f"Pleo's answer shows it as {shown.get(id_) or 'nothing'}"
    return not_taken


def still_to_send(wanted: Mapping[str, ItemUpdate], rows: Sequence[JobItem]) -> dict[str, ItemUpdate]:
    """Which of the wanted updates Pleo's own rows do not show yet. Times are not compared: Pleo sets its own."""
    as_wanted = {
        row.accounting_entry_id
        for row in rows
        if row.accounting_entry_id in wanted and _shows(row, wanted[row.accounting_entry_id])
    }
    return {id_: update for id_, update in wanted.items() if id_ not in as_wanted}


def _shows(row: JobItem, update: ItemUpdate) -> bool:
    if row.status != update.status:
        return False
    if update.status is ItemStatus.SUCCESSFUL:
        return (row.external_id, row.external_url) == (update.external_id, update.external_url)
    return (row.failure_reason, row.failure_reason_type) == (update.failure_reason, update.failure_reason_type)
