"""Runs in Tryton's environment: the vendors and the users of the prepared company, see `tryton_company`."""

from __future__ import annotations

import secrets
from typing import Any

from proteus import Model, config
from stdnum.eu import vat

MORE_VENDORS: tuple[dict[str, Any], ...] = (
    {"code": "V0960", "name": "Without Address ApS", "address": False},
    {"code": "V0961", "name": "Same Number ApS", "tax_number": "DK13585628"},
    {"code": "V0962", "name": "Same Number Too ApS", "tax_number": "DK13585628"},
)

ACCOUNTING = (("account", "group_account"),)
ADMINISTRATION = (
    ("account", "group_account_admin"),
    ("analytic_account", "group_analytic_admin"),
    ("party", "group_party_admin"),
    ("currency", "group_currency_admin"),
    ("res", "group_admin"),
)
USERS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "pleo": (("acme", "second"), ACCOUNTING),
    "svea": (("second",), ACCOUNTING),
    "guest": (("acme", "second"), ()),
    "accountant": (("acme", "second"), ACCOUNTING + ADMINISTRATION),
}
"""Companies, the current one first, and groups of each user: the exporter, one who knows the other company alone, one
without rights in accounting, and one who sets books up. They see all their companies at once."""


def make_payment_terms() -> dict[str, Any]:
    """Terms of payment by name."""
    made = {}
    for name, days in (("At once", 0), ("30 days", 30)):
        term = Model.get("account.invoice.payment_term")(name=name)
        line = term.lines.new(type="remainder")
        if days:
            line.relativedeltas.new(days=days)
        made[name] = term
    Model.get("account.invoice.payment_term").save(list(made.values()))
    return made


def make_vendors(
    demo: list[dict[str, str]], accounts: dict[str, list[Any]], terms: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The demo's vendors and some odd ones, by code; a blocked one is a party that is not active."""
    party_model = Model.get("party.party")
    made = {}
    for row in [*demo, *MORE_VENDORS]:
        party = party_model(code=row["code"], name=row["name"], supplier_payment_term=terms["30 days"])
        for address in list(party.addresses):
            party.addresses.remove(address)
        if row.get("address", True):
            party.addresses.new(street="Street 1", postal_code="1000", city="City")
        if number := row.get("tax_number"):
            party.identifiers.new(type="eu_vat" if vat.is_valid(number) else None, code=number)
        party.account_payable = accounts[row.get("payable_account") or "2900"][0]
        party.active = row.get("blocked") != "yes"
        made[row["code"]] = party
    party_model.save(list(made.values()))
    return {
        code: {
            "id": party.id,
            "name": party.name,
            "active": party.active,
            "address": party.addresses[0].id if party.addresses else None,
        }
        for code, party in made.items()
    }


def make_users(companies: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The users with their passwords and application keys, by login; `pleo` has keys of other states too."""
    data = Model.get("ir.model.data")
    context = config.get_config().context
    made: dict[str, dict[str, Any]] = {}
    for login, (names, groups) in USERS.items():
        password = secrets.token_urlsafe(16)
        user = Model.get("res.user")(name=login.capitalize(), login=login, password=password)
        for name in names:
            user.companies.append(Model.get("company.company")(companies[name].id))
        user.company = user.companies[0]
        user.company_filter = "all"
        for module, group in groups:
            user.groups.append(Model.get("res.group")(data.get_id(module, group, context)))
        user.save()
        made[login] = {"id": user.id, "login": login, "password": password, "key": _key(user, "validated")}
        if login == "pleo":
            made[login] |= {f"{state}_key": _key(user, state) for state in ("requested", "cancelled")}
    return made


def _key(user: Any, state: str) -> str:
    applications = Model.get("res.user.application")
    # Not by a form, in which the state cannot be set.
    (id_,) = applications._proxy.create(
        [{"user": user.id, "application": "rest", "state": state}], config.get_config().context
    )
    made = applications(id_)
    assert made.state == state
    key: str = made.key
    return key
