"""Runs in Odoo's shell: prepares the companies that the tests find in every database.

    odoo shell -c SETTINGS -d DATABASE --no-http < company.py

The environment names two paths: DEMO is the folder with the charts of `--sandbox`, whose codes these
books have too, beside Denmark's own chart; ANSWER takes one JSON document with all ids, keys and passwords.
"""

import csv
import datetime as dt
import json
import os
import secrets
import tomllib
from pathlib import Path

env = globals()["env"]  # Odoo's shell gives it
DEMO, ANSWER = Path(os.environ["DEMO"]), Path(os.environ["ANSWER"])
ACME, SECOND, FOREIGN = "Acme ApS", "Acme Sverige AB", "Fremmed ApS"

CURRENCIES = {  # what one unit costs in kroner, from a day on
    "EUR": {"2020-01-01": "7.46", "2026-03-02": "7.47", "2026-09-01": "7.4588"},
    "SEK": {"2020-01-01": "0.68", "2025-10-01": "0.675", "2026-03-02": "0.6661"},
    "USD": {"2020-01-01": "6.45", "2026-03-02": "6.87"},
    "GBP": {"2020-01-01": "8.61", "2026-03-02": "8.7759"},
    "JPY": {"2020-01-01": "0.043", "2026-03-02": "0.046325"},
    "CHF": {},
}
TYPES = {
    "asset": "asset_current",
    "liability": "liability_current",
    "income": "income",
    "expense": "expense",
}
PAYABLE = ("2900", "2901")
MORE_ACCOUNTS = (
    ("2940", "To be settled", "liability_current", {"reconcile": True}),
    ("6930", "Exchange differences", "expense", {}),
    ("6998", "Closed costs", "expense", {"active": False}),
)
TAX_ACCOUNT, REVERSE_INPUT, REVERSE_OUTPUT = "7910", "7920", "7930"
JOURNALS = (
    ("PLEO", "Pleo", "general"),
    ("PAID", "Payments from Pleo", "general"),
    ("ABROA", "Purchases abroad", "purchase"),  # so that a journal for bills has to be named
    ("OLD", "Of the past", "general"),
)
LOCKED_UNTIL = "2026-08-31"
ACCOUNTING = "account.group_account_user"


def rows(name):
    """One of the demo's tables."""
    with (DEMO / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def make_currencies(company):
    """The currencies with their rates; CHF has none, and what is not named here is not active."""
    made = {}
    for code, rates in {"DKK": {}, **CURRENCIES}.items():
        currency = env["res.currency"].with_context(active_test=False).search([("name", "=", code)])
        currency.active = True
        currency.rate_ids.unlink()
        for day, rate in rates.items():
            env["res.currency.rate"].create(
                {"currency_id": currency.id, "company_id": company.id, "name": day, "inverse_company_rate": float(rate)}
            )
        made[code] = currency
    return made


def make_accounts(company):
    """The demo's accounts in Denmark's chart, of which some had these codes for something else."""
    accounts = env["account.account"].with_company(company)
    made = {}
    wanted = [(row["code"], row["name"], TYPES[row["type"]], {}) for row in rows("accounts")]
    for code, name, kind, more in [*wanted, *MORE_ACCOUNTS]:
        values = {"name": name, "account_type": kind, "reconcile": False, **more}
        if code in PAYABLE:
            values |= {"account_type": "liability_payable", "reconcile": True}
        account = accounts.search([("code", "=", code), ("company_ids", "in", company.ids)])
        if account:
            account.write({"tax_ids": [(5,)], **values})
        else:
            account = accounts.create({"code": code, "company_ids": [(6, 0, company.ids)], **values})
        made[code] = account
    env["ir.default"].set("res.partner", "property_account_payable_id", made["2900"].id, company_id=company.id)
    return made


def make_taxes(company, accounts):
    """The taxes, named by the demo's tax codes; a reverse charge has two parts that cancel each other."""
    made = {}
    group = env["account.tax.group"].search([("company_id", "=", company.id)], limit=1)
    for row in [*rows("tax_codes"), {"code": "OLD22"}]:
        code = row["code"]
        rate = float("".join(character for character in code if character.isdigit()))
        parts = [(100, TAX_ACCOUNT)]
        if code.endswith("R"):
            parts = [(100, REVERSE_INPUT), (-100, REVERSE_OUTPUT)]
        lines = [(0, 0, {"repartition_type": "base"})]
        lines += [
            (0, 0, {"repartition_type": "tax", "factor_percent": factor, "account_id": accounts[account].id})
            for factor, account in parts
        ]
        made[code] = env["account.tax"].create(
            {
                "name": code,
                "amount": rate,
                "amount_type": "percent",
                "type_tax_use": "purchase",
                "company_id": company.id,
                "country_id": company.account_fiscal_country_id.id,
                "tax_group_id": group.id,
                "active": code != "OLD22",
                "invoice_repartition_line_ids": lines,
                "refund_repartition_line_ids": lines,
            }
        )
    return made


def make_dimensions(company):
    """An analytic plan for each dimension, and an account for each of its values."""
    made = {}
    plans = {}
    for row in [*rows("dimensions"), {"group": "PROJECT", "code": "P-2300", "name": "A project of the past"}]:
        group, code = row["group"], row["code"]
        if group not in plans:
            plans[group] = env["account.analytic.plan"].create({"name": group})
            made[group] = {}
        made[group][code] = env["account.analytic.account"].create(
            {
                "name": row["name"] or code,
                "code": code,
                "plan_id": plans[group].id,
                "company_id": company.id,
                "active": code != "P-2300",
            }
        )
    return made


def make_journals(company):
    """The journals by code, those of the chart too."""
    for code, name, kind in JOURNALS:
        env["account.journal"].create(
            {"code": code, "name": name, "type": kind, "company_id": company.id, "active": code != "OLD"}
        )
    return {one.code: one for one in env["account.journal"].search([("company_id", "=", company.id)])}


def make_vendors(accounts):
    """The demo's vendors; a blocked one is archived."""
    made = {}
    partners = env["res.partner"].with_context(no_vat_validation=True)
    for row in rows("vendors"):
        partner = partners.create(
            {
                "name": row["name"],
                "ref": row["code"],
                "vat": row["tax_number"] or False,
                "is_company": True,
                "supplier_rank": 1,
            }
        )
        if row["payable_account"]:
            partner.property_account_payable_id = accounts[row["payable_account"]]
        partner.active = row["blocked"] != "yes"
        made[row["code"]] = partner
    return made


def make_users(companies):
    """The exporter, one who speaks Danish, one without rights in accounting, and an administrator; with their keys."""
    made = {}
    env["res.lang"]._activate_lang("da_DK")
    wanted = {
        "pleo": (["acme", "second"], ["base.group_user", ACCOUNTING], "en_US"),
        "dansk": (["acme"], ["base.group_user", ACCOUNTING], "da_DK"),
        "guest": (["acme", "second"], ["base.group_user"], "en_US"),
        "accountant": (["acme", "second"], ["base.group_system", "account.group_account_manager"], "en_US"),
    }
    for login, (names, groups, language) in wanted.items():
        password = secrets.token_urlsafe(16)
        user = env["res.users"].create(
            {
                "name": login.capitalize(),
                "login": login,
                "password": password,
                "lang": language,
                "tz": "Europe/Copenhagen",
                "company_ids": [(6, 0, [companies[name].id for name in names])],
                "company_id": companies[names[0]].id,
                "group_ids": [(6, 0, [env.ref(group).id for group in groups])],
            }
        )
        keys = env["res.users.apikeys"].with_user(user).sudo()
        made[login] = {"id": user.id, "login": login, "password": password, "key": keys._generate("rpc", "Pleo", None)}
        if login == "pleo":
            made[login]["expired_key"] = keys._generate(
                "rpc", "Of the past", dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)
            )
    return made


