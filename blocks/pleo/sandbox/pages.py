"""The HTML of the control page and of the page that asks for access.

Jinja escapes every value; there is no script and nothing from the web.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jinja2 import DictLoader, Environment, StrictUndefined

from blocks.pleo.sandbox.access import SANDBOX_API_KEY
from blocks.pleo.sandbox.oauth import AuthorizationRequest
from blocks.pleo.sandbox.templates import TEMPLATES
from blocks.pleo.sandbox.views import Item, Job, Received
from blocks.pleo.sandbox.wire import Json

SHOWN_REQUESTS = 50
SHOWN_EVENTS = 20
MAX_TEXT = 200


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _expense(item: Json) -> dict[str, str]:
    """What is shown of an export item; an item may be anything, so whatever it lacks is left out."""
    supplier = item.get("supplier")
    return {
        "type": str(item.get("type") or "no type")[:MAX_TEXT].replace("_", " "),
        "sub_type": str(item.get("subType") or "")[:MAX_TEXT].replace("_", " "),
        "supplier": str(supplier.get("name") or "")[:MAX_TEXT] if isinstance(supplier, dict) else "",
        "amount": _amount(item),
    }


def _amount(item: Json) -> str:
    try:
        money = item["amount"]["inWalletCurrency"]
        return f"{money['value'] / 100:,.2f} {money['currency']}"
    except (KeyError, TypeError, OverflowError):
        return ""


_PAGES = Environment(
    loader=DictLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
)
_PAGES.filters["moment"] = _moment


def overview(jobs: Sequence[tuple[Job, dict[str, int]]], received: Received) -> str:
    """The page at `/`: jobs with their outcomes, and what was received."""
    return _PAGES.get_template("overview").render(
        jobs=jobs,
        received=received,
        requests=received.requests[-SHOWN_REQUESTS:],
        shown_events=SHOWN_EVENTS,
        key=SANDBOX_API_KEY,
    )


def job(shown: Job, rows: Sequence[tuple[Item, Json]], start: int, size: int) -> str:
    """The page of a job: items from a position on, each with its expense."""
    return _PAGES.get_template("job").render(
        job=shown, rows=[(item, _expense(expense)) for item, expense in rows], start=start, size=size
    )


def consent(asked: AuthorizationRequest, number: str) -> str:
    """The page that asks a user whether a client may have what it asks for; `number` comes back with the answer."""
    return _PAGES.get_template("consent").render(asked=asked, number=number)


def message(text: str) -> str:
    """A page that says one thing."""
    return _PAGES.get_template("message").render(text=text)
