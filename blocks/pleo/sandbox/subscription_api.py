"""The paths of Pleo's webhook subscriptions (`/v1/subscriptions`)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blocks.pleo.sandbox import paging
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.wire import json_response, read_object

PATH = "/v1/subscriptions"


class SubscriptionApi:
    """The handlers, one a path and method of the definition."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._subscriptions = control.webhooks.subscriptions

    def routes(self) -> list[Route]:
        """Where the handlers stand."""
        return [
            Route(PATH, self.list, methods=["GET"]),
            Route(PATH, self.make, methods=["POST"]),
            Route(PATH + "/{id}", self.get, methods=["GET"]),
            Route(PATH + "/{id}", self.change, methods=["PUT"]),
            Route(PATH + "/{id}", self.delete, methods=["DELETE"]),
            Route(PATH + "/{id}/activities", self.activities, methods=["GET"]),
            Route(PATH + "/{id}/secret", self.secret, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        """The subscriptions of these credentials, in pages."""
        page = paging.read_page_request(request.query_params, self._control.page_cap)
        found, info = self._subscriptions.page(request.scope["pleo.companies"], request.query_params, page)
        return json_response({"data": [one.wire() for one in found], "pagination": info})

    async def make(self, request: Request) -> Response:
        """A new one; answered with 200, as the definition has it."""
        asked = await read_object(request)
        made = self._subscriptions.make(request.scope["pleo.companies"], asked, self._control.clock())
        return json_response({"data": made.wire()})

    async def get(self, request: Request) -> Response:
        """One of them."""
        found = self._subscriptions.find(request.scope["pleo.companies"], _id(request))
        return json_response({"data": found.wire()})

    async def change(self, request: Request) -> Response:
        """Another request in the place of the one before."""
        asked = await read_object(request)
        companies, now = request.scope["pleo.companies"], self._control.clock()
        return json_response({"data": self._subscriptions.change(companies, _id(request), asked, now).wire()})

    async def delete(self, request: Request) -> Response:
        """No more deliveries, those that wait included."""
        self._subscriptions.delete(request.scope["pleo.companies"], _id(request), self._control.clock())
        return Response(status_code=204)

    async def activities(self, request: Request) -> Response:
        """What was done to the subscription; the definition has no deliveries here either."""
        query, companies = request.query_params, request.scope["pleo.companies"]
        page = paging.read_page_request(query, self._control.page_cap)
        data, info = self._subscriptions.activities(companies, _id(request), query, page)
        return json_response({"data": data, "pagination": info})

    async def secret(self, request: Request) -> Response:
        """What its deliveries are signed with."""
        found = self._subscriptions.find(request.scope["pleo.companies"], _id(request))
        return json_response({"data": {"secretKey": found.secret}})


def _id(request: Request) -> str:
    return str(request.path_params["id"]).lower()
