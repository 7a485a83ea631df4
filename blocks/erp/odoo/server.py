"""What Odoo must be before anything is recorded: a version that we know, the company, and the user's rights."""

from __future__ import annotations

from typing import Any

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.odoo.client import OdooClient, Row
from blocks.erp.odoo.names import MODEL
from blocks.erp.remote.calls import CallRefused, NotAllowed
from blocks.erp.remote.names import only_company

_RIGHTS = (
    (MODEL, "create"),
    (MODEL, "write"),
    (MODEL, "unlink"),
    ("account.account", "read"),
    ("ir.attachment", "create"),
)
_MOST_COMPANIES = 1000


async def look_at_server(client: OdooClient, company_name: str) -> Row:
    """The company to book in, a row of `res.company`, once everything is there that recording needs. From then on every
    call of the client's is within that company, and in the user's language.

    Raises ErpConfigurationError, ErpLoginRefused, ErpUnavailable.
    """
    await client.look()
    client.context = {}
    told = await client.who()
    language = {"lang": told["lang"]} if told.get("lang") else {}
    company = await _company(client, company_name)
    client.context = {**language, "allowed_company_ids": [company["id"]]}
    for model, operation in _RIGHTS:
        await _require(client, model, operation)
    return company


async def _company(client: OdooClient, name: str) -> Row:
    fields = ("name", "currency_id")
    rows = await client.search_read("res.company", [], fields, limit=_MOST_COMPANIES)
    return only_company(name, [(str(row["name"]), row) for row in rows], "Odoo")


async def _require(client: OdooClient, model: str, operation: str) -> None:
    given: dict[str, Any] = {"operation": operation, "raise_exception": False}
    try:
        allowed = await client.call(model, "check_access_rights", changes=False, **given)
    except NotAllowed:
        allowed = False
    except CallRefused as error:
        text = f"Odoo lacks what accounting needs ({error}): install its app Invoicing"
        raise ErpConfigurationError(text) from None
    if not allowed:
        raise ErpConfigurationError(
            f"the user may not {operation} {model} in Odoo: give the user the right Accounting: Bookkeeper there",
            ConfigurationProblem.PERMISSION,
        )
