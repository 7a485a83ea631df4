"""Runs in Tryton's environment: prepares the companies that the tests find in every database.

    python tryton_company.py SETTINGS DATABASE DEMO ANSWER

DEMO is the folder with the charts of `--sandbox`, whose codes these books have too, so that its job comes out the same
here. ANSWER takes one JSON document with all ids, keys and passwords. What the tests need beyond the demo's charts, odd
accounts and currencies say, is listed at the top.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from proteus import Model, config

ACME, SECOND, FOREIGN = "Acme ApS", "Acme Sverige AB", "Fremmed ApS"
"""The company of the tests, another one of the same users, and one that they cannot enter."""

CURRENCIES = {  # decimals, and units per euro from a day on; Tryton divides one rate by the other
    "EUR": (2, {"2020-01-01": "1"}),
    "DKK": (2, {"2020-01-01": "7.46", "2026-03-02": "7.47", "2026-09-01": "7.4588"}),
    "SEK": (2, {"2020-01-01": "10.97", "2025-10-01": "11.05", "2026-03-02": "11.214286"}),
    "USD": (2, {"2020-01-01": "1.1566", "2026-03-02": "1.0873"}),
    "GBP": (2, {"2020-01-01": "0.866434", "2026-03-02": "0.8512"}),
    "JPY": (0, {"2020-01-01": "173.488372", "2026-03-02": "161.25"}),
    "KWD": (3, {"2026-01-01": "0.3331"}),
    "CHF": (2, {}),
}
CHF_HAS_NO_RATE, KWD_FROM = "CHF", dt.date(2026, 1, 1)

TYPES: dict[str, dict[str, Any]] = {
    "asset": {"statement": "balance", "assets": True},
    "receivable": {"statement": "balance", "assets": True, "receivable": True},
    "liability": {"statement": "balance", "assets": False},
    "payable": {"statement": "balance", "assets": False, "payable": True},
    "income": {"statement": "income", "revenue": True},
    "expense": {"statement": "income", "expense": True},
}
MORE_ACCOUNTS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("1100", "Accounts receivable", "receivable", {"party_required": True, "reconcile": True}),
    ("2910", "Deposits, by party", "liability", {"party_required": True}),
    ("2940", "To be settled", "liability", {"reconcile": True}),
    ("5829", "Dollar account", "asset", {"second_currency": "USD"}),
    ("6930", "Exchange differences", "expense", {}),
    ("6997", "Twice, the first", "expense", {}),
    ("6997", "Twice, the second", "expense", {}),
    ("6998", "Closed costs", "expense", {"closed": True}),
    ("6999", "Costs of the past", "expense", {"end_date": dt.date(2025, 12, 31)}),
)
PAYABLE = {"2900", "2901"}
SECOND_CURRENCY = {"5821": "EUR"}
TAX_ACCOUNT, REVERSE_INPUT, REVERSE_OUTPUT = "7910", "7920", "7930"
JOURNALS = (
    ("GENERAL", "Pleo", "general", True),
    ("PURCHASES", "Purchases", "expense", True),
    ("PAYMENTS", "Payments", "cash", True),
    ("EXCHANGE", "Exchange differences", "write-off", True),
    ("OLD", "Journal of the past", "general", False),
)
SECOND_ACCOUNTS = ("2900", "5820", "6010", "7910")
YEARS = (2025, 2026, 2027)
LOCKED_YEAR = 2024


def model(name: str) -> Any:
    """Tryton's model of that name."""
    return Model.get(name)


