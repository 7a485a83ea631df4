"""One expense through all that can happen to it, as its history tells afterwards; and no answer of it gets lost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from blocks.erp.choices import ChangedExpense
from blocks.erp.entries import EntryState
from blocks.erp.errors import ErpUnavailable
from blocks.erp.ledger import Ledger
from blocks.erp.settings import ErpSettings
from blocks.pleo.errors import PleoUnavailable
from flows.steps import plain_steps
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import account, an_item, entry_id, line, money

EXPENSE = entry_id(1)
HISTORY = "SELECT event, (SELECT external_id FROM entry WHERE id = entry_id), job_id, detail FROM history ORDER BY id"


async def test_booked_changed_replaced_posted_changed_again_reversed_and_booked_anew(at_work: Office) -> None:
    pleo = at_work.sandbox
    jobs = [pleo.add_job_of([an_item(1)])]
    assert (await at_work.export()).exit_status == 0

    async def changed(settings: ErpSettings, **changes: Any) -> int:
        pleo.edit_export_item(EXPENSE, changes)
        jobs.append(pleo.export_again(jobs[-1]))
        return (await at_work.export(settings=settings)).exit_status

    to_9000 = {"amount": money(9_000), "accountingEntryLines": [line(9_000)]}
    assert await changed(ErpSettings(), **to_9000) == 0
    assert await changed(ErpSettings(posting=EntryState.POSTED)) == 0
    to_6020 = {"accountingEntryLines": [line(9_000, account=account("6020"))]}
    assert await changed(ErpSettings(posting=EntryState.POSTED), **to_6020) == 1  # all items of the job failed
    anew = ErpSettings(posting=EntryState.POSTED, changed_expense=ChangedExpense.REVERSE)
    assert await changed(anew) == 0

    events = [
        (event, name, job_id, json.loads(str(detail))) for event, name, job_id, detail in at_work.journal(HISTORY)
    ]
    assert [(event, name, job_id) for event, name, job_id, _ in events] == [
        ("recorded", "PX-000001", jobs[0]),
        ("answered", "PX-000001", jobs[0]),
        ("replaced", "PX-000001", jobs[1]),
        ("answered", "PX-000001", jobs[1]),
        ("posted", "PX-000001", ""),
        ("answered", "PX-000001", jobs[2]),
        ("answered", None, jobs[3]),
        ("reversed", "PX-000001", jobs[1]),
        ("recorded", "PX-000003", jobs[4]),
        ("answered", "PX-000003", jobs[4]),
    ]
    said, says = dict(events[2][3]["said_before"]["facts"]), dict(events[2][3]["says"]["facts"])
    assert (said["amount"], says["amount"]) == ("10000 DKK", "9000 DKK")
    assert "line 1 account from 6010 to 6020" in events[6][3]["reason"]
    assert events[7][3] == {"by": "PX-000002", "posting_date": "2026-10-05"}
    told = [pleo.items(job_id)[0] for job_id in jobs]
    assert [item.external_id for item in told] == ["PX-000001", "PX-000001", "PX-000001", None, "PX-000003"]
    assert at_work.journal(
        "SELECT account, sum(debit_minor - credit_minor) FROM journal GROUP BY account ORDER BY account"
    ) == [("5820", -9_000), ("6010", 0), ("6020", 9_000)]


class Forgetful(Ledger):
    """Books that cannot be written when Pleo has answered, as if the run were killed just then."""

    async def note_answers(self, answers: Any) -> None:
        raise ErpUnavailable("the disk is full")


async def _not_now(*_: Any) -> None:
    raise PleoUnavailable("Pleo does not answer")


async def test_what_a_broken_run_told_last_is_in_the_history_once_the_job_is_gone_on_with(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(1), an_item(2), an_item(3, type="unheard_of")])
    steps = replace(plain_steps(), complete_job=_not_now)
    assert (await at_work.export(erp=Forgetful(at_work.books), steps=steps)).exit_status == 1
    answers = "SELECT accounting_entry_id, job_id, detail FROM history WHERE event = 'answered' ORDER BY 1"
    assert at_work.journal(answers) == []
    assert at_work.sandbox.outcome(job_id) == {"successful": 2, "failed": 1}

    assert (await at_work.export()).jobs[0].event == "completed_with_errors"
    told = at_work.journal(answers)
    assert [(id_, job) for id_, job, _ in told] == [(entry_id(n), job_id) for n in (1, 2, 3)]
    assert [json.loads(str(detail))["successful"] for *_, detail in told] == [True, True, False]
    assert "unheard_of" in str(told[2][2])