def make_company(name, currency):
    """One more company, with a journal and a few accounts; in no country, as Odoo would load its chart over them."""
    company = env["res.company"].create({"name": name, "currency_id": currency.id})
    env.user.company_ids |= company
    accounts = env["account.account"].with_company(company)
    for code, kind in (("6010", "expense"), ("5820", "asset_current"), ("2900", "liability_payable")):
        accounts.create(
            {
                "code": code,
                "name": f"{name} {code}",
                "account_type": kind,
                "reconcile": kind == "liability_payable",
                "company_ids": [(6, 0, company.ids)],
            }
        )
    env["account.journal"].create({"code": "PLEO", "name": "Pleo", "type": "general", "company_id": company.id})
    return company


def main():
    """Prepare the database, of which the modules are installed."""
    assert {"2026-08-01"} == {row["first_date"] for row in rows("periods") if row["state"] == "closed"}
    assert tomllib.loads((DEMO / "settings.toml").read_text(encoding="utf-8"))["payable_account"] == "2900"
    company = env.company
    company.write({"name": ACME, "country_id": env.ref("base.dk").id})
    env["account.chart.template"].try_loading("dk", company)
    assert company.currency_id.name == "DKK"
    currencies = make_currencies(company)
    accounts = make_accounts(company)
    companies = {
        "acme": company,
        "second": make_company(SECOND, currencies["SEK"]),
        "foreign": make_company(FOREIGN, currencies["EUR"]),
    }
    taxes = make_taxes(company, accounts)
    dimensions = make_dimensions(company)
    journals = make_journals(company)
    vendors = make_vendors(accounts)
    users = make_users(companies)
    company.fiscalyear_lock_date = LOCKED_UNTIL
    env["ir.config_parameter"].set_param("web.base.url.freeze", "True")
    env["ir.cron"].search([]).active = False
    document = {
        "companies": {key: {"id": one.id, "name": one.name} for key, one in companies.items()},
        "accounts": {code: one.id for code, one in accounts.items()},
        "taxes": {code: one.id for code, one in taxes.items()},
        "dimensions": {group: {code: one.id for code, one in values.items()} for group, values in dimensions.items()},
        "journals": {code: one.id for code, one in journals.items()},
        "partners": {code: one.id for code, one in vendors.items()},
        "users": users,
    }
    ANSWER.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    env.cr.commit()


try:
    main()
except BaseException:
    import traceback

    ANSWER.write_text("")
    traceback.print_exc()
    os._exit(1)  # Odoo's shell goes on after an error, and says that all is well