def rows(demo: Path, name: str) -> list[dict[str, str]]:
    """One of the demo's tables."""
    with (demo / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def make_currencies() -> dict[str, Any]:
    """The currencies with their rates, by code."""
    made = {}
    for code, (digits, rates) in CURRENCIES.items():
        currency = model("currency.currency")(name=code, code=code, digits=digits, rounding=Decimal(1).scaleb(-digits))
        for day, rate in rates.items():
            currency.rates.new(date=dt.date.fromisoformat(day), rate=Decimal(rate))
        made[code] = currency
    model("currency.currency").save(list(made.values()))
    return made


def make_company(name: str, currency: Any) -> Any:
    """A company, which we are in from now on."""
    party = model("party.party")(name=name, code=f"COMPANY-{name}")
    party.save()
    company = model("company.company")(party=party, currency=currency)
    company.save()
    user = model("res.user")(config.get_config().user)
    user.companies.append(model("company.company")(company.id))
    user.company = company
    user.save()
    config.get_config()._context = model("res.user").get_preferences(True, {})
    return company


def make_accounts(demo: Path, currencies: dict[str, Any], codes: set[str] | None = None) -> dict[str, list[Any]]:
    """The chart of the company we are in, by code; some codes are there twice. With `codes`, those alone."""
    company = model("company.company")(config.get_config()._context["company"])
    sheet = model("account.account.type")(name="Accounts", company=company)
    sheet.save()
    types = {}
    for kind, values in TYPES.items():
        types[kind] = model("account.account.type")(name=kind.capitalize(), company=company, parent=sheet, **values)
    model("account.account.type").save(list(types.values()))
    root = model("account.account")(name="Chart", company=company, type=None)
    root.save()
    demo_accounts = tuple((row["code"], row["name"], row["type"], dict[str, Any]()) for row in rows(demo, "accounts"))
    made: dict[str, list[Any]] = {}
    for code, name, kind, values in demo_accounts + MORE_ACCOUNTS:
        if codes is not None and code not in codes:
            continue
        account = model("account.account")(
            code=code, name=name, company=company, parent=root, type=types["payable" if code in PAYABLE else kind]
        )
        if code in PAYABLE:
            account.party_required = account.reconcile = True
        if second := values.get("second_currency") or (codes is None and SECOND_CURRENCY.get(code)):
            account.second_currency = currencies[second]
        for field, value in values.items():
            if field != "second_currency":
                setattr(account, field, value)
        made.setdefault(code, []).append(account)
    model("account.account").save([account for accounts in made.values() for account in accounts])
    settings = model("account.configuration")(1)
    settings.default_account_payable = made["2900"][0]
    if codes is None:
        settings.default_account_receivable = made["1100"][0]
        settings.currency_exchange_debit_account = settings.currency_exchange_credit_account = made["6930"][0]
    settings.save()
    return made


def make_taxes(demo: Path, accounts: dict[str, list[Any]], names: set[str] | None = None) -> dict[str, Any]:
    """The taxes, named by the demo's tax codes; a reverse charge is a parent with two children."""
    made = {}
    for row in rows(demo, "tax_codes"):
        name = row["code"]
        if names is not None and name not in names:
            continue
        rate = Decimal("".join(character for character in name if character.isdigit())) / 100
        if name.endswith("R"):
            tax = _tax(name, row["name"], None, None)
            tax.save()
            for sign, account in ((1, REVERSE_INPUT), (-1, REVERSE_OUTPUT)):
                part = _tax(f"{name}{'+' if sign > 0 else '-'}", row["name"], rate * sign, accounts[account][0])
                part.parent = tax
                part.save()
                made[part.name] = part
        else:
            tax = _tax(name, row["name"], rate, accounts[TAX_ACCOUNT][0])
            tax.save()
        made[name] = tax
    return made


def make_odd_taxes(accounts: dict[str, list[Any]]) -> None:
    """A name that two taxes have, and a tax that is no longer in use."""
    for name, active in (("TWICE", True), ("TWICE", True), ("OLD22", False)):
        tax = _tax(name, name, Decimal("0.22"), accounts[TAX_ACCOUNT][0])
        tax.active = active
        tax.save()


def _tax(name: str, description: str, rate: Decimal | None, account: Any) -> Any:
    company = model("company.company")(config.get_config()._context["company"])
    if rate is None:
        return model("account.tax")(name=name, description=description, type="none", company=company)
    return model("account.tax")(
        name=name,
        description=description,
        type="percentage",
        rate=rate,
        invoice_account=account,
        credit_note_account=account,
        company=company,
    )


def make_dimensions(demo: Path, groups: set[str] | None = None) -> dict[str, dict[str, Any]]:
    """An analytic root for each dimension, and below it an account for each value; the root itself is at ""."""
    company = model("company.company")(config.get_config()._context["company"])
    made: dict[str, dict[str, Any]] = {}
    analytic = model("analytic_account.account")
    wanted = [(row["group"], row["code"], row["name"], "opened") for row in rows(demo, "dimensions")]
    for group, code, name, state in [*wanted, ("PROJECT", "P-2300", "A project of the past", "closed")]:
        if groups is not None and group not in groups:
            continue
        if group not in made:
            root = analytic(code=group, name=group.capitalize(), type="root", company=company, state="opened")
            root.save()
            made[group] = {"": root}
        root = made[group][""]
        made[group][code] = analytic(
            code=code, name=name or code, type="normal", root=root, parent=root, company=company, state=state
        )
    analytic.save([one for values in made.values() for code, one in values.items() if code])
    return made


def make_years(demo: Path, years: tuple[int, ...], *, locked: int | None = None) -> dict[str, Any]:
    """Fiscal years with monthly periods, by "2026-08"; those that the demo's table closes or leaves out are closed."""
    company = model("company.company")(config.get_config()._context["company"])
    data = model("ir.model.data")
    made = {}
    is_open = {row["first_date"][:7] for row in rows(demo, "periods") if row["state"] == "open"}
    for year in sorted({*years, *([locked] if locked else [])}):
        numbers = {}
        for kind, module in (("account_move", "account"), ("account_invoice", "account_invoice")):
            type_ = model("ir.sequence.type")(data.get_id(module, f"sequence_type_{kind}", {}))
            prefix = f"{year}/" if kind == "account_move" else f"B{year}/"
            numbers[kind] = model("ir.sequence.strict")(
                name=f"{kind} {year}", sequence_type=type_, company=company, prefix=prefix
            )
            numbers[kind].save()
        fiscal_year = model("account.fiscalyear")(
            name=str(year), company=company, start_date=dt.date(year, 1, 1), end_date=dt.date(year, 12, 31)
        )
        fiscal_year.move_sequence = numbers["account_move"]
        (sequences,) = fiscal_year.invoice_sequences
        sequences.in_invoice_sequence = sequences.in_credit_note_sequence = numbers["account_invoice"]
        sequences.out_invoice_sequence = sequences.out_credit_note_sequence = numbers["account_invoice"]
        fiscal_year.save()
        fiscal_year.click("create_period")
        periods = model("account.period").find([("fiscalyear", "=", fiscal_year.id)])
        if year == locked:
            fiscal_year.click("close")
            fiscal_year.click("lock_")
        elif closed := [period for period in periods if f"{period.start_date:%Y-%m}" not in is_open]:
            model("account.period").click(closed, "close")
        for period in model("account.period").find([("fiscalyear", "=", fiscal_year.id)]):
            made[f"{period.start_date:%Y-%m}"] = period
    return made


def make_journals() -> dict[str, Any]:
    """The journals by code, which all companies share."""
    made = {}
    for code, name, kind, active in JOURNALS:
        made[code] = model("account.journal")(code=code, name=name, type=kind, active=active)
    model("account.journal").save(list(made.values()))
    settings = model("account.configuration")(1)
    settings.currency_exchange_journal = made["EXCHANGE"]
    settings.save()
    return made


def company_document(company: Any, books: dict[str, Any]) -> dict[str, Any]:
    """What the tests are told of a company: its id, and those of its books by code."""
    return {
        "id": company.id,
        "name": company.party.name,
        "currency": company.currency.code,
        "accounts": {code: accounts[0].id for code, accounts in books["accounts"].items()},
        "taxes": {name: tax.id for name, tax in books["taxes"].items()},
        "dimensions": {
            group: {code: one.id for code, one in values.items()} for group, values in books["dimensions"].items()
        },
        "periods": {month: {"id": period.id, "state": period.state} for month, period in books["periods"].items()},
    }


def main(settings: str, database: str, demo_folder: str, answer: str) -> None:
    """Prepare the database; it has no company yet."""
    from tests.support.erp.tryton.people import make_payment_terms, make_users, make_vendors

    config.set_trytond(database, user="admin", config_file=settings)
    demo = Path(demo_folder)
    journals_of_demo = tomllib.loads((demo / "settings.toml").read_text(encoding="utf-8"))
    for name in ("general_journal", "bill_journal", "payment_journal"):
        assert journals_of_demo[name] in {code for code, *_ in JOURNALS}, journals_of_demo[name]
    currencies = make_currencies()
    companies = {}
    second = make_company(SECOND, currencies["SEK"])
    accounts = make_accounts(demo, currencies, set(SECOND_ACCOUNTS))
    books = {
        "accounts": accounts,
        "taxes": make_taxes(demo, accounts, {"I25"}),
        "dimensions": make_dimensions(demo, {"PROJECT"}),
        "periods": make_years(demo, (2026,)),
    }
    companies["second"] = company_document(second, books)
    foreign = make_company(FOREIGN, currencies["EUR"])
    companies["foreign"] = {"id": foreign.id, "name": FOREIGN, "currency": "EUR"}
    acme = make_company(ACME, currencies["DKK"])
    accounts = make_accounts(demo, currencies)
    journals = make_journals()
    books = {
        "accounts": accounts,
        "taxes": make_taxes(demo, accounts),
        "dimensions": make_dimensions(demo),
        "periods": make_years(demo, YEARS, locked=LOCKED_YEAR),
    }
    make_odd_taxes(accounts)
    companies["acme"] = company_document(acme, books)
    terms = make_payment_terms()
    document = {
        "companies": companies,
        "currencies": {
            code: {"id": one.id, "digits": one.digits, "rates": CURRENCIES[code][1]} for code, one in currencies.items()
        },
        "journals": {code: journal.id for code, journal in journals.items()},
        "payment_terms": {name: term.id for name, term in terms.items()},
        "parties": make_vendors(rows(demo, "vendors"), accounts, terms),
        "users": make_users({"acme": acme, "second": second}),
    }
    Path(answer).write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
