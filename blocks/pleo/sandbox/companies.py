"""Two calls of Pleo's other APIs, by which a client finds out whose its credentials are.

The installation is as Pleo's definition of its marketplace has it; of the companies' list none is public, so it is as
public clients read it. All companies of a sandbox belong to one organisation.
"""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blocks.pleo.sandbox import company, paging
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.errors import forbidden_organization
from blocks.pleo.sandbox.paging import Source
from blocks.pleo.sandbox.wire import json_response, read_uuid, timestamp

_APPLICATION_ID = "5a4db0c5-0000-4000-8000-0000000000aa"
_KEYS = {"id": "id"}


class Companies:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._store = control.store

    def routes(self) -> list[Route]:
        """Where the handlers stand."""
        return [
            Route("/v1/installations/me", self.installation, methods=["GET"]),
            Route("/v1/companies", self.list_companies, methods=["GET"]),
        ]

    async def installation(self, request: Request) -> Response:
        """`getClientInstallation`: for a company where the credentials see one, else for the organisation."""
        seen: frozenset[str] | None = request.scope["pleo.companies"]
        names = [row["id"] for row in self._store.rows("SELECT id FROM companies")] if seen is None else sorted(seen)
        resource = f"company:{names[0]}" if len(names) == 1 else f"organization:{company.SANDBOX_ORGANIZATION_ID}"
        # Not before somebody asks: a simulation's clock runs only once the simulation does.
        made = timestamp(float(self._store.remember("installed_at", repr(self._control.clock()))))
        return json_response(
            {
                "applicationId": _APPLICATION_ID,
                "createdAt": made,
                "id": str(uuid.uuid5(uuid.UUID(_APPLICATION_ID), ",".join(names))),
                "metadata": {},
                "resource": f"urn:pleo:{resource}",
                "status": "ACTIVATED",
                "updatedAt": made,
            }
        )

    async def list_companies(self, request: Request) -> Response:
        """The companies that the credentials see."""
        query, seen = request.query_params, request.scope["pleo.companies"]
        page = paging.read_page_request(query, self._control.page_cap)
        if "organization_id" in query:
            asked = read_uuid(query["organization_id"], "organization_id")
            if asked != company.SANDBOX_ORGANIZATION_ID:
                raise forbidden_organization(asked)
        condition, args = "1", list[str]()
        if seen is not None:
            condition, args = f"id IN ({','.join('?' * len(seen))})", sorted(seen)
        total = self._store.number(f"SELECT count(*) FROM companies WHERE {condition}", args)  # noqa: S608 - constants
        source = Source("companies", "id", "companies", condition, args, _KEYS, [("id", False)])
        rows, info = paging.read_page(self._store, source, page, total)
        return json_response({"data": [company.card(row["id"]) for row in rows], "pagination": info})
