"""A made-up company with wallets in four currencies: its people, accounts, tags, tax codes and suppliers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from blocks.pleo.sandbox.wire import Json, draw_uuid

WEB_APP = "https://app.pleo.example"
"""Where links to expenses lead; there is no such place, as nobody has these expenses."""

SANDBOX_COMPANY_ID = "5a4db0c5-0000-4000-8000-000000000001"
"""The company of a sandbox's jobs, unless another is asked for."""

SANDBOX_ORGANIZATION_ID = "5a4db0c5-0000-4000-8000-0000000000ff"
"""The organisation to which every company of a sandbox belongs."""

WALLETS: tuple[tuple[str, int], ...] = (("DKK", 60), ("EUR", 20), ("SEK", 12), ("GBP", 8))
"""The wallets' currencies and how often each is used, in percent."""

DKK_PER_10_000: dict[str, int] = {
    "DKK": 10_000,
    "EUR": 74_600,
    "GBP": 86_100,
    "SEK": 6_800,
    "USD": 64_500,
    "JPY": 430,
    "NOK": 6_400,
    "CHF": 79_600,
    "PLN": 17_500,
}
"""What 10,000 units of a currency cost in DKK."""

_rng = random.Random("the sandbox's company")  # noqa: S311 - ids that never change, not secrets


def _named(name: str, code: str | None, **more: str | None) -> Json:
    return {"id": draw_uuid(_rng), "name": name, "code": code, **more}


def _account(code: str, name: str) -> Json:
    return _named(name, code, identifier=f"gl-{code}")


CATEGORIES: dict[str, Json] = {
    code: _account(code, name)
    for code, name in (
        ("6010", "Travel: flights and trains"),
        ("6020", "Travel: hotels"),
        ("6030", "Taxi, parking and tolls"),
        ("6040", "Mileage and per diem"),
        ("6110", "Meals and entertainment"),
        ("6120", "Staff welfare"),
        ("6210", "Software and subscriptions"),
        ("6220", "Hardware below the limit"),
        ("6230", "Hosting and cloud"),
        ("6310", "Marketing and advertising"),
        ("6320", "Conferences and training"),
        ("6410", "Office supplies"),
        ("6420", "Post and freight"),
        ("6430", "Telephone and internet"),
        ("6510", "Legal and accounting"),
        ("6520", "Consultants"),
        ("6610", "Repairs and maintenance"),
        ("6910", "Bank and payment fees"),
        ("6920", "Interest"),
        ("6990", "Cashback and bonuses"),
    )
}

CONTRA_ACCOUNTS: dict[str, Json] = {
    currency: _account(code, f"Pleo wallet {currency}")
    for currency, code in (("DKK", "5820"), ("EUR", "5821"), ("SEK", "5822"), ("GBP", "5823"))
}

TEAMS: tuple[Json, ...] = (
    _named("Sales", "100"),
    _named("Research & Development", "200"),
    _named("Økonomi", "300"),
    _named("Operations", None),
)

PEOPLE: tuple[tuple[Json, Json | None], ...] = tuple(
    (_named(name, code), TEAMS[team] if team is not None else None)
    for name, code, team in (
        ("Anne-Sofie Kjærgaard", "E-1001", 0),
        ("Bjørn Ødegård", "E-1002", 0),
        ("Chloé D'Amico-O'Neill", "E-1003", 1),
        ("Đorđe Živković", "E-1004", 1),
        ("Ελένη Παπαδοπούλου", "E-1005", 2),
        ("Jürgen Weiß", "E-1006", 3),
        ("Łukasz Żółć", "E-1007", 3),
        ("山田 太郎", None, 1),
        ("محمد العلي", "E-1009", 0),
        ("Sir Reginald Featherstonehaugh-Cholmondeley III", "E-1010", None),
    )
)

