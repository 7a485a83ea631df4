"""VAT from the ledger: base and tax by code, from what tax lines carry, come to what stands on the accounts."""

from __future__ import annotations

from collections import Counter

from flows.demo import demo_settings
from tests.support.exporting import Office

# Base and tax of each code and account of tax, by tax lines alone; a line's base stands on the line's own side.
_BY_CODE = """
    SELECT l.tax_code, l.account, sum(l.debit_minor - l.credit_minor),
        sum(iif(l.credit_minor > 0, -l.tax_base_minor, l.tax_base_minor)), count(*)
    FROM line AS l WHERE l.is_tax = 1 GROUP BY 1, 2
"""
_COSTS = """
    SELECT l.tax_code, sum(l.debit_minor - l.credit_minor) FROM line AS l
    WHERE l.is_tax = 0 AND l.tax_code IS NOT NULL AND EXISTS (
        SELECT 1 FROM line AS t WHERE t.entry_id = l.entry_id AND t.is_tax = 1 AND t.tax_code = l.tax_code)
    GROUP BY 1
"""
_ON_ACCOUNTS = "SELECT account, sum(debit_minor - credit_minor) FROM journal WHERE account IN ({}) GROUP BY 1"


async def test_base_and_tax_by_code_are_those_of_the_accounts_to_the_cent(at_work: Office) -> None:
    settings = demo_settings(at_work.books)
    at_work.sandbox.add_job(items=400, seed=5, failing=False, vendor_based=True)
    await at_work.export(settings=settings, erp=None)
    rows = at_work.journal(_BY_CODE)
    assert sum(int(str(count)) for *_, count in rows) > 100
    tax_on, base_of = Counter[str](), dict[str, set[int]]()
    for code, account, tax, base, _ in rows:
        tax_on[str(account)] += int(str(tax))
        base_of.setdefault(str(code), set()).add(abs(int(str(base))))
    accounts = ", ".join(f"'{account}'" for account in tax_on)
    assert dict(tax_on) == dict(at_work.journal(_ON_ACCOUNTS.format(accounts)))
    costs = {str(code): abs(int(str(amount))) for code, amount in at_work.journal(_COSTS)}
    assert {code: {amount} for code, amount in costs.items()} == base_of  # of input and of output tax alike
    assert any(code.endswith("R") for code in base_of)
    rates = dict(
        at_work.journal("SELECT tax_code, group_concat(DISTINCT tax_rate) FROM line WHERE is_tax = 1 GROUP BY 1")
    )
    assert rates["I25"] == "0.25"
    told = at_work.journal("SELECT count(*) FROM entry WHERE json_extract(details, '$.supplier_country') = 'DE'")
    assert told[0][0] != 0
