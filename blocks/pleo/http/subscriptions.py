"""Pleo's webhook subscriptions (`/v1/subscriptions`): who is told of new export jobs, and by which secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

from blocks.pleo.errors import PleoOutcomeUnknown, PleoUnavailable
from blocks.pleo.fields import LenientName, PleoModel, Uuid, canonical_uuid
from blocks.pleo.http.client import PleoClient, readable, record_in
from blocks.pleo.http.pages import Page, Paginator, read_page

PATH = "/v1/subscriptions"
JOB_CREATED = "v1.export-job.created"
"""A user has pressed Export, as Pleo's API definition spells it for subscriptions."""

_LARGEST_PAGE = 100


def _as_tuple(value: object) -> object:
    """One of Pleo's examples has the list of events as one text."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class Subscription(PleoModel):
    """A subscription as Pleo shows it."""

    id: Uuid
    endpoint_url: LenientName = ""
    event_types: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    status: LenientName = ""


class _Secret(PleoModel):
    secret_key: SecretStr


class Subscriptions:
    """The subscriptions of one set of credentials. All calls may raise the errors drawn in `blocks.pleo.errors`."""

    def __init__(self, client: PleoClient) -> None:
        self._call = client.transport.call

    async def all(self) -> list[Subscription]:
        """Every subscription."""
        found: list[Subscription] = []
        paginator = Paginator("list of subscriptions")
        cursor: str | None = None
        while True:
            after = [("after", cursor)] if cursor is not None else []
            answer = await self._call("GET", PATH, query=[("limit", str(_LARGEST_PAGE)), *after], check=_page)
            page: Page = answer.value
            found += readable(Subscription, page.data)
            cursor = paginator.after(has_next=page.has_next, end_cursor=page.end_cursor, count=len(page.data))
            if cursor is None:
                return found

    async def make(self, url: str, events: Sequence[str] = (JOB_CREATED,)) -> Subscription:
        """A new subscription, and never a second one: where no answer comes back it is looked for before giving up."""
        before = {one.id for one in await self.all()}
        body = {"endpointUrl": url, "eventTypes": list(events), "status": "ACTIVE"}
        try:
            answer = await self._call("POST", PATH, body=body, check=record_in(Subscription), repeatable=False)
        except PleoOutcomeUnknown as error:
            made = [one for one in await self.all() if one.id not in before and one.endpoint_url == url]
            if not made:
                raise PleoUnavailable(str(error)) from None
            return made[0]
        subscription: Subscription = answer.value
        return subscription

    async def delete(self, id_: str) -> None:
        """Delete one. Raises PleoNotFound where there is none of that id, or none any more."""
        await self._call("DELETE", f"{PATH}/{canonical_uuid(id_)}")

    async def secret(self, id_: str) -> SecretStr:
        """The secret that Pleo signs its deliveries with. Raises PleoNotFound."""
        answer = await self._call("GET", f"{PATH}/{canonical_uuid(id_)}/secret", check=record_in(_Secret))
        found: _Secret = answer.value
        return found.secret_key


def _page(document: Any) -> Page:
    """A page of the list; Pleo's pages do not say whether this list has pages at all."""
    if isinstance(document, dict) and isinstance(document.get("data"), list) and "pagination" not in document:
        return Page(document["data"], has_next=False, end_cursor=None)
    return read_page(document)
