"""What the items of a job are to be: how often each type comes, the edge cases, and what cannot be booked and why.

Seven defects are such that nobody can book the item. Those of the showcase beyond them are told to accounting systems
as much as to Pleo: the items fail in one that has no journal for credit notes and no account for reimbursements outside
Pleo, that requires receipts and takes none above 500 kB, whose books are closed in August 2026, and that knows the
accounts, tax codes, tags and vendors of `company`, of which it has blocked `BLOCKED_SUPPLIER`. There the rest can be
booked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from blocks.pleo.sandbox import company, receipts
from blocks.pleo.sandbox.company import Supplier
from blocks.pleo.sandbox.wire import Json

TYPE_WEIGHTS: dict[str, int] = {
    "card_purchase": 600,
    "out_of_pocket": 80,
    "mileage": 40,
    "per_diem": 20,
    "direct_reimbursement": 30,
    "external_reimbursement": 15,
    "invoice": 50,
    "invoice_payment": 40,
    "card_invoice": 20,
    "refund": 30,
    "chargeback": 8,
    "cashback": 8,
    "atm_withdrawal": 10,
    "personal_spend": 12,
    "fee": 20,
    "wallet_topup": 6,
    "wallet_unload": 4,
}
"""The 17 item types, and how many of a thousand items have each."""

REIMBURSEMENTS = frozenset({"direct_reimbursement", "external_reimbursement"})
INVOICES = frozenset({"invoice", "invoice_payment", "card_invoice"})
OWED_TO_EMPLOYEE = frozenset({"out_of_pocket", "mileage", "per_diem"})
WITHOUT_CONTRA_ACCOUNT = OWED_TO_EMPLOYEE | {"external_reimbursement", "invoice"}
MONEY_BACK = frozenset({"refund", "chargeback", "cashback"})
WITH_SUPPLIER = frozenset(
    {"card_purchase", "out_of_pocket", "refund", "chargeback", "atm_withdrawal", "personal_spend"}
)
TAXED = frozenset({"card_purchase", "out_of_pocket", "refund", "chargeback", "invoice", "card_invoice"})
RECEIPT_EXPECTED = frozenset({"card_purchase", "card_invoice", "out_of_pocket", "invoice"})
WITH_ACCOUNT = TAXED | {"mileage", "per_diem", "cashback", "fee"}

DAYS = 31
MIN_SHOWCASE = 120
"""How many items a showcase has at least."""


@dataclass(frozen=True, slots=True)
class Template:
    """What an item is to be; what is None is drawn when it is made.

    `odd_supplier` is an index of `company.ODD_SUPPLIERS`, `special` is zero, discount or negative, `defect` a key of
    `SHOWCASE_DEFECTS`, `method` its bookkeeping method where it has a supplier, `receipt` whether it has one at least,
    or none.
    """

    type: str
    sub_type: str | None = None
    day: int = 1
    wallet: str | None = None
    tax: str | None = None
    lines: int | None = None
    odd_supplier: int | None = None
    special: str | None = None
    defect: str | None = None
    method: str | None = None
    receipt: bool | None = None


EDGE_CASES = (
    Template("direct_reimbursement", "reimbursement_to_employee_refund"),
    Template("direct_reimbursement", "reimbursement_to_company"),
    Template("external_reimbursement", "reimbursement_to_company"),
    Template("invoice_payment", "invoice_payment_returned"),
    Template("fee", "interest"),
    Template("card_purchase", tax="exclusive", lines=3, wallet="DKK"),
    Template("card_purchase", tax="inclusive", lines=2, wallet="EUR"),
    Template("card_purchase", tax="reverse", lines=1, wallet="GBP"),
    Template("card_purchase", tax="zero", lines=1, wallet="SEK"),
    Template("card_purchase", tax="none", lines=1, odd_supplier=1),
    Template("card_purchase", odd_supplier=0, lines=1),
    Template("card_purchase", odd_supplier=5, lines=1),
    Template("card_purchase", tax="none", lines=2, special="discount"),
    Template("fee", special="negative"),
    Template("card_purchase", tax="none", lines=1, special="zero"),
    Template("card_purchase", tax="exclusive", lines=1, special="negative"),
)


def usual(item_type: str) -> Template:
    """An item of this type with the `subType` that it has when nothing went another way."""
    sub_type = "invoice_payment_sent" if item_type == "invoice_payment" else None
    return Template(item_type, "reimbursement_to_employee" if item_type in REIMBURSEMENTS else sub_type)


class Defect(NamedTuple):
    """Why an item cannot be booked: what it is to be, and what is changed of it once it is made."""

    template: Template
    change: Callable[[Json], None]


def _item(**fields: Any) -> Callable[[Json], None]:
    return lambda item: item.update(fields)


def _line(**fields: Any) -> Callable[[Json], None]:
    return lambda item: item["accountingEntryLines"][0].update(fields)


def _amounts_differ(item: Json) -> None:
    item["amount"]["inWalletCurrency"]["value"] += 101


def _fraction(item: Json) -> None:
    for money in _wallet_amounts(item):
        money["value"] += 0.5


def _currency_xxx(item: Json) -> None:
    for money in _wallet_amounts(item):
        money["currency"] = "XXX"


def _wallet_amounts(item: Json) -> Iterator[Json]:
    """Every amount in wallet currency, each object once: lines may share one."""
    lines = item["accountingEntryLines"]
    pairs = [item["amount"], *(line[name] for line in lines for name in ("lineAmount", "netAmount"))]
    yield from {id(pair["inWalletCurrency"]): pair["inWalletCurrency"] for pair in pairs}.values()


def _account_unknown(item: Json) -> None:
    line = item["accountingEntryLines"][
        0
    ]  # its account is the company's own, for every item: a new one takes its place
    line["account"] = {**line["account"], "name": "Gifts", "code": "6666", "identifier": "gl-6666"}


def _tax_code_unknown(item: Json) -> None:
    item["accountingEntryLines"][0]["tax"]["code"] = "I99"


def _bought_from(supplier: Supplier) -> Callable[[Json], None]:
    return _item(supplier=supplier.on_card(), vendor=supplier.vendor)


def _with_file(name_like: Callable[[str], str]) -> Callable[[Json], None]:
    def change(item: Json) -> None:
        item["files"] = [receipts.stored_file(name_like(f"{item['accountingEntryId']}.pdf"))]

    return change


_PURCHASE = Template("card_purchase", tax="none", lines=1)
_PAYABLE = replace(_PURCHASE, method="accounts_payable")

DEFECTS = {
    "unknown_type": Defect(_PURCHASE, _item(type="gift_card_purchase")),
    "no_account": Defect(_PURCHASE, _line(account=None)),
    "amounts_differ": Defect(replace(_PURCHASE, lines=2), _amounts_differ),
    "fraction": Defect(_PURCHASE, _fraction),
    "currency_xxx": Defect(_PURCHASE, _currency_xxx),
    "no_lines": Defect(_PURCHASE, _item(accountingEntryLines=[])),
    "unknown_sub_type": Defect(Template("direct_reimbursement", "reimbursement_to_charity"), _item()),
}
"""Why nobody can book an item, in the order in which a job gets them."""

SHOWCASE_DEFECTS = DEFECTS | {
    "no_journal": Defect(Template("refund", lines=1, method="accounts_payable"), _item()),
    "no_role_account": Defect(replace(usual("external_reimbursement"), lines=1), _item()),
    "account_unknown": Defect(_PURCHASE, _account_unknown),
    "tax_code_unknown": Defect(replace(_PURCHASE, tax="exclusive"), _tax_code_unknown),
    "tag_unknown": Defect(_PURCHASE, _line(tags=[{**company.TAGS[0][0], "code": "P-9999"}])),
    "vendor_unknown": Defect(_PAYABLE, _bought_from(company.NEW_SUPPLIER)),
    "vendor_blocked": Defect(_PAYABLE, _bought_from(company.BLOCKED_SUPPLIER)),
    "receipt_too_large": Defect(_PURCHASE, _with_file(receipts.oversized)),
    "receipt_gone": Defect(_PURCHASE, _with_file(receipts.missing)),
    "no_receipt": Defect(replace(_PURCHASE, receipt=False), _item()),
    "closed_period": Defect(_PURCHASE, _item(date="2026-08-14T00:00:00Z")),
    "unknown_method": Defect(_PURCHASE, _item(bookkeeping={"method": "accounts_receivable"})),
}
"""Why an item of the showcase cannot be booked, each once."""


def default_failing(items: int) -> int:
    """How many items of a job cannot be booked unless told otherwise: 6 of 80, and 7 at most."""
    return min(len(DEFECTS), items * 6 // 80)


def job_templates(rng: random.Random, items: int, failing: int) -> list[Template]:
    """What the items of a job are to be, in the order of their days; `failing` of them cannot be booked."""
    good = items - failing
    templates = [*map(usual, TYPE_WEIGHTS), *EDGE_CASES][:good]
    templates += map(usual, rng.choices(list(TYPE_WEIGHTS), list(TYPE_WEIGHTS.values()), k=good - len(templates)))
    names = list(DEFECTS)
    return _dated(rng, templates + [_with_defect(names[number % len(names)]) for number in range(failing)])


def showcase_templates(rng: random.Random, items: int) -> list[Template]:
    """What the items of a demonstration are to be: all that can be booked, and each defect once."""
    weights = {name: weight for name, weight in TYPE_WEIGHTS.items() if name != "external_reimbursement"}
    templates = [usual(name) for name in (*weights, *("invoice",) * 5, *("invoice_payment",) * 5)]
    templates += [template for template in EDGE_CASES if template.type != "external_reimbursement"]
    left = items - len(templates) - len(SHOWCASE_DEFECTS)
    templates += map(usual, rng.choices(list(weights), list(weights.values()), k=left))
    templates = [_bookable(template) for template in templates] + [_with_defect(name) for name in SHOWCASE_DEFECTS]
    return _dated(rng, [_with_receipt(template) for template in templates])


def _with_defect(name: str) -> Template:
    return replace(SHOWCASE_DEFECTS[name].template, defect=name)


def _bookable(template: Template) -> Template:
    """Money back, and what a negative amount turns into it, would be a credit note in accounts payable."""
    credit = template.type in MONEY_BACK or template.special == "negative"
    return replace(template, method="journal") if credit else template


def _with_receipt(template: Template) -> Template:
    expected = template.receipt is None and template.type in RECEIPT_EXPECTED
    return replace(template, receipt=True) if expected else template


def _dated(rng: random.Random, templates: Iterable[Template]) -> list[Template]:
    """The templates with days of the month, in their order."""
    with_day = [replace(template, day=_day(rng, template.type)) for template in templates]
    rng.shuffle(with_day)
    with_day.sort(key=lambda template: template.day)
    return with_day


def _day(rng: random.Random, item_type: str) -> int:
    """Invoices come early, their payments in the middle, reimbursements at the end of the month."""
    if item_type in REIMBURSEMENTS:
        return rng.randint(26, DAYS)
    if item_type == "invoice":
        return rng.randint(1, 15)
    return rng.randint(12, DAYS) if item_type == "invoice_payment" else rng.randint(1, DAYS)
