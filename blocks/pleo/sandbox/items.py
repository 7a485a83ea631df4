"""Export items of a made-up month, as Pleo would send them: plain JSON, all drawn from one source of chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from blocks.pleo.sandbox import amounts, company, receipts
from blocks.pleo.sandbox.amounts import Currencies
from blocks.pleo.sandbox.company import Supplier, Tax
from blocks.pleo.sandbox.templates import (
    INVOICES,
    MONEY_BACK,
    OWED_TO_EMPLOYEE,
    REIMBURSEMENTS,
    SHOWCASE_DEFECTS,
    TAXED,
    WITH_ACCOUNT,
    WITH_SUPPLIER,
    WITHOUT_CONTRA_ACCOUNT,
    Template,
)
from blocks.pleo.sandbox.wire import Json, draw_uuid, dumps

MONTH = "2026-10"


class Entry(NamedTuple):
    """One export item as it is stored. `body` lacks its closing brace: one of the tails has it.

    The tails hold `bookkeeping` and `vendor`, which are null in a job without vendor-based bookkeeping.
    """

    accounting_entry_id: str
    body: str
    plain_tail: str
    vendor_tail: str


def entry_of(item: Json) -> Entry:
    """An export item, given as a whole, in the form in which it is stored."""
    body = dumps({key: value for key, value in item.items() if key not in ("bookkeeping", "vendor")})
    tail = dumps({"bookkeeping": item.get("bookkeeping"), "vendor": item.get("vendor")})
    return Entry(str(item["accountingEntryId"]), body[:-1], PLAIN_TAIL, "," + tail[1:])


PLAIN_TAIL = ',"bookkeeping":null,"vendor":null}'


def generate(
    rng: random.Random, company_id: str, draw: Callable[[random.Random], Iterable[Template]]
) -> Iterator[Entry]:
    """The items of one job; `draw` makes their templates, by chance from the same source."""
    month = _Month(rng, company_id)
    for template in draw(rng):
        yield entry_of(month.item(template))


@dataclass(slots=True)
class _Owed:
    """What an employee has paid and not yet got back."""

    reconciliation_id: str
    person: int
    wallet: str
    value: int


@dataclass(slots=True)
class _Unpaid:
    """An invoice that has not been paid yet."""

    number: str
    supplier: Supplier
    currencies: Currencies
    value: int
    supplier_value: int


class _Month:
    """The month as far as it has been written: what is owed, which invoices are open, the running number."""

    def __init__(self, rng: random.Random, company_id: str) -> None:
        self._rng = rng
        self._company_id = company_id
        self._prefix = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))
        self._count = 0
        self._invoices = 0
        self._owed: list[_Owed] = []
        self._unpaid: list[_Unpaid] = []
        self._wallets = [name for name, _ in company.WALLETS]
        self._wallet_weights = [weight for _, weight in company.WALLETS]

    def item(self, template: Template) -> Json:
        rng = self._rng
        self._count += 1
        settled = self._settled(template)
        paid = self._unpaid.pop(0) if template.type == "invoice_payment" and self._unpaid else None
        supplier = paid.supplier if paid is not None else self._supplier(template)
        currencies = paid.currencies if paid is not None else self._currencies(template, settled, supplier)
        grosses, supplier_grosses = self._grosses(template, currencies, settled, paid)
        person = settled[0].person if settled else rng.randrange(len(company.PEOPLE))
        user: Json | None
        user, team = company.PEOPLE[person]
        if template.type in ("wallet_topup", "wallet_unload", "fee", "cashback"):
            user = team = None
        item: Json = {
            "_links": {},
            "accountingEntryId": draw_uuid(rng),
            "accountingEntryLines": self._lines(template, currencies, grosses, supplier_grosses, supplier),
            "additionalInformation": {
                "attendees": self._attendees(supplier),
                "invoiceInformation": self._invoice(template, supplier, paid),
                "reconciledEntries": self._reconciled(template, settled),
                "reconciliationId": f"{self._prefix}-{self._count:05d}",
            },
            "amount": currencies.pair(sum(grosses), sum(supplier_grosses)),
            "companyId": self._company_id,
            "contraAccount": None,
            "date": self._date(template),
            "files": self._files(template),
            "note": self._note(template),
            "servicePeriod": self._service_period(template, supplier),
            "subType": template.sub_type,
            "supplier": supplier.on_card() if supplier is not None else None,
            "team": team,
            "type": template.type,
            "user": user,
            **self._bookkeeping(template, supplier),
        }
        item["_links"] = {"web": {"exportItem": f"{company.WEB_APP}/expenses/{item['accountingEntryId']}"}}
        if template.type not in WITHOUT_CONTRA_ACCOUNT:
            item["contraAccount"] = company.CONTRA_ACCOUNTS[currencies.wallet]
        if template.defect is not None:
            SHOWCASE_DEFECTS[template.defect].change(item)
            return item
        self._remember(template, item, person, supplier, currencies)
        return item

    def _remember(
        self, template: Template, item: Json, person: int, supplier: Supplier | None, currencies: Currencies
    ) -> None:
        value: int = item["amount"]["inWalletCurrency"]["value"]
        extra = item["additionalInformation"]
        if template.type in OWED_TO_EMPLOYEE:
            self._owed.append(_Owed(extra["reconciliationId"], person, currencies.wallet, value))
        elif template.type == "invoice" and supplier is not None:
            supplier_value: int = item["amount"]["inSupplierCurrency"]["value"]
            number: str = extra["invoiceInformation"]["invoiceNumber"]
            self._unpaid.append(_Unpaid(number, supplier, currencies, value, supplier_value))

    def _settled(self, template: Template) -> list[_Owed]:
        """Up to three expenses of one employee in one wallet, for a reimbursement to pay."""
        if template.type not in REIMBURSEMENTS or not self._owed:
            return []
        first = self._owed[0]
        same = [owed for owed in self._owed[:40] if (owed.person, owed.wallet) == (first.person, first.wallet)][:3]
        for owed in same:
            self._owed.remove(owed)
        return same

    def _supplier(self, template: Template) -> Supplier | None:
        if template.type not in WITH_SUPPLIER and template.type not in INVOICES:
            return None
        if template.odd_supplier is not None:
            return company.ODD_SUPPLIERS[template.odd_supplier]
        return self._rng.choice(company.ODD_SUPPLIERS if self._rng.random() < 0.05 else company.SUPPLIERS)

    def _currencies(self, template: Template, settled: list[_Owed], supplier: Supplier | None) -> Currencies:
        if settled:
            return Currencies(settled[0].wallet, settled[0].wallet)
        wallet = template.wallet or self._rng.choices(self._wallets, self._wallet_weights)[0]
        abroad = supplier is not None and template.type not in MONEY_BACK
        return Currencies(wallet, supplier.currency if supplier is not None and abroad else wallet)

    def _grosses(
        self, template: Template, currencies: Currencies, settled: list[_Owed], paid: _Unpaid | None
    ) -> tuple[list[int], list[int]]:
        """The lines' gross amounts in wallet and in supplier currency."""
        rng = self._rng
        if settled:
            total = sum(owed.value for owed in settled)
            return [total], [total]
        if paid is not None:
            return [paid.value], [paid.supplier_value]
        lines = self._line_count(template)
        total = 0 if template.special == "zero" else max(100 * lines, round(rng.lognormvariate(10.4, 1.2)))
        if template.type in ("wallet_topup", "wallet_unload", "atm_withdrawal"):
            total = max(1, total // 10_000) * 50_000
        parts = amounts.split(total, [rng.randint(1, 9) for _ in range(lines)])
        if template.special == "discount":
            parts = [total + 2_500, -2_500]
        sign = -1 if template.special == "negative" else 1
        wallet = [sign * part for part in parts]
        return wallet, [amounts.convert(part, currencies.wallet, currencies.supplier) for part in wallet]

    def _line_count(self, template: Template) -> int:
        if template.lines is not None:
            return template.lines
        return self._rng.choices((1, 2, 3, 5), (80, 12, 6, 2))[0] if template.type in TAXED else 1

    def _lines(
        self,
        template: Template,
        currencies: Currencies,
        grosses: list[int],
        supplier_grosses: list[int],
        supplier: Supplier | None,
    ) -> list[Json]:
        rng = self._rng
        taxes = [self._tax(template, currencies) for _ in grosses]
        forms = [amounts.LINE_IS_GROSS, amounts.BOTH_ARE_GROSS]
        if all(tax is None or tax.kind != "exclusive" or not tax.rate_bp for tax in taxes):
            forms.append(amounts.NET_IS_GROSS)
        form = rng.choice(forms)
        return [
            {
                "accountingEntryLineId": draw_uuid(rng),
                "account": self._account(template, supplier if number == 0 else None),
                "tags": self._tags(),
                **amounts.line_amounts(currencies, gross, supplier_gross, tax, form),
            }
            for number, (gross, supplier_gross, tax) in enumerate(zip(grosses, supplier_grosses, taxes, strict=True))
        ]

    def _tax(self, template: Template, currencies: Currencies) -> Tax | None:
        rng = self._rng
        kind = template.tax
        if kind is None:
            kinds, weights = ("exclusive", "inclusive", "reverse", "zero", "none"), (50, 14, 10, 8, 18)
            kind = rng.choices(kinds, weights)[0] if template.type in TAXED else "none"
        return None if kind == "none" else rng.choice(company.TAXES[currencies.wallet][kind])

    def _account(self, template: Template, supplier: Supplier | None) -> Json | None:
        if template.type not in WITH_ACCOUNT:
            return None
        fixed = {"mileage": "6040", "per_diem": "6040", "cashback": "6990", "fee": "6910"}.get(template.type)
        if template.sub_type == "interest":
            fixed = "6920"
        if fixed is None and supplier is not None:
            fixed = supplier.category
        return company.CATEGORIES[fixed] if fixed else self._rng.choice(list(company.CATEGORIES.values())[:17])

    def _tags(self) -> list[Json] | None:
        count = self._rng.choices((0, 1, 2, 3), (30, 40, 20, 10))[0]
        return [self._rng.choice(group) for group in company.TAGS[:count]] if count else None

    def _attendees(self, supplier: Supplier | None) -> list[str] | None:
        if supplier is None or supplier.category != "6110":
            return None
        return [str(user["name"]) for user, _ in self._rng.sample(company.PEOPLE, self._rng.randint(1, 4))]

    def _invoice(self, template: Template, supplier: Supplier | None, paid: _Unpaid | None) -> Json | None:
        if template.type not in INVOICES:
            return None
        self._invoices += 1
        day = f"{MONTH}-{template.day:02d}"
        as_time = self._invoices % 2 == 0  # the contract pairs a date-only pattern with a date-time: both occur
        bank: Json = {"bankName": "Danske Bank", "country": "DK", "iban": "DK5000400440116243", "bic": "DABADKKK"}
        return {
            "invoiceNumber": paid.number if paid is not None else f"{self._prefix}-F{self._invoices:04d}",
            "invoiceDate": f"{day}T00:00:00Z" if as_time else day,
            "dueDate": f"{MONTH}-{min(template.day + 14, 31):02d}" if self._invoices % 3 else None,
            "paymentDate": day if template.type != "invoice" else None,
            "status": "marked_as_paid" if template.type == "invoice" and self._invoices % 5 == 0 else "paid",
            "supplierBankAccount": bank if supplier is not None and supplier.country == "DK" else None,
        }

    def _reconciled(self, template: Template, settled: list[_Owed]) -> list[str] | None:
        if template.type not in REIMBURSEMENTS:
            return None
        earlier = f"{self._prefix}-P{self._count:04d}"  # an expense of a month before
        return [owed.reconciliation_id for owed in settled] or [earlier]

    def _date(self, template: Template) -> str:
        rng = self._rng
        if template.type in OWED_TO_EMPLOYEE or template.type in INVOICES:
            return f"{MONTH}-{template.day:02d}T00:00:00Z"
        return f"{MONTH}-{template.day:02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}Z"

    def _files(self, template: Template) -> list[Json] | None:
        rng = self._rng
        wanted = {"invoice": 1.0, "card_invoice": 1.0, "card_purchase": 0.9, "out_of_pocket": 0.95, "refund": 0.4}
        chance = wanted.get(template.type, 0.0) if template.receipt is None else float(template.receipt)
        if rng.random() >= chance:
            return [] if rng.random() < 0.3 else None
        files = []
        for _ in range(rng.choices((1, 2, 3), (85, 12, 3))[0]):
            kind = rng.choice(tuple(receipts.TYPES))
            files.append(receipts.stored_file(f"{draw_uuid(rng)}.{kind}"))
        if template.type == "invoice" and self._invoices % 4 == 0:
            del files[0]["size"], files[0]["type"]  # as one published example of an invoice has it
        return files

    def _note(self, template: Template) -> str | None:
        rng = self._rng
        if template.odd_supplier is not None or rng.random() < 0.03:
            return rng.choice(company.ODD_NOTES)
        return rng.choice(company.NOTES) if rng.random() < 0.7 else None

    def _service_period(self, template: Template, supplier: Supplier | None) -> Json | None:
        if template.type not in TAXED or supplier is None or supplier.category not in ("6210", "6230", "6430"):
            return None
        return {"from": f"{MONTH}-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}

    def _bookkeeping(self, template: Template, supplier: Supplier | None) -> Json:
        if template.type in ("wallet_topup", "wallet_unload"):
            return {"bookkeeping": {"method": "none"}, "vendor": None}
        taggable = template.type in ("card_purchase", "chargeback", "refund", "invoice", "invoice_payment")
        if supplier is None or not taggable:
            return {"bookkeeping": {"method": "journal"}, "vendor": None}
        if template.method is not None:
            payable = template.method == "accounts_payable"
            return {"bookkeeping": {"method": template.method}, "vendor": supplier.vendor if payable else None}
        payable = template.type in INVOICES or self._rng.random() < 0.6
        return {
            "bookkeeping": {"method": "accounts_payable" if payable else "journal"},
            "vendor": supplier.vendor if payable or self._rng.random() < 0.5 else None,
        }
