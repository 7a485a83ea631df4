"""Receives Pleo's webhook and starts the deployment for the company and the job that it tells of.

    python -m flows.webhook [--deployment FLOW/DEPLOYMENT] [--host HOST] [--port PORT] [--inbox FILE]
    python -m flows.webhook subscribe URL --secret-file FILE
    python -m flows.webhook list
    python -m flows.webhook delete ID
    python -m flows.webhook secret ID --secret-file FILE

The first serves `POST /pleo` and `GET /health`; PLEO_WEBHOOK_SECRET has the secret that Pleo signs with, and
PLEO_WEBHOOK_SECRET_OLD the one before it, while they are changed. The others make, list and delete the subscription at
Pleo. A webhook is a hint, no more: what is exported is what Pleo's API shows, and the schedule finds what did not come.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from blocks import ground

if __name__ == "__main__":
    ground.prepare(server=False)

import uvicorn
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, PREFECT_HOME, temporary_settings
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from blocks.text import one_line
from flows.deliveries import Delivery, NotSigned, WebhookError, delivered, signatures, verify
from flows.inbox import Inbox
from flows.outcome import OK, USAGE
from flows.starts import ANSWER_S, PrefectAway, Starts
from flows.subscriptions import Options, administer, parse

log = logging.getLogger("flows.webhook")  # by name, as this module is also run as `__main__`

MAX_BODY_BYTES = 1_000_000
LOOK_S = 3.0
CALL_S = 30.0
"""How long a call to Prefect may take, which nobody waits for. Not less: a call that is left behind keeps the server's
SQLite locked for up to a minute."""

BODY_S = 5.0

MOST_AT_ONCE = 256
"""Deliveries that are being received or wait for Prefect: each holds at most `MAX_BODY_BYTES`."""

INBOX = "pleo-webhook.sqlite"


# -- Prefect ----------------------------------------------------------------------------------------------------------


class Deployment:
    """The deployment that is started.

    The id of a message is the run's idempotency key, so that Prefect makes one run of it, however often it comes, and
    whatever was started anew in between.
    """

    def __init__(self, server: PrefectClient, name: str) -> None:
        self._server = server
        self._name = name
        self._id: UUID | None = None

    async def look(self) -> None:
        """Look whether the deployment is there. Raises WebhookError where it is not, PrefectAway without an answer."""
        try:
            async with asyncio.timeout(LOOK_S):
                found = await self._server.read_deployment_by_name(self._name)
        except ObjectNotFound:
            raise WebhookError(
                f"--deployment {one_line(self._name, 100)}: Prefect has no such deployment "
                "(prefect deployment ls lists them)"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever keeps it from answering
            raise PrefectAway(type(error).__name__) from None
        parameters = (found.parameter_openapi_schema or {}).get("properties", {})
        if not {"company_id", "job_id"} <= set(parameters):
            raise WebhookError(f"--deployment {self._name}: it takes no company_id and job_id, so is no export")
        self._id = found.id

    async def make(self, deliveries: Sequence[Delivery]) -> list[str | None]:
        """Have these runs made; says for each what is wrong with it, None where nothing is."""
        if self._id is None:
            await self.look()
        wanted = [
            {
                "parameters": {"company_id": one.company_id, "job_id": one.job_id},
                "tags": ["webhook", f"company:{one.company_id}", f"job:{one.job_id}"],
                "idempotency_key": f"pleo-webhook-{one.message_id}",
            }
            for one in deliveries
        ]
        path = f"/deployments/{self._id}/create_flow_run/bulk"
        try:
            async with asyncio.timeout(CALL_S):
                answer = await self._server.request("POST", path, json=wanted)  # type: ignore[arg-type]  # not in the list
        except PrefectHTTPStatusError as error:
            if error.response.status_code == 404:  # deployed anew, perhaps
                self._id = None
            raise
        results = answer.json()["results"]
        if len(results) != len(deliveries):
            raise ValueError("an answer to something else")
        return [None if one["status"] == "CREATED" else one_line(str(one.get("error")), 100) for one in results]

    async def is_there(self, within_s: float = ANSWER_S) -> bool:
        """Whether Prefect's server answers in that time."""
        try:
            async with asyncio.timeout(within_s):
                return await self._server.api_healthcheck() is None
        except TimeoutError:
            return False


