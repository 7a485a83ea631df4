"""The books of `--sandbox`: they match the sandbox's company, and are strict where its job is to fail."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from blocks.erp.base import Capabilities
from blocks.erp.entries import EntryState
from blocks.erp.ledger.charts import ChartFiles, Charts, read_charts
from blocks.erp.reference import JOURNAL_USES, Chart, JournalUse, Periods, Reference, Role, Vendors, check_names
from blocks.erp.settings import Attachments, ClosedPeriod, UnknownVendor
from blocks.pleo.items import ExportItem, parse_item
from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox, company
from flows.bookkeeping import BookingContext, book
from flows.demo import ITEMS, SETTINGS_FILE, demo_settings, expected_failures, unexpected
from flows.failures import Failure, refusal


def _charts() -> Charts:
    settings = demo_settings()
    names = ("accounts", "tax_codes", "dimensions", "vendors", "periods")
    return read_charts(ChartFiles(**{name: Path(getattr(settings, f"{name}_file")) for name in names}))


def _context(job_id: str) -> BookingContext:
    charts, settings = _charts(), demo_settings()
    accounts = charts.accounts or ()
    groups: dict[str, set[str]] = {}
    for group, code in charts.dimensions or ():
        groups.setdefault(group, set()).add(code)
    reference = Reference(
        chart=Chart([one.account for one in accounts], {one.identifier: one.account.code for one in accounts}),
        tax_codes=frozenset(charts.tax_codes or ()),
        dimensions={group: frozenset(codes) for group, codes in groups.items()},
        vendors=Vendors(charts.vendors or ()),
        periods=Periods(charts.periods or ()),
    )
    limits = Capabilities("test", 100, 255, 255, 10**15, bills=True)
    return BookingContext(
        job_id, SANDBOX_COMPANY_ID, settings.applied_to(reference), limits, settings, date(2026, 11, 1)
    )


def _failure(item: ExportItem, context: BookingContext) -> Failure | None:
    outcome = book(item, context)
    if isinstance(outcome, Failure):
        return outcome
    refused = check_names(outcome, context.reference)
    return refusal(refused) if refused is not None else None


@pytest.mark.parametrize("seed", range(1, 13))
def test_whatever_the_seed_nothing_fails_but_what_is_meant_to(seed: int) -> None:
    with Sandbox() as sandbox:
        job_id = sandbox.add_job(ITEMS, seed, showcase=True)
        documents = [sandbox.export_item(item.accounting_entry_id) for item in sandbox.items(job_id)]
    context = _context(job_id)
    items = [parse_item(json.loads(json.dumps(document), parse_float=Decimal)) for document in documents]
    failures = [_failure(item, context) for item in items if isinstance(item, ExportItem)]
    assert len(failures) == ITEMS
    reasons = [(one.type.value, one.reason) for one in failures if one is not None]
    wanted = [one for one in expected_failures() if "receipt" not in one[0] + one[1]]
    assert unexpected(reasons, wanted) == []


def test_the_files_hold_all_that_the_company_has() -> None:
    charts = _charts()
    known = {(one.account.code, one.identifier) for one in charts.accounts or ()}
    named = [*company.CATEGORIES.values(), *company.CONTRA_ACCOUNTS.values()]
    assert {(account["code"], account["identifier"]) for account in named} <= known
    taxes = [tax for kinds in company.TAXES.values() for some in kinds.values() for tax in some]
    assert {tax.code for tax in taxes if tax.code} == set(charts.tax_codes or ())
    assert {code for tax in taxes for code in (tax.ingoing, tax.outgoing) if code} <= {code for code, _ in known}
    tags = {(tag["groupCode"], tag["code"]) for group in company.TAGS for tag in group}
    people = {("EMPLOYEE", user["code"]) for user, _ in company.PEOPLE if user["code"]}
    teams = {("TEAM", team["code"]) for team in company.TEAMS if team["code"]}
    assert set(charts.dimensions or ()) == tags | people | teams
    vendors = {one.vendor.code: one for one in charts.vendors or ()}
    blocked = company.BLOCKED_SUPPLIER.vendor["code"]
    suppliers = [*company.SUPPLIERS, *company.ODD_SUPPLIERS, company.BLOCKED_SUPPLIER]
    assert set(vendors) == {supplier.vendor["code"] for supplier in suppliers}
    assert [code for code, one in vendors.items() if one.blocked] == [blocked]
    for supplier in suppliers:
        one = vendors[supplier.vendor["code"]]
        assert one.external_id == supplier.vendor["externalId"]
        assert one.tax_number == supplier.vendor.get("taxRegistrationNumber", "")


def test_no_name_in_the_files_is_a_formula_for_a_spreadsheet() -> None:
    for path in SETTINGS_FILE.parent.glob("*.csv"):
        values = [value.strip('"') for line in path.read_text().splitlines() for value in line.split(",")]
        assert [value for value in values if value.startswith(("=", "+", "@", "-"))] == []


def test_two_years_are_open_but_for_one_month() -> None:
    periods = _charts().periods or ()
    assert (periods[0].first, periods[-1].last, len(periods)) == (date(2025, 7, 1), date(2027, 6, 30), 24)
    assert [period.first for period in periods if not period.is_open] == [date(2026, 8, 1)]


def test_the_settings_are_strict_and_lack_a_journal_and_an_account(tmp_path: Path) -> None:
    settings = demo_settings(tmp_path / "mine.sqlite")
    assert settings.path == str(tmp_path / "mine.sqlite")
    assert (settings.posting, settings.attachments) == (EntryState.POSTED, Attachments.REQUIRED)
    assert (settings.closed_period, settings.unknown_vendor) == (ClosedPeriod.FAIL, UnknownVendor.FAIL)
    needed = {JournalUse.GENERAL, *JOURNAL_USES.values()}
    assert needed - set(settings.journals) == {JournalUse.CREDIT_NOTES}
    exchange = {Role.EXCHANGE_GAIN, Role.EXCHANGE_LOSS}
    assert set(Role) - set(settings.role_accounts) - exchange == {Role.REIMBURSEMENT_CONTRA, Role.WALLET}
    assert settings.accepts(SANDBOX_COMPANY_ID)


def test_the_files_are_installed_with_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["flows.demo"]
    installed = {path.name for pattern in patterns for path in SETTINGS_FILE.parent.glob(pattern)}
    assert installed == {path.name for path in SETTINGS_FILE.parent.iterdir() if path.suffix not in {".py", ""}}
    assert len(installed) == 12
