"""Calls of the module `pleo_export`, as any REST client makes them, with documents that fit its server's company."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import httpx

from blocks.erp.tryton.client import context_header, decode, encode
from tests.support.erp.tryton.server import TrytonServer

Row = dict[str, Any]

MOVE, INVOICE = "account.move", "account.invoice"
DAY = date(2026, 10, 5)
CLOSED = date(2026, 8, 14)
AMOUNT = Decimal("125.00")


class Caller:
    """One user's REST calls on a server, in the context of one of the companies."""

    def __init__(self, server: TrytonServer, user: str = "pleo", company: str = "acme") -> None:
        self.server = server
        self.ids: Mapping[str, Any] = server.company
        self.company: Mapping[str, Any] = self.ids["companies"][company]
        self._http = httpx.Client(
            base_url=f"{server.base_url}/{server.database}/rest/model/",
            headers={
                "Authorization": f"Bearer {self.ids['users'][user]['key']}",
                "X-Tryton-Context": context_header({"company": self.company["id"]}),
                "Content-Type": "application/json",
            },
            timeout=120,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(self, method: str, path: str, values: Any = None) -> httpx.Response:
        """Any REST request: `ask("POST", "account.move/1/post", {})`."""
        return self._http.request(method, path, content=None if values is None else encode(values))

    def call(self, entries: Any) -> httpx.Response:
        """The answer to `pleo_record`, whatever it is."""
        return self.ask("POST", f"{MOVE}/pleo_record", {"entries": entries})

    def record(self, *entries: Row) -> list[Row]:
        """The outcomes of `pleo_record`."""
        answer = self.call(entries)
        assert answer.status_code == 200, answer.text
        outcomes: list[Row] = answer.json()
        assert [one["pleo_entry_id"] for one in outcomes] == [one["pleo_entry_id"] for one in entries]
        return outcomes

    def refused(self, *entries: Row) -> str:
        """The text with which `pleo_record` refuses these."""
        answer = self.call(entries)
        assert answer.status_code == 400, answer.text
        assert answer.headers["Content-Type"].startswith("application/json")
        text: str = answer.json()["message"]
        return text

    def search(self, model: str, domain: Sequence[Any], *fields: str) -> list[Row]:
        """Records, lowest id first."""
        asked = {"domain": domain, "fields_names": ["id", *fields], "order": [["id", "ASC"]]}
        answer = self.ask("POST", f"{model}/search_read", asked)
        assert answer.status_code == 200, answer.text
        rows: list[Row] = decode(answer.content)
        return rows

    def of_entry(self, model: str, entry_id: str, *fields: str) -> list[Row]:
        """The records of one expense in a model."""
        domain = ["OR", ["pleo_entry_id", "=", entry_id], ["pleo_belongs_to", "=", entry_id]]
        return self.search(model, domain, "pleo_entry_id", "pleo_belongs_to", "state", *fields)

    def move(self, amount: Decimal = AMOUNT, credit: Decimal | None = None, day: date = DAY) -> Row:
        """Values of a move with three lines, one of them a tax."""
        tax = (amount / 5).quantize(Decimal("0.01"))
        return {
            **self._move(day, "GENERAL"),
            "lines": [
                [
                    "create",
                    [
                        self._line("6010", amount - tax, "base"),
                        self._line("7910", tax, "tax"),
                        self._line("5820", -(amount if credit is None else credit)),
                    ],
                ]
            ],
        }

    def payment(self, amount: Decimal = AMOUNT, day: date = DAY) -> Row:
        """Values of a move that pays a bill."""
        payable = {**self._line("2900", amount), "party": self.ids["parties"]["V0001"]["id"]}
        return {**self._move(day, "PAYMENTS"), "lines": [["create", [payable, self._line("5820", -amount)]]]}

    def bill(self, amount: Decimal = AMOUNT, day: date = DAY) -> Row:
        """Values of a supplier's invoice with one line."""
        vendor = self.ids["parties"]["V0001"]
        company, currency = self.company["id"], self.ids["currencies"][self.company["currency"]]["id"]
        return {
            "company": company,
            "type": "in",
            "party": vendor["id"],
            "invoice_address": vendor["address"],
            "account": self.company["accounts"]["2900"],
            "currency": currency,
            "journal": self.ids["journals"]["PURCHASES"],
            "invoice_date": day,
            "accounting_date": day,
            "payment_term_date": day,
            "lines": [
                [
                    "create",
                    [
                        {
                            "type": "line",
                            "company": company,
                            "currency": currency,
                            "account": self.company["accounts"]["6010"],
                            "quantity": 1,
                            "unit_price": amount,
                        }
                    ],
                ]
            ],
        }

    def entry(self, *documents: Row, id_: str | None = None, post: bool = True, settle: bool = False) -> Row:
        """An entry of these documents (invoices are known by their type), or of one move."""
        return {
            "pleo_entry_id": id_ or str(uuid.uuid4()),
            "post": post,
            "settle": settle,
            "documents": [
                {"model": INVOICE if "type" in values else MOVE, "values": values}
                for values in documents or (self.move(),)
            ],
        }

    def count(self) -> int:
        """How many moves there are."""
        ((count,),) = self.server.sql("select count(*) from account_move")
        return int(count)

    def _move(self, day: date, journal: str) -> Row:
        return {
            "company": self.company["id"],
            "journal": self.ids["journals"][journal],
            "period": self.company["periods"][f"{day:%Y-%m}"]["id"],
            "date": day,
            "description": "Train to Aarhus",
        }

    def _line(self, account: str, amount: Decimal, tax: str = "") -> Row:
        line: Row = {
            "account": self.company["accounts"][account],
            "debit": max(amount, Decimal(0)),
            "credit": max(-amount, Decimal(0)),
        }
        if tax:
            of_tax = {"tax": self.company["taxes"]["I25"], "amount": amount, "type": tax}
            line["tax_lines"] = [["create", [of_tax]]]
        return line


def id_of(record: str) -> int:
    """The id in a record's name: `account.move,12`."""
    return int(record.partition(",")[2])
