"""Which of some entries may be recorded now, beside what stands and beside each other.

The rules are `flows.bookkeeping.precedents`; here the accounting system is asked, and of two bills of one invoice that
come together the second waits until the first stands: only then can it be said under which number, or that it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from blocks.erp.base import Erp
from blocks.erp.entries import Entry
from blocks.erp.precedents import NO_PRECEDENTS, StandingBill, bill_of
from blocks.erp.settings import ErpSettings
from flows.bookkeeping.precedents import JobMemory, asks_for_precedents, judged, others_of, same_invoice_notice
from flows.failures import Failure


@dataclass(slots=True)
class Verdict:
    """The entries to be recorded `now`, those to be judged `later`, once these stand, and why others fail, by id.

    `beside` are the bills of the same invoice that an entry is recorded beside, by its id.
    """

    now: list[Entry] = field(default_factory=list)
    later: list[Entry] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    beside: dict[str, list[StandingBill]] = field(default_factory=dict)


async def judge(erp: Erp, entries: Sequence[Entry], memory: JobMemory, settings: ErpSettings) -> Verdict:
    """Judge entries that do not stand yet, in their order. The first of them is never left for later.

    Raises as `Erp.precedents`.
    """
    asking = [entry for entry in entries if asks_for_precedents(entry, settings)]
    asks = bool(asking) and erp.describe().tells_precedents
    stands = memory.precedents(await erp.precedents(asking) if asks else NO_PRECEDENTS)
    verdict, invoices = Verdict(), set[tuple[str, str]]()
    for entry in entries:
        bill = bill_of(entry)
        invoice = (bill.vendor, bill.invoice_number) if bill is not None else None
        if invoice in invoices:
            verdict.later.append(entry)
            continue
        outcome = judged(entry, stands, settings)
        if isinstance(outcome, Failure):
            verdict.failures[entry.accounting_entry_id] = outcome
            continue
        verdict.now.append(outcome)
        verdict.beside[entry.accounting_entry_id] = others_of(entry, stands)
        if invoice is not None:
            invoices.add(invoice)
    return verdict


def notices_at_others(
    entry: Entry, external_id: str, beside: Sequence[StandingBill], settings: ErpSettings
) -> list[tuple[str, str]]:
    """What people are told at the bills that an entry was recorded beside: the id of each, and the notice."""
    own = bill_of(entry, external_id or entry.reference)
    if own is None:
        return []
    return [(one.accounting_entry_id, same_invoice_notice(one, [own], settings.minor_units)) for one in beside]
