"""The webhook under test: deliveries as Pleo signs them, a deployment to start, and the server in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import json
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from standardwebhooks import Webhook

from flows.subscriptions import Options
from flows.webhook import serve
from tests.support.installing import asked
from tests.support.processes import PrefectServer, free_port, until

SECRET = "whsec_" + b64encode(b"a secret of the tests, 32 bytes.").decode()
OLD_SECRET = "whsec_" + b64encode(b"the secret before that, 32 bytes").decode()
COMPANY = "5a4db0c5-0000-4000-8000-000000000001"
EVENT = "v1.export-job.created"


def told(job_id: str, event: str = EVENT, company_id: str = COMPANY) -> dict[str, Any]:
    """What Pleo delivers of a new job."""
    data = {"id": job_id, "companyId": company_id, "status": "pending", "expiresIn": 3600, "numberOfItems": 2}
    return {"data": data, "eventId": str(uuid4()), "eventType": event}


def signed(body: bytes, message_id: str | None = None, *, secret: str = SECRET, age_s: float = 0.0) -> dict[str, str]:
    """The headers of a delivery with this body."""
    id_ = message_id or f"msg_{uuid4().hex}"
    at = datetime.fromtimestamp(datetime.now(UTC).timestamp() - age_s, UTC)
    signature = Webhook(secret).sign(id_, at, body.decode())
    return {"webhook-id": id_, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def deliver(address: str, document: Any, message_id: str | None = None, **how: Any) -> httpx.Response:
    """A delivery as Pleo makes it."""
    body = json.dumps(document).encode()
    return httpx.post(f"{address}/pleo", content=body, headers=signed(body, message_id, **how), trust_env=False)


def taken(address: str, document: Any, message_id: str | None = None, **how: Any) -> None:
    """Deliver until it is taken, as Pleo is expected to: Prefect's database on SQLite is busy now and then."""
    id_ = message_id or f"msg_{uuid4().hex}"

    def answered() -> bool:
        answer = deliver(address, document, id_, **how)
        assert answer.status_code in {httpx.codes.ACCEPTED, httpx.codes.SERVICE_UNAVAILABLE}, answer.text
        return answer.status_code == httpx.codes.ACCEPTED

    until(answered, within_s=30, otherwise="Prefect took no run")


def a_deployment(server: PrefectServer, parameters: tuple[str, ...] = ("company_id", "job_id")) -> str:
    """A deployment that takes these parameters and that no worker carries out; its name."""
    name = f"deployed-{uuid4().hex[:12]}"
    properties = {parameter: {"type": "string"} for parameter in parameters}
    with httpx.Client(base_url=server.api_url, trust_env=False) as client:
        flow = asked(lambda: client.post("/flows/", json={"name": "told-by-webhook"})).json()["id"]
        schema = {"type": "object", "properties": properties}
        document = {"name": name, "flow_id": flow, "parameter_openapi_schema": schema}
        asked(lambda: client.post("/deployments/", json=document))
    return f"told-by-webhook/{name}"


def runs_of(server: PrefectServer, deployment: str) -> list[dict[str, Any]]:
    """The runs of a deployment, up to 200 of them."""
    question = {"deployments": {"name": {"any_": [deployment.partition("/")[2]]}}, "limit": 200}
    address = f"{server.api_url}/flow_runs/filter"
    found: list[dict[str, Any]] = asked(lambda: httpx.post(address, json=question, trust_env=False)).json()
    return found


@contextmanager
def webhook(deployment: str, environment: Mapping[str, str] | None = None, port: int | None = None) -> Iterator[str]:
    """The webhook on a free port while the context lasts; yields its address. It talks to the caller's Prefect."""
    port = port or free_port()
    given = environment if environment is not None else {"PLEO_WEBHOOK_SECRET": SECRET}
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        options = Options(None, deployment=deployment, port=port, inbox=Path(folder) / "inbox.sqlite")
        loop, context = runner.get_loop(), contextvars.copy_context()
        serving = loop.create_task(serve(options, given), context=context)

        async def ended() -> None:
            with suppress(asyncio.CancelledError):
                await serving

        thread = threading.Thread(target=runner.run, args=(ended(),), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{port}"
        try:
            until(lambda: _answers(address), within_s=30, otherwise="the webhook did not answer")
            yield address
        finally:
            loop.call_soon_threadsafe(serving.cancel)
            thread.join(20)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/", trust_env=False).status_code == httpx.codes.NOT_FOUND
    except httpx.TransportError:
        return False