# -- the server -------------------------------------------------------------------------------------------------------


def app_of(starts: Starts, deployment: Deployment, secrets: Sequence[Webhook]) -> Starlette:
    """The webhook as an ASGI app."""

    async def pleo(request: Request) -> Response:
        """204 for what is none of ours, 202 for what Prefect has or will get, 503 where Prefect is away."""
        try:
            body = await _body_of(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except TimeoutError:
            return _refused(408, "the body did not come in time")
        if body is None:
            return _refused(413, f"more than {MAX_BODY_BYTES} bytes")
        try:
            verify(body, request.headers, secrets)
        except NotSigned as error:
            return _refused(401, one_line(str(error), 80))
        try:
            delivery = delivered(request.headers["webhook-id"], body)
        except ValueError as error:
            return _refused(400, one_line(str(error), 80))
        if delivery is None:
            return Response(status_code=204)
        try:
            await starts.start(delivery)
        except PrefectAway:
            return Response("Prefect does not answer", status_code=503, headers={"retry-after": "2"})
        log.info("job %s of company %s: taken", delivery.job_id, delivery.company_id)
        return Response(status_code=202)

    async def health(_request: Request) -> Response:
        if await deployment.is_there():
            return Response("ok", media_type="text/plain")
        return Response("Prefect does not answer", status_code=503, media_type="text/plain")

    return Starlette(routes=[Route("/pleo", pleo, methods=["POST"]), Route("/health", health, methods=["GET"])])


async def _body_of(request: Request) -> bytes | None:
    """The whole body, None as soon as it has too many bytes. Raises TimeoutError where it does not come."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 9 or int(length) > MAX_BODY_BYTES):
        return None
    body = bytearray()
    async with asyncio.timeout(BODY_S):
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return None
    return bytes(body)


def _refused(status: int, why: str) -> Response:
    log.warning("a delivery was refused (HTTP %d): %s", status, why)
    return Response(why, status_code=status, media_type="text/plain")


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises WebhookError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        # The protocol is named because asyncio sets TCP_NODELAY only then; without it small answers take 40 ms.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(MOST_AT_ONCE)
        except OSError:
            made.close()
            raise
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such host"
        raise WebhookError(f"cannot listen on {one_line(host, 100)}:{port}: {why}; choose another --port") from None
    return made


async def serve(options: Options, environment: Mapping[str, str]) -> None:
    """Receive deliveries until a signal comes. Raises WebhookError before the first one where that cannot be done."""
    secrets = signatures(environment)
    if not PREFECT_API_URL.value():
        raise WebhookError("PREFECT_API_URL: it is not set: the webhook starts runs on a Prefect server that is there")
    # Prefect's client would try for minutes where a second decides.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), listener(options.host, options.port) as listening:
        async with get_client() as server:
            deployment = Deployment(server, options.deployment)
            inbox = Inbox(options.inbox or Path(PREFECT_HOME.value()) / INBOX, options.deployment)
            starts = Starts(deployment.make, deployment.is_there, inbox)
            try:
                await deployment.look()
            except PrefectAway as error:
                log.warning("Prefect does not answer (%s): deliveries are refused until it does", error)
            else:
                starts.answered()
            await starts.resume()
            host, port = listening.getsockname()[:2]
            print(f"webhook: listening on http://{host}:{port}/pleo for {options.deployment}", flush=True)
            config = uvicorn.Config(
                app_of(starts, deployment, secrets),
                log_config=None,
                access_log=False,
                lifespan="off",
                loop="asyncio",
                ws="none",
                server_header=False,
                limit_concurrency=MOST_AT_ONCE,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=5,
            )
            handing = asyncio.create_task(starts.hand_on())
            try:
                await uvicorn.Server(config).serve(sockets=[listening])
            finally:
                handing.cancel()
                await asyncio.wait([handing])
                await inbox.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    if options.command is not None:
        return asyncio.run(administer(options, os.environ))
    for signum in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends in good order, and raises the signal again after that
        signal.signal(signum, lambda *_: None)
    try:
        asyncio.run(serve(options, os.environ))
    except WebhookError as error:
        print(f"webhook: {error}", file=sys.stderr)
        return USAGE
    return OK


if __name__ == "__main__":
    sys.exit(main())
