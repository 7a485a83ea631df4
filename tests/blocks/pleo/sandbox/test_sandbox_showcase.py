"""The job of a demonstration: every type, and once each reason why an expense cannot be booked."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from blocks.pleo.sandbox import Sandbox, SandboxError, company
from blocks.pleo.sandbox.templates import DEFECTS, RECEIPT_EXPECTED, SHOWCASE_DEFECTS, TYPE_WEIGHTS

SUB_TYPES = {"reimbursement_to_employee", "reimbursement_to_employee_refund", "reimbursement_to_company"}
TAX_CODES = {tax.code for kinds in company.TAXES.values() for taxes in kinds.values() for tax in taxes}
TAGS = {tag["code"] for group in company.TAGS for tag in group}
VENDORS = {supplier.vendor["code"] for supplier in company.SUPPLIERS + company.ODD_SUPPLIERS}


def showcase(items=130, seed=1):
    with Sandbox() as sandbox:
        job_id = sandbox.add_job(items, seed, showcase=True)
        assert sandbox.job(job_id).vendor_based
        return [sandbox.export_item(item.accounting_entry_id) for item in sandbox.items(job_id)]


def wallet(amount):
    return amount["inWalletCurrency"]["value"]


def faults(item):
    """Why this item cannot be booked in the demonstration's books, by a reading of its own."""
    lines, method, type_ = item["accountingEntryLines"], item["bookkeeping"]["method"], item["type"]
    money_back = type_ in ("refund", "chargeback") or (wallet(item["amount"]) < 0 and type_ != "cashback")
    files = item["files"] or []
    payable = method == "accounts_payable"
    sums = {sum(wallet(line[name]) for line in lines) for name in ("lineAmount", "netAmount")}
    codes = {line["account"]["code"] for line in lines if line["account"]}
    tax_codes = {line["tax"]["code"] for line in lines if line["tax"]}
    tags = {tag["code"] for line in lines for tag in line["tags"] or []}
    vendor = item["vendor"]["code"] if item["vendor"] else None
    found = {
        "unknown_type": type_ not in TYPE_WEIGHTS,
        "no_account": type_ == "card_purchase" and any(line["account"] is None for line in lines),
        "amounts_differ": bool(lines) and wallet(item["amount"]) not in sums,
        "fraction": wallet(item["amount"]) % 1 != 0,
        "currency_xxx": item["amount"]["inWalletCurrency"]["currency"] == "XXX",
        "no_lines": not lines,
        "unknown_sub_type": "reimbursement" in type_ and item["subType"] not in SUB_TYPES,
        "no_journal": payable and money_back and type_ != "invoice_payment",
        "no_role_account": type_ == "external_reimbursement",
        "account_unknown": not codes <= set(company.CATEGORIES),
        "tax_code_unknown": not tax_codes <= TAX_CODES,
        "tag_unknown": not tags <= TAGS,
        "vendor_unknown": payable and vendor not in VENDORS | {company.BLOCKED_SUPPLIER.vendor["code"]},
        "vendor_blocked": payable and vendor == company.BLOCKED_SUPPLIER.vendor["code"],
        "receipt_too_large": any(file.get("size", 0) > 500_000 for file in files),
        "receipt_gone": any(file["url"].startswith("receipt:eeeeeeee") for file in files),
        "no_receipt": type_ in RECEIPT_EXPECTED and not files,
        "closed_period": item["date"].startswith("2026-08"),
        "unknown_method": method not in ("journal", "accounts_payable", "none"),
    }
    return [name for name, there in found.items() if there]


@pytest.mark.parametrize("seed", range(1, 13))
def test_each_reason_comes_once_and_an_item_has_one_at_most(seed):
    reasons = [faults(item) for item in showcase(seed=seed)]
    assert sorted(name for names in reasons for name in names) == sorted(SHOWCASE_DEFECTS)
    assert {len(names) for names in reasons} == {0, 1}


def test_the_reasons_are_those_of_every_job_and_those_that_only_some_books_have():
    assert len(SHOWCASE_DEFECTS) == len(set(SHOWCASE_DEFECTS)) == 19
    assert set(DEFECTS) < set(SHOWCASE_DEFECTS)


@pytest.mark.parametrize("seed", range(1, 5))
def test_every_type_and_method_is_there_and_invoices_meet_their_payments(seed):
    items = showcase(seed=seed)
    assert len(items) == 130
    assert {item["type"] for item in items if item["type"] != "gift_card_purchase"} == set(TYPE_WEIGHTS)
    methods = Counter(item["bookkeeping"]["method"] for item in items)
    assert methods["accounts_payable"] > 30
    assert methods["journal"] > 30
    numbers = {}
    for item in items:
        if item["type"] in ("invoice", "invoice_payment"):
            number = item["additionalInformation"]["invoiceInformation"]["invoiceNumber"]
            numbers.setdefault(number, set()).add(item["type"])
    assert sum(types == {"invoice", "invoice_payment"} for types in numbers.values()) >= 2
    assert any(len(item["files"] or []) > 1 for item in items)
    assert any(len(item["accountingEntryLines"]) > 1 for item in items)


def test_only_the_expense_of_the_closed_month_is_of_another_month():
    dates = Counter(item["date"][:7] for item in showcase())
    assert dates == {"2026-10": 129, "2026-08": 1}


def test_the_large_receipt_is_a_file_of_that_size_and_the_one_that_is_gone_is_not_found(sandbox, api):
    job_id = sandbox.add_job(130, showcase=True)
    pages = [api.get("/v3/export-items", params={"job_id": job_id, "limit": 100}).json()]
    pages.append(
        api.get(
            "/v3/export-items", params={"job_id": job_id, "limit": 100, "after": pages[0]["pagination"]["endCursor"]}
        ).json()
    )
    items = [item for page in pages for item in page["data"]]
    assert len(items) == 130
    files = {file["url"].rsplit("/", 1)[1][:8]: file for item in items for file in item["files"] or []}
    large = httpx.get(files["ffffffff"]["url"])
    assert (large.status_code, large.headers["content-type"]) == (200, "application/pdf")
    assert len(large.content) == files["ffffffff"]["size"] > 900_000
    assert httpx.get(files["eeeeeeee"]["url"]).status_code == 404


def test_a_showcase_repeats_by_its_seed_and_is_another_job_than_the_usual_one():
    ids = [{item["accountingEntryId"] for item in showcase(seed=seed)} for seed in (1, 1, 2)]
    assert ids[0] == ids[1]
    assert ids[0].isdisjoint(ids[2])
    with Sandbox() as sandbox:
        jobs = [sandbox.add_job(130), sandbox.add_job(130, showcase=True), sandbox.add_job(130, showcase=True)]
        names = [{item.accounting_entry_id for item in sandbox.items(job)} for job in jobs]
    assert len(set.union(*names)) == 390


def test_a_showcase_that_is_too_small_is_refused_with_a_line():
    with Sandbox() as sandbox:
        with pytest.raises(SandboxError, match="a showcase cannot have 119 items: use 120 or more"):
            sandbox.add_job(119, showcase=True)
        assert sandbox.jobs() == []
    assert len(showcase(120)) == 120