TAGS: tuple[tuple[Json, ...], ...] = tuple(
    tuple({"id": draw_uuid(_rng), "groupCode": group, "code": code} for code in codes)
    for group, codes in (
        ("PROJECT", ("P-2401", "P-2402", "P-2417", "INTERNAL")),
        ("COSTCENTRE", ("CPH", "AAR", "BER", "LON")),
        ("CUSTOMER", ("C-0007", "C-0042", "Ærø Kommune")),
    )
)


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax code: `kind` is Pleo's `tax.type`, `rate_bp` the rate in hundredths of a percent."""

    id: str
    code: str | None
    kind: str
    rate_bp: int
    ingoing: str | None = None
    outgoing: str | None = None


def _taxes(prefix: str, rate_bp: int) -> dict[str, tuple[Tax, ...]]:
    percent = rate_bp // 100
    return {
        "exclusive": (
            Tax(draw_uuid(_rng), f"{prefix}{percent}", "exclusive", rate_bp, ingoing="7910"),
            Tax(draw_uuid(_rng), f"{prefix}{percent}N", "exclusive", rate_bp),
        ),
        "inclusive": (Tax(draw_uuid(_rng), f"{prefix}{percent}I", "inclusive", rate_bp, ingoing="7910"),),
        "reverse": (Tax(draw_uuid(_rng), f"{prefix}{percent}R", "reverse", rate_bp, "7920", "7930"),),
        "zero": (
            Tax(draw_uuid(_rng), f"{prefix}0", "exclusive", 0),
            Tax(draw_uuid(_rng), None, "inclusive", 0),
        ),
    }


TAXES: dict[str, dict[str, tuple[Tax, ...]]] = {
    "DKK": _taxes("I", 2500),
    "EUR": _taxes("DE", 1900),
    "SEK": _taxes("SE", 1200),
    "GBP": _taxes("GB", 2000),
}


@dataclass(frozen=True, slots=True)
class Supplier:
    """A merchant, and the vendor it is in the accounting system when vendor-based bookkeeping is on."""

    name: str
    country: str
    currency: str
    category: str
    mcc: str
    vendor: Json

    def on_card(self) -> Json:
        """The merchant as Pleo shows it from the card payment or the invoice."""
        return {
            "account": None,
            "categoryCode": self.mcc,
            "code": self.vendor["code"],
            "country": self.country,
            "name": self.name,
            "taxIdentifier": self.vendor.get("taxRegistrationNumber"),
        }


def _supplier(number: int, name: str, country: str, currency: str, category: str, mcc: str) -> Supplier:
    vendor: Json = {
        "id": draw_uuid(_rng),
        "name": name,
        "code": f"V{number:04d}",
        "country": country,
        "defaultCurrency": currency,
        "externalId": f"vendor-{number}",
    }
    if number % 3:
        vendor["taxRegistrationNumber"] = f"{country}{_rng.randrange(10**7, 10**8)}"
    return Supplier(name, country, currency, category, mcc, vendor)


SUPPLIERS: tuple[Supplier, ...] = tuple(
    _supplier(number, *row)
    for number, row in enumerate(
        (
            ("DSB", "DK", "DKK", "6010", "4112"),
            ("SAS Scandinavian Airlines", "SE", "SEK", "6010", "3017"),
            ("Deutsche Bahn AG", "DE", "EUR", "6010", "4112"),
            ("Hotel Ørsted & Søn ApS", "DK", "DKK", "6020", "7011"),
            ("The Old Bell Inn", "GB", "GBP", "6020", "7011"),
            ("東京グランドホテル", "JP", "JPY", "6020", "7011"),
            ("Dantaxi 4x48", "DK", "DKK", "6030", "4121"),
            ("EasyPark", "SE", "SEK", "6030", "7523"),
            ("Café Norden", "DK", "DKK", "6110", "5812"),
            ("Ταβέρνα «Η Θάλασσα»", "GR", "EUR", "6110", "5812"),
            ("Bäckerei Müller & Töchter", "DE", "EUR", "6120", "5462"),
            ("Nemlig.com", "DK", "DKK", "6120", "5411"),
            ("GitHub, Inc.", "US", "USD", "6210", "5734"),
            ("Figma", "US", "USD", "6210", "5734"),
            ("Dinero A/S", "DK", "DKK", "6210", "5734"),
            ("Proshop A/S", "DK", "DKK", "6220", "5732"),
            ("Hetzner Online GmbH", "DE", "EUR", "6230", "7372"),
            ("Amazon Web Services EMEA SARL", "LU", "EUR", "6230", "7372"),
            ("Meta Platforms Ireland", "IE", "EUR", "6310", "7311"),
            ("TechBBQ", "DK", "DKK", "6320", "8299"),
            ("Kjell & Company", "SE", "SEK", "6410", "5732"),
            ("WHSmith", "GB", "GBP", "6410", "5994"),
            ("PostNord", "DK", "DKK", "6420", "4215"),
            ("Почта Сербии", "RS", "EUR", "6420", "9402"),
            ("TDC Erhverv", "DK", "DKK", "6430", "4814"),
            ("Advokatfirmaet Poul Schmith", "DK", "DKK", "6510", "8111"),
            ("Żabka Polska", "PL", "PLN", "6110", "5499"),
            ("SBB CFF FFS", "CH", "CHF", "6010", "4112"),
            ("Vinmonopolet", "NO", "NOK", "6120", "5921"),
            ("Jernbanesnedkeren I/S", "DK", "DKK", "6610", "1520"),
        ),
        start=1,
    )
)

