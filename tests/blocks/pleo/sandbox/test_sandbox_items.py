"""The made-up month and the showcase: every type, arithmetic that holds, and items that cannot be booked."""

from __future__ import annotations

import functools
import json
import time
from collections import Counter

import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox, SandboxError, company
from blocks.pleo.sandbox.templates import DEFECTS, SHOWCASE_DEFECTS

NO_CONTRA_ACCOUNT = {"out_of_pocket", "mileage", "per_diem", "external_reimbursement", "invoice"}
REIMBURSEMENTS = {"direct_reimbursement", "external_reimbursement"}
INVOICES = {"invoice", "invoice_payment", "card_invoice"}
RECEIPT_EXPECTED = {"card_purchase", "card_invoice", "out_of_pocket", "invoice"}
TYPES = NO_CONTRA_ACCOUNT | REIMBURSEMENTS | INVOICES | RECEIPT_EXPECTED
TYPES |= {"chargeback", "refund", "cashback", "atm_withdrawal", "wallet_topup", "wallet_unload"}
TYPES |= {"personal_spend", "fee"}
TO_PEOPLE = {"reimbursement_to_employee", "reimbursement_to_employee_refund", "reimbursement_to_company"}
SUB_TYPES = {
    "direct_reimbursement": TO_PEOPLE,
    "external_reimbursement": {"reimbursement_to_employee", "reimbursement_to_company"},
    "invoice_payment": {"invoice_payment_sent", "invoice_payment_returned"},
    "fee": {None, "interest"},
}
TAX_CODES = {tax.code for kinds in company.TAXES.values() for taxes in kinds.values() for tax in taxes}
TAGS = {tag["code"] for group in company.TAGS for tag in group}
VENDORS = {supplier.vendor["code"] for supplier in company.SUPPLIERS + company.ODD_SUPPLIERS}
BLOCKED_VENDOR = company.BLOCKED_SUPPLIER.vendor["code"]


@functools.lru_cache(maxsize=None, typed=True)  # True and 1 are two kinds of failing
def month(items, seed=1, **kind):
    """The items of a job, made once for all tests: they only look."""
    with Sandbox() as sandbox:
        job_id = sandbox.add_job(items, seed, **kind)
        assert sandbox.job(job_id).vendor_based is ("showcase" in kind)
        return [sandbox.export_item(item.accounting_entry_id) for item in sandbox.items(job_id)]


def showcase(items=130, seed=1):
    return month(items, seed, showcase=True)


def wallet(amount):
    return amount["inWalletCurrency"]["value"]


def whole(item):
    grosses = (line[name] for line in lines(item) for name in ("lineAmount", "netAmount"))
    return [wallet(amount) for amount in (item["amount"], *grosses)]


def currency(item, side="inWalletCurrency"):
    return item["amount"][side]["currency"]


def lines(item):
    return item["accountingEntryLines"]


def defects(item, kind=DEFECTS):
    """Why this item cannot be booked, by a reading of its own: by nobody, or in the showcase's books."""
    method, type_ = item["bookkeeping"]["method"], item["type"]
    money_back = type_ in ("refund", "chargeback") or (wallet(item["amount"]) < 0 and type_ != "cashback")
    files, payable = item["files"] or [], method == "accounts_payable"
    sums = {sum(wallet(line[name]) for line in lines(item)) for name in ("lineAmount", "netAmount")}
    vendor = item["vendor"]["code"] if item["vendor"] else None
    found = {
        "unknown_type": type_ not in TYPES,
        "no_account": type_ == "card_purchase" and any(line["account"] is None for line in lines(item)),
        "amounts_differ": bool(lines(item)) and wallet(item["amount"]) not in sums,
        "fraction": any(value != int(value) for value in whole(item)),
        "currency_xxx": currency(item) == "XXX",
        "no_lines": not lines(item),
        "unknown_sub_type": type_ in REIMBURSEMENTS and item["subType"] not in TO_PEOPLE,
        "no_journal": payable and money_back and type_ != "invoice_payment",
        "no_role_account": type_ == "external_reimbursement",
        "account_unknown": not {line["account"]["code"] for line in lines(item) if line["account"]}
        <= set(company.CATEGORIES),
        "tax_code_unknown": not {line["tax"]["code"] for line in lines(item) if line["tax"]} <= TAX_CODES,
        "tag_unknown": not {tag["code"] for line in lines(item) for tag in line["tags"] or []} <= TAGS,
        "vendor_unknown": payable and vendor not in VENDORS | {BLOCKED_VENDOR},
        "vendor_blocked": payable and vendor == BLOCKED_VENDOR,
        "receipt_too_large": any(file.get("size", 0) > 500_000 for file in files),
        "receipt_gone": any(file["url"].startswith("receipt:eeeeeeee") for file in files),
        "no_receipt": type_ in RECEIPT_EXPECTED and not files,
        "closed_period": item["date"].startswith("2026-08"),
        "unknown_method": method not in ("journal", "accounts_payable", "none"),
    }
    return [name for name, there in found.items() if there and name in kind]


