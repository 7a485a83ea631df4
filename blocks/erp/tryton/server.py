"""What a Tryton server is found to be before anything is recorded on it: our database, our company, our rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError, ErpLoginRefused, ErpUnavailable
from blocks.erp.remote.calls import CallRefused, NotAllowed
from blocks.erp.remote.names import only_company
from blocks.erp.tryton.client import Row, TrytonClient

MODULE_VERSION = 1
"""Of our module on the server; another one speaks another language."""

_RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "account": {
        "account.move": ("read", "create", "write", "delete"),
        "account.move.line": ("read", "create"),
        "account.account": ("read",),
        "account.journal": ("read",),
        "account.period": ("read",),
        "account.tax": ("read",),
        "party.party": ("read",),
        "ir.attachment": ("read", "create"),
    },
    "account_invoice": {
        "account.invoice": ("read", "create", "write", "delete"),
        "account.move.reconciliation": ("create",),
    },
    "analytic_account": {"analytic_account.account": ("read",)},
}
"""What the user must be allowed to do, by the module that brings the models."""


@dataclass(frozen=True, slots=True)
class Server:
    """The company (its id, party name and currency code), the activated modules, and whether ours is among them."""

    company: Row
    modules: frozenset[str]
    has_our_module: bool


async def look_at_server(client: TrytonClient, company_name: str) -> Server:
    """The server, once it is known that entries can be recorded on it. Changes nothing.

    An empty `company_name` stands for the only company that the user has. Raises ErpConfigurationError with what to
    change in Tryton or in the settings, ErpUnavailable, ErpRateLimited.
    """
    try:
        modules = frozenset(
            row["name"] for row in await client.search("ir.module", [["state", "=", "activated"]], ("name",))
        )
        if "account" not in modules:
            raise ErpConfigurationError(
                f"Tryton's module account is not activated in database {client.database}: activate it "
                "(Administration, Modules)",
                ConfigurationProblem.MISSING,
            )
        company = await _company(client, company_name)
        client.context["company"] = company["id"]
        await _check_rights(client, modules)
        has_our_module = await _has_our_module(client)
        await client.log_in()
    except NotAllowed:
        raise ErpConfigurationError(
            "Tryton does not let the key's user read what is needed: add the user to the group Accounting "
            "(Administration, Users)",
            ConfigurationProblem.PERMISSION,
        ) from None
    except CallRefused as error:
        raise ErpConfigurationError(f"Tryton refuses to be read: {error}", ConfigurationProblem.PERMISSION) from error
    except ErpLoginRefused as error:
        raise ErpConfigurationError(str(error), ConfigurationProblem.AUTHENTICATION) from error
    return Server(company, modules, has_our_module)


async def _company(client: TrytonClient, name: str) -> Row:
    rows = await client.search("company.company", [], ("party.name", "currency.code"))
    whole = [(row["party"]["name"], row) for row in rows if row["party"] and row["currency"]]
    return only_company(name, whole, "Tryton")


async def _check_rights(client: TrytonClient, modules: Iterable[str]) -> None:
    wanted = {model: rights for module in modules for model, rights in _RIGHTS.get(module, {}).items()}
    allowed = await client.call("ir.model.access", "get_access", {"models": sorted(wanted)}, changes=False)
    if not isinstance(allowed, dict):
        raise ErpUnavailable("Tryton did not say what the user may do")
    for model, rights in wanted.items():
        lacking = [right for right in rights if not allowed.get(model, {}).get(right)]
        if lacking:
            raise ErpConfigurationError(
                f"the key's user may not {' or '.join(lacking)} {model} in Tryton: add the user to the group "
                "Accounting (Administration, Users)",
                ConfigurationProblem.PERMISSION,
            )


async def _has_our_module(client: TrytonClient) -> bool:
    try:
        version = await client.call("account.move", "pleo_version", {}, changes=False)
    except NotAllowed:  # a method that the server does not have
        return False
    if version != MODULE_VERSION:
        raise ErpConfigurationError(
            f"Tryton's module pleo_export is of version {version}, and this export needs {MODULE_VERSION}: "
            "install the module that came with it (deployments/tryton)",
            ConfigurationProblem.INVALID,
        )
    return True
