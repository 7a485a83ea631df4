"""Whether batches can be made of these books at all: the charts are looked at before a job is touched."""

from __future__ import annotations

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.chart_store import Terms
from blocks.erp.ledger.handover.batches import Plan
from blocks.erp.ledger.handover.settings import HandoverFormat, HandoverSettings, unfit_accounts
from blocks.text import one_line


def plan_of(settings: HandoverSettings, company_id: str, terms: Terms) -> Plan:
    """What batches are made from. Raises ErpConfigurationError for a chart that one of the formats cannot take."""
    charts = terms.charts
    codes = [one.account.code for one in charts.accounts or ()]
    if problem := unfit_accounts(settings, settings.formats, codes):
        raise ErpConfigurationError(f"accounts_file: {problem}")
    if HandoverFormat.DATEV in settings.formats:
        without = [code for code in charts.tax_codes or () if code not in charts.tax_keys]
        if without:
            raise ErpConfigurationError(
                f"tax_codes_file: tax code {one_line(without[0], 60)} has no datev_key: give its key, or 0 for rows of "
                "net and tax, or automatic yes"
            )
    return Plan(settings, company_id, charts.tax_keys, terms.minor_units, terms.company_currency)