@functools.cache
def bookable(items, seed=1):
    return [item for item in month(items, seed) if not defects(item)]


def invoices(items):
    """Amounts by the invoice's number and the item's type."""
    numbers = {}
    for item in items:
        if item["type"] in ("invoice", "invoice_payment"):
            number = item["additionalInformation"]["invoiceInformation"]["invoiceNumber"]
            numbers.setdefault(number, {})[item["type"]] = item["amount"]
    return numbers.values()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("items", [40, 80, 300])
def test_every_type_and_sub_type_comes_among_the_items_that_can_be_booked(items, seed):
    good = bookable(items, seed)
    assert {item["type"] for item in good} == TYPES
    for name, sub_types in SUB_TYPES.items():
        assert {item["subType"] for item in good if item["type"] == name} == sub_types
    assert {item["subType"] for item in good if item["type"] not in SUB_TYPES} == {None}


@pytest.mark.parametrize(("items", "failing"), [(0, 0), (1, 0), (14, 1), (40, 3), (80, 6), (94, 7), (1000, 7)])
def test_a_few_items_cannot_be_booked_each_for_another_reason(items, failing):
    made = month(items)
    assert len(made) == items
    assert sorted(name for item in made for name in defects(item)) == sorted(list(DEFECTS)[:failing])


@pytest.mark.parametrize(("failing", "expected"), [(False, 0), (0, 0), (1, 1), (9, 9), (True, 3)])
def test_how_many_cannot_be_booked_can_be_said(failing, expected):
    assert sum(map(len, map(defects, month(40, failing=failing)))) == expected


def gross_readings(item):
    """Which of the two fields is the gross, by the rules of bookkeeping: none, one or both of them."""
    readings = []
    for gross, other in (("lineAmount", "netAmount"), ("netAmount", "lineAmount")):
        if sum(wallet(line[gross]) for line in lines(item)) != wallet(item["amount"]):
            continue
        if all(line_fits(line, wallet(line[gross]), wallet(line[other])) for line in lines(item)):
            readings.append(gross)
    return readings


def line_fits(line, gross, other):
    if line["tax"] is None:
        return other == gross
    tax, kind = wallet(line["tax"]["amount"]), line["tax"]["type"]
    if kind == "reverse":
        return other == gross
    if kind == "exclusive":
        return other == gross - tax
    return other in (gross, gross - tax)


def test_the_amounts_of_every_line_hold_together():
    items = [item for seed in range(3) for item in bookable(1500, seed)]
    kinds, forms = Counter(), Counter()
    for item in items:
        assert gross_readings(item), json.dumps(item)
        for line in lines(item):
            for side in ("inWalletCurrency", "inSupplierCurrency"):
                assert {line[name][side]["currency"] for name in ("lineAmount", "netAmount")} == {currency(item, side)}
            tax = line["tax"]
            if tax is None:
                kinds["none"] += 1
                continue
            due, gross = wallet(tax["amount"]), max(wallet(line["lineAmount"]), wallet(line["netAmount"]), key=abs)
            share = tax["rate"] if tax["type"] == "reverse" else tax["rate"] / (1 + tax["rate"])
            assert abs(due - gross * share) <= 0.5 + 1e-6
            kinds["zero" if not tax["rate"] else tax["type"]] += 1
            if tax["type"] == "inclusive" and due:
                forms[wallet(line["lineAmount"]) - wallet(line["netAmount"]) > 0] += 1
            assert ("outgoingTaxAccount" in tax) is (tax["type"] == "reverse")
        supplier_sums = {
            sum(line[name]["inSupplierCurrency"]["value"] for line in lines(item))
            for name in ("lineAmount", "netAmount")
        }
        assert item["amount"]["inSupplierCurrency"]["value"] in supplier_sums
    assert set(kinds) == {"none", "zero", "exclusive", "inclusive", "reverse"}
    assert len(forms) == 2
    assert max(len(lines(item)) for item in items) == 5


