"""Control calls for what is to go wrong, by clients in any language: faults, tokens that end, deliveries."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blocks.pleo.sandbox import fields, oauth
from blocks.pleo.sandbox.company import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.credentials import SCOPES
from blocks.pleo.sandbox.errors import SandboxError
from blocks.pleo.sandbox.fields import read_fields
from blocks.pleo.sandbox.oauth import ClientAuth
from blocks.pleo.sandbox.traffic import FaultKind
from blocks.pleo.sandbox.webhooks import Manner
from blocks.pleo.sandbox.wire import Json, json_response

_MANNER = ("delay_s", "copies", "held", "signature", "age_s", "layout", "event_type")
_CLIENT = ("client_id", "secret", "client_auth", "redirect_uris", "companies", "access_life_s", "refresh_life_s")
_MAX_RETRIES = 20


class FaultApi:
    """The handlers. They answer 204 where there is nothing to say."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> list[Route]:
        """Where the handlers stand."""
        return [
            Route("/sandbox/faults", self.faults, methods=["GET"]),
            Route("/sandbox/faults", self.add_fault, methods=["POST"]),
            Route("/sandbox/faults", self.clear_faults, methods=["DELETE"]),
            Route("/sandbox/oauth/clients", self.add_client, methods=["POST"]),
            Route("/sandbox/oauth/grants", self.grants, methods=["GET"]),
            Route("/sandbox/oauth/grants", self.grant, methods=["POST"]),
            Route("/sandbox/oauth/expire", self.expire, methods=["POST"]),
            Route("/sandbox/oauth/revoke", self.revoke, methods=["POST"]),
            Route("/sandbox/deliveries", self.deliveries, methods=["GET"]),
            Route("/sandbox/deliveries", self.order_deliveries, methods=["POST"]),
            Route("/sandbox/deliveries", self.forget_deliveries, methods=["DELETE"]),
            Route("/sandbox/jobs/{job_id}/deliver", self.deliver, methods=["POST"]),
        ]

    async def faults(self, _request: Request) -> Response:
        """The faults that are still to happen."""
        return json_response({"faults": [asdict(fault) for fault in self._control.faults.waiting()]})

    async def add_fault(self, request: Request) -> Response:
        """The next `times` requests of a call go wrong: `{kind, call, times, skip, status, retry_after}`."""
        asked = await read_fields(request, ("kind", "call", "times", "skip", "status", "retry_after"))
        retry_after = asked.get("retry_after")
        if isinstance(retry_after, int) and not isinstance(retry_after, bool):
            retry_after = str(retry_after)
        self._control.inject(
            cast("FaultKind", asked.get("kind", "status")),
            fields.text(asked.get("call", "*"), "call"),
            times=fields.whole(asked.get("times", 1), "times"),
            skip=fields.whole(asked.get("skip", 0), "skip"),
            status=fields.whole(asked.get("status", 503), "status"),
            retry_after=None if retry_after is None else fields.text(retry_after, "retry_after"),
        )
        return Response(status_code=204)

    async def clear_faults(self, _request: Request) -> Response:
        """Take all faults back."""
        self._control.clear_faults()
        return Response(status_code=204)

    async def add_client(self, request: Request) -> Response:
        """Know an OAuth client: `{client_id, secret, client_auth, redirect_uris, companies, …}`."""
        asked = await read_fields(request, _CLIENT)
        secret = asked.get("secret")
        ways = ("either", "parameters", "header")
        self._control.add_oauth_client(
            fields.text(asked.get("client_id"), "client_id"),
            None if secret is None else fields.text(secret, "secret"),
            client_auth=cast("ClientAuth", fields.choice(asked.get("client_auth", "either"), "client_auth", ways)),
            redirect_uris=fields.texts(asked.get("redirect_uris"), "redirect_uris") or [oauth.SANDBOX_REDIRECT_URI],
            companies=fields.texts(asked.get("companies"), "companies") or [SANDBOX_COMPANY_ID],
            access_life_s=fields.seconds(asked.get("access_life_s", oauth.ACCESS_LIFE_S), "access_life_s"),
            refresh_life_s=fields.seconds(asked.get("refresh_life_s", oauth.REFRESH_LIFE_S), "refresh_life_s"),
        )
        return Response(status_code=204)

    async def grants(self, _request: Request) -> Response:
        """What users allowed OAuth clients, the oldest first."""
        return json_response({"grants": [asdict(grant) for grant in self._control.oauth_grants()]})

    async def grant(self, request: Request) -> Response:
        """Tokens as if a user had just pressed Allow: `{client_id, scopes}`."""
        asked = await read_fields(request, ("client_id", "scopes"))
        scopes = fields.texts(asked.get("scopes"), "scopes")
        pair = self._control.grant_access(_client_id(asked), SCOPES if scopes is None else scopes)
        return json_response(asdict(pair), status=201)

    async def expire(self, request: Request) -> Response:
        """Access tokens are over: `{client_id, refresh_tokens}`; of every client without an id."""
        asked = await read_fields(request, ("client_id", "refresh_tokens"))
        self._control.expire_access_tokens(
            _client_id(asked) if "client_id" in asked else None,
            refresh_tokens=fields.flag(asked.get("refresh_tokens", False), "refresh_tokens"),
        )
        return Response(status_code=204)

    async def revoke(self, request: Request) -> Response:
        """What users allowed a client is taken back: `{client_id}`."""
        self._control.revoke_access(_client_id(await read_fields(request, ("client_id",))))
        return Response(status_code=204)

    async def deliveries(self, _request: Request) -> Response:
        """The webhook's messages, the oldest first, each with its attempts."""
        return json_response({"deliveries": [asdict(one) for one in self._control.webhooks.sent()]})

    async def order_deliveries(self, request: Request) -> Response:
        """How messages of new jobs go out: `{times, retry_waits_s}` and a manner; from now on without `times`."""
        asked = await read_fields(request, ("times", "retry_waits_s", *_MANNER))
        times = None if asked.get("times") is None else fields.whole(asked["times"], "times")
        if times is not None and times < 1:
            raise SandboxError("times must be 1 or more")
        manner = _manner(asked)
        if "retry_waits_s" in asked:
            self._control.webhooks.retry(_waits(asked["retry_waits_s"]))
        if set(asked) != {"retry_waits_s"}:
            self._control.webhooks.order(manner, times)
        return Response(status_code=204)

    async def forget_deliveries(self, _request: Request) -> Response:
        """Forget what was delivered, what waits, and what was ordered."""
        self._control.webhooks.forget()
        return Response(status_code=204)

    async def deliver(self, request: Request) -> Response:
        """Tell of a job now, in a manner; answers the messages' ids, one a subscription."""
        job = self._control.job(request.path_params["job_id"])
        ids = self._control.webhooks.deliver(job, _manner(await read_fields(request, _MANNER)))
        if not ids:
            raise SandboxError(f"nobody has an active subscription for new jobs of company {job.company_id}")
        return json_response({"message_ids": ids}, status=201)


def _client_id(asked: Json) -> str:
    return fields.text(asked.get("client_id", oauth.SANDBOX_CLIENT_ID), "client_id")


def _manner(asked: Json) -> Manner:
    """The manner of a control call; what it does not name is as Pleo does it."""
    given: dict[str, Any] = {}
    for name in _MANNER:
        if name not in asked:
            continue
        value = asked[name]
        match name:
            case "delay_s" | "age_s":
                given[name] = fields.seconds(value, name)
            case "copies":
                given[name] = fields.whole(value, name)
            case "held":
                given[name] = fields.flag(value, name)
            case _:
                given[name] = fields.text(value, name)
    return Manner(**given)


def _waits(value: object) -> list[float]:
    if not isinstance(value, list) or len(value) > _MAX_RETRIES:
        raise SandboxError(f"retry_waits_s must be a list of up to {_MAX_RETRIES} numbers of seconds")
    waits_s = [fields.seconds(one, "retry_waits_s") for one in value]
    if any(wait_s < 0 for wait_s in waits_s):
        raise SandboxError("retry_waits_s must be numbers of seconds, 0 or more")
    return waits_s
