"""The bookkeeper's tool in this process, and books for it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from blocks.erp.entries import Account, AccountKind, Bill, DocumentKind, Entry, EntryState, JournalEntry, Line, Money
from blocks.erp.ledger.tool import main
from tests.support.erp.ledger_samples import INPUT_TAX, WALLET, a_bill, an_entry

OUTPUT_TAX = Account("pleo-output-tax", "Pleo output tax", AccountKind.LIABILITY)


@dataclass(frozen=True)
class Told:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What it wrote as JSON."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def tool(path: Path, *arguments: str) -> Told:
    """One command on the ledger at `path`."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status: Any = main([*arguments, "--ledger", str(path)])
        except SystemExit as ended:
            status = ended.code
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return Told(int(status), out.buffer.getvalue().decode("utf-8-sig"), err.getvalue())


def told(path: Path, *arguments: str) -> dict[str, Any]:
    """What a command that does not fail answers as JSON."""
    answer = tool(path, *arguments, "--json")
    assert (answer.status, answer.err) == (0, ""), answer
    return answer.document


def a_purchase(
    number: int,
    *parts: tuple[Account, int, str, int, str | None],
    day: date,
    reverse_charge: bool = False,
    turned: bool = False,
    **changes: Any,
) -> JournalEntry:
    """A purchase of lines with tax: account, net, tax code, tax and rate of each; `turned`, money comes back."""
    lines: list[Line] = []
    gross = 0
    for account, net, code, tax, rate in parts:
        gross += net if reverse_charge else net + tax
        lines.append(_line(account, net, turned, tax_code=code or None, tax_rate=rate))
        if tax:
            taxed: dict[str, Any] = {"tax_code": code, "tax": True, "tax_rate": rate}
            lines.append(_line(INPUT_TAX, tax, turned, tax_base_minor=net, **taxed))
            if reverse_charge:
                lines.append(_line(OUTPUT_TAX, tax, not turned, tax_base_minor=net, **taxed))
    lines.append(_line(WALLET, gross, not turned, counter=True))
    return an_entry(
        number,
        amount_minor=-gross if turned else gross,
        item_type="refund" if turned else "card_purchase",
        lines=tuple(lines),
        posting_date=day,
        original_date=day,
        **changes,
    )


def _line(account: Account, minor: int, credit: bool, **more: Any) -> Line:
    return Line(account, **{"credit_minor" if credit else "debit_minor": minor}, **more)


def at_rate(entry: Entry, *company: int, currency: str = "DKK") -> Any:
    """The entry of another currency, each document worth so much in that of the company; of the entry, one amount."""
    if isinstance(entry, Bill):
        documents = tuple(
            replace(one, lines=tuple(replace(line, company_minor=minor) for line in one.lines))
            for one, minor in zip(entry.documents, company, strict=True)
        )
        return replace(entry, company_currency=currency, documents=documents)
    return replace(entry, company_currency=currency)


def a_document_at(number: int, kind: DocumentKind, minor: int, company_minor: int, **changes: Any) -> Bill:
    """A posted document in euro of books that are kept in kroner."""
    changes = {"state": EntryState.POSTED, "currency": "EUR", "amount_minor": minor, **changes}
    bill: Bill = at_rate(a_bill(number, kind, **changes), company_minor)
    return bill


def paid_in_kroner(number: int, minor: int, euro_minor: int, **changes: Any) -> Bill:
    """A posted payment from a wallet in kroner of an invoice in euro."""
    return a_bill(
        number,
        DocumentKind.PAYMENT,
        **{"state": EntryState.POSTED, "amount_minor": minor, "supplier": Money("EUR", euro_minor), **changes},
    )