def test_amounts_are_whole_hundredths_of_either_sign_and_zero():
    items = bookable(200)
    assert all(isinstance(value, int) for item in items for value in whole(item))
    signs = {(wallet(item["amount"]) > 0) - (wallet(item["amount"]) < 0) for item in items}
    assert signs == {-1, 0, 1}
    assert any(wallet(line["lineAmount"]) < 0 < wallet(item["amount"]) for item in items for line in lines(item))


def test_wallets_and_suppliers_have_several_currencies():
    items = bookable(1500, 1)
    assert {currency(item) for item in items} == {"DKK", "EUR", "GBP", "SEK"}
    abroad = [item["amount"]["inSupplierCurrency"] for item in items]
    assert {"USD", "JPY"} <= {amount["currency"] for amount in abroad}
    yen = [amount["value"] for amount in abroad if amount["currency"] == "JPY"]
    assert any(value % 100 for value in yen)  # yen have no hundredths, and are counted in yen


def test_the_contra_account_is_there_for_the_types_that_touch_the_wallet():
    accounts = {}
    for item in month(1500):
        if item["type"] in TYPES:
            assert (item["contraAccount"] is None) is (item["type"] in NO_CONTRA_ACCOUNT), item["type"]
        if item["contraAccount"] and not defects(item):
            accounts.setdefault(currency(item), set()).add(item["contraAccount"]["code"])
    assert sorted(map(len, accounts.values())) == [1, 1, 1, 1]


def test_invoices_carry_their_information_and_payments_name_the_invoice():
    items = month(600)
    for item in items:
        if item["type"] in TYPES:
            assert (item["additionalInformation"]["invoiceInformation"] is not None) is (item["type"] in INVOICES)
    pairs = [pair for pair in invoices(items) if len(pair) == 2]
    assert len(pairs) > 5
    assert all(pair["invoice"] == pair["invoice_payment"] for pair in pairs)
    told = [item["additionalInformation"]["invoiceInformation"] for item in items if "invoice" in item["type"]]
    assert {len(each["invoiceDate"]) for each in told} == {len("2026-10-01"), len("2026-10-01T00:00:00Z")}


def test_reimbursements_name_the_expenses_that_they_settle():
    items = month(600)
    owed = {item["additionalInformation"]["reconciliationId"]: item for item in items}
    settled = 0
    for item in items:
        names = item["additionalInformation"]["reconciledEntries"]
        assert (names is not None) is (item["type"] in REIMBURSEMENTS)
        known = [owed[name] for name in names or [] if name in owed]
        if known:
            settled += 1
            assert {one["user"]["id"] for one in known} == {item["user"]["id"]}
            assert {one["type"] for one in known} <= {"out_of_pocket", "mileage", "per_diem"}
            assert sum(wallet(one["amount"]) for one in known) == wallet(item["amount"])
    assert settled > 10
    assert len(owed) == 600


def test_what_companies_send_is_there_texts_of_many_scripts_included():
    items = month(400)
    names = " ".join(item["supplier"]["name"] for item in items if item["supplier"])
    for text in ('"', "<b>", "=HYPERLINK", "\u202b", "東京", "Θάλασσα", "Почта", "Müller", "@SUM", "🍕"):
        assert text in names
    assert any(line["tags"] for item in items for line in lines(item))
    assert any(item["servicePeriod"] for item in items)
    assert any(item["additionalInformation"]["attendees"] for item in items)
    assert {None, False, True} == {None if item["files"] is None else bool(item["files"]) for item in items}
    assert any("type" not in file for item in items for file in item["files"] or [])
    assert {item["companyId"] for item in items} == {SANDBOX_COMPANY_ID}
    assert all(item["date"].startswith("2026-10-") for item in items)
    assert sum(item["date"].endswith("T00:00:00Z") for item in items) > 20
    assert {bool(item["user"]) for item in items} == {True, False}


