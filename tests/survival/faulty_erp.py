"""Two accounting systems that fail: a remote one behind the faulty network, and the embedded ledger, call by call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from blocks.erp.errors import ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.ledger import Ledger
from blocks.pleo.http.retries import read_retry_after
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import KEY, SmallErpServer
from tests.support.network.memory_network import Request
from tests.support.network.network_faults import Reply
from tests.survival.faulty_office import _TLS, ERP_PORT, FaultyOffice

T = TypeVar("T")
ANSWER_S = 50.0


class RemoteErp(SmallErp):
    """The small ERP over the network of an office, with an adapter that takes every odd answer for what it is."""

    def __init__(self, office: FaultyOffice) -> None:
        super().__init__(office.network.url(ERP_PORT), remote=True)
        self._http = httpx.AsyncClient(
            base_url=office.network.url(ERP_PORT),
            headers={"authorization": f"Bearer {KEY}"},
            timeout=20.0,
            transport=office.network.transport(_TLS),
            trust_env=False,
        )
        self._now = office.local_time

    async def _call(self, call: str, **body: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._http.post(f"/{call}", json=body)
        except httpx.ConnectError:
            raise ErpUnavailable("the small ERP does not answer") from None
        except (httpx.HTTPError, TimeoutError):
            raise ErpOutcomeUnknown(f"the small ERP broke off its answer to {call}") from None
        if answer.status_code == 429:
            asked = read_retry_after(answer.headers.get("retry-after"), answer.headers.get("date"), self._now)
            raise ErpRateLimited("the small ERP asks for fewer calls", asked)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if answer.status_code != 200 or not isinstance(document, dict):
            raise ErpOutcomeUnknown(f"the small ERP's answer to {call} cannot be read (HTTP {answer.status_code})")
        return answer


def serve_erp(office: FaultyOffice, server: SmallErpServer) -> None:
    """Have the small ERP answer in this office; its kinds of calls are `erp find`, `erp create` and so on."""

    async def carry_out(request: Request) -> Reply:
        status, document = server.act(request.path.strip("/"), json.loads(request.body))
        return Reply(status, body=json.dumps(document).encode())

    office.serve(ERP_PORT, carry_out, lambda request: f"erp {request.path.strip('/')}")


@dataclass
class Trouble:
    """What calls of one method meet: an error, before or after they are carried out."""

    method: str
    error: Callable[[], Exception]
    after_act: bool
    times: int
    skip: int = 0
    met: list[str] = field(default_factory=list)


class TroubledLedger(Ledger):
    """A real ledger in front of which calls of one kind get lost."""

    trouble: Trouble

    async def _meet(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        trouble = self.trouble
        if trouble.method != method or trouble.times <= 0:
            return await call()
        if trouble.skip > 0:
            trouble.skip -= 1
            return await call()
        trouble.times -= 1
        trouble.met.append(method)
        if trouble.after_act:
            await call()
        raise trouble.error()

    async def validate(self) -> None:
        await self._meet("validate", super().validate)

    async def load_reference(self) -> Any:
        return await self._meet("load_reference", super().load_reference)

    async def find(self, accounting_entry_ids: Any) -> Any:
        find = super().find
        return await self._meet("find", lambda: find(accounting_entry_ids))

    async def record(self, entries: Any) -> Any:
        record = super().record
        return await self._meet("record", lambda: record(entries))

    async def post(self, accounting_entry_ids: Any) -> Any:
        post = super().post
        return await self._meet("post", lambda: post(accounting_entry_ids))

    async def finish_job(self) -> Sequence[str]:
        return await self._meet("finish_job", super().finish_job)