ODD_SUPPLIERS: tuple[Supplier, ...] = tuple(
    _supplier(number, *row)
    for number, row in enumerate(
        (
            ('O\'Reilly & "Sons" <b>Ltd</b>', "IE", "EUR", "6210", "5942"),
            ('=HYPERLINK("https://example.com/?q="&A1,"Click me")', "US", "USD", "6310", "7311"),
            ("+45 70 25 25 25 Taxa", "DK", "DKK", "6030", "4121"),
            ("@SUM(A1:A9)|cmd", "US", "USD", "6210", "5734"),
            ("🍕 Pizzeria «Da Mario» 👨‍👩‍👧‍👦", "IT", "EUR", "6110", "5812"),
            ("مطعم الشام \u202b(Aleppo)\u202c", "DK", "DKK", "6110", "5812"),
            ("בית קפה תל-אביב", "IL", "USD", "6110", "5814"),
            ("Robert'); DROP TABLE entries;--", "GB", "GBP", "6520", "7392"),
            ("C:\\temp\\new {{ 7*7 }} ${HOME} %s", "DK", "DKK", "6410", "5943"),
            ("<script>alert('receipt')</script>", "US", "USD", "6210", "5734"),
            ("ร้านอาหารไทย\tสยาม", "TH", "USD", "6110", "5812"),
        ),
        start=901,
    )
)

BLOCKED_SUPPLIER = _supplier(951, "Bygma Gruppen A/S", "DK", "DKK", "6610", "5211")
"""A supplier from whom nothing is bought any more."""

NEW_SUPPLIER = _supplier(952, "Kontorland ApS", "DK", "DKK", "6410", "5943")
"""A supplier whom nobody has told the accounting system of."""

NOTES: tuple[str, ...] = (
    "Train to the customer meeting in Aarhus",
    "Frokost med kunde",
    "Monthly subscription",
    "Team lunch",
    "Büromaterial für Q4",
    "Kundebesøg, retur samme dag",
    "Conference ticket",
    "Replacement keyboard",
    "Déjeuner d'équipe",
)

ODD_NOTES: tuple[str, ...] = (
    'Two\nlines, a "quote", a comma; and a\ttab',
    "=1+1",
    "<i>not italic</i> & 5 > 3 < 7",
    "Emoji 🎉🧾 and an accent written apart: e\u0301",
    "הערה מימין לשמאל, then left to right again",
    "A long story. " * 150,
    "   ",
)


def card(company_id: str) -> Json:
    """A company as Pleo lists it."""
    name = "Sandkasse ApS" if company_id == SANDBOX_COMPANY_ID else f"Sandkasse {company_id[:8]} ApS"
    return {
        "address": {"addressLine1": "Legepladsen 1", "country": "DK", "locality": "København", "postalCode": "1050"},
        "id": company_id,
        "name": name,
        "organizationId": SANDBOX_ORGANIZATION_ID,
    }