@pytest.mark.parametrize("kind", [{}, {"showcase": True}])
def test_a_seed_always_gives_the_same_job_and_another_seed_or_a_second_job_of_it_another_one(kind):
    assert month.__wrapped__(130, 1, **kind) == month(130, 1, **kind)
    made = [month(130, seed, **kind) for seed in (1, 2)]
    with Sandbox() as sandbox:
        jobs = [sandbox.add_job(130, **each) for each in ({}, {}, {"showcase": True}, {"showcase": True})]
        names = [{item.accounting_entry_id for item in sandbox.items(job)} for job in jobs]
    names.append({item["accountingEntryId"] for item in made[1]})
    assert len(set.union(*names)) == 5 * 130
    assert {item["accountingEntryId"] for item in made[0]} in names


def test_every_id_is_a_uuid_in_lower_case_and_comes_once():
    items = month(300)
    ids = [item["accountingEntryId"] for item in items]
    ids += [line["accountingEntryLineId"] for item in items for line in lines(item)]
    assert len(set(ids)) == len(ids)
    assert all(len(name) == 36 and name == name.lower() and name[14] == "4" for name in ids)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"items": -1}, "a job cannot have -1 items"),
        ({"failing": -1}, "-1 of 100 items cannot fail"),
        ({"items": 3, "failing": 4}, "4 of 3 items cannot fail"),
        ({"company_id": "ACME"}, "ACME is not a company's id: use a UUID"),
        ({"items": 119, "showcase": True}, "a showcase cannot have 119 items: use 120 or more"),
    ],
)
def test_a_job_that_cannot_be_made_is_refused_with_a_line(wrong, reason):
    with Sandbox() as sandbox:
        with pytest.raises(SandboxError) as caught:
            sandbox.add_job(**wrong)
        assert str(caught.value) == reason
        assert sandbox.jobs() == []


def test_an_entry_id_is_taken_once():
    with Sandbox() as sandbox:
        item = sandbox.export_item(sandbox.items(sandbox.add_job(1))[0].accounting_entry_id)
        with pytest.raises(SandboxError, match="there already"):
            sandbox.add_job_of([{**item, "accountingEntryId": "00000000-0000-4000-8000-0000000000aa"}, item])
        assert len(sandbox.jobs()) == 1


@pytest.mark.parametrize("seed", range(1, 13))
def test_in_a_showcase_each_defect_comes_once_and_an_item_has_one_at_most(seed):
    reasons = [defects(item, SHOWCASE_DEFECTS) for item in showcase(seed=seed)]
    assert sorted(name for names in reasons for name in names) == sorted(SHOWCASE_DEFECTS)
    assert {len(names) for names in reasons} == {0, 1}
    assert len(SHOWCASE_DEFECTS) == 19
    assert set(DEFECTS) < set(SHOWCASE_DEFECTS)


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_showcase_has_every_type_and_method_and_invoices_meet_their_payments(seed):
    items = showcase(seed=seed)
    assert (len(items), len(showcase(120))) == (130, 120)
    assert {item["type"] for item in items if item["type"] != "gift_card_purchase"} == TYPES
    methods = Counter(item["bookkeeping"]["method"] for item in items)
    assert min(methods["accounts_payable"], methods["journal"]) > 30
    assert sum(len(pair) == 2 for pair in invoices(items)) >= 2
    assert any(len(item["files"] or []) > 1 for item in items)
    assert any(len(lines(item)) > 1 for item in items)
    assert Counter(item["date"][:7] for item in items) == {"2026-10": 129, "2026-08": 1}


@pytest.mark.slow
def test_fifty_thousand_items_are_made_and_served_in_seconds():
    with Sandbox() as sandbox:
        began = time.perf_counter()
        job_id = sandbox.add_job(50_000)
        took_s = time.perf_counter() - began
        assert sandbox.job(job_id).number_of_items == 50_000
        last = sandbox.items(job_id, start=50_000)
        assert [item.position for item in last] == [50_000]
        assert took_s < 30
