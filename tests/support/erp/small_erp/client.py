"""The adapter to the small accounting system: how an ERP over HTTP maps its answers to what the export knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import httpx

from blocks.erp.base import Capabilities, Outcome, replaces_nothing, reverses_nothing
from blocks.erp.entries import Account, AccountKind, Answer, Attachment, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import (
    ConfigurationProblem,
    ErpConfigurationError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
    RefusalKind,
    Refused,
)
from blocks.erp.precedents import NO_PRECEDENTS, Precedents
from blocks.erp.reference import ROLE_KINDS, JournalUse, Reference, Role, check_names
from tests.support.erp.small_erp.server import KEY

RECORDED_AT = datetime(2026, 11, 3, 10, 20, 30, tzinfo=UTC)


class SmallErp:
    """Entries in the small system; `limits` are the fields of its Capabilities that a test wants otherwise."""

    def __init__(self, base_url: str, *, key: str = KEY, reference: Reference | None = None, **limits: Any) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=5, trust_env=False
        )
        self._reference = reference or Reference(
            roles={role: Account(role.value, role.value, ROLE_KINDS[role]) for role in Role},
            open_wallet=lambda currency: Account(f"wallet-{currency}", currency, AccountKind.ASSET),
            journals={use: use.value for use in JournalUse},
        )
        self._limits = {"max_entries": 50, "max_description": 100, "max_reference": 60, "max_amount_minor": 10**15}
        self._limits |= {"bills": True, **limits}

    def describe(self) -> Capabilities:
        return Capabilities(name="small ERP", **self._limits)

    def company(self) -> str | None:
        return None

    async def open(self, company_id: str, *, dry_run: bool) -> None:
        """Nothing to hold."""

    async def validate(self) -> None:
        await self._call("ping")

    async def load_reference(self) -> Reference:
        return self._reference

    def check(self, entry: Entry) -> Refused | None:
        return check_names(entry, self._reference)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        answer = await self._call("find", ids=list(accounting_entry_ids))
        return {id_: self._recorded(id_, shown, found=True) for id_, shown in answer.json()["found"].items()}

    async def precedents(self, entries: Sequence[Entry]) -> Precedents:
        """It cannot tell."""
        return NO_PRECEDENTS

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for entry in entries:
            try:
                outcomes.append(await self._record(entry))
            except ErpLoginRefused as error:
                raise ErpLoginRefused(str(error), outcomes) from None
            except ErpRateLimited as error:
                raise ErpRateLimited(str(error), error.clears_in_s, outcomes) from None
        return outcomes

    async def _record(self, entry: Entry) -> Outcome:
        posted = entry.state is EntryState.POSTED
        answer = await self._call(
            "create",
            accounting_entry_id=entry.accounting_entry_id,
            currency=entry.currency,
            amount_minor=entry.amount_minor,
            accounts=list(entry.accounts),
            date=entry.posting_date.isoformat(),
            original=entry.original_date.isoformat(),
            posted=posted and not entry.attachments_required,
        )
        if answer.status_code == 504:
            return Refused(entry.accounting_entry_id, RefusalKind.TIMED_OUT, "entry", answer.json()["error"])
        if answer.status_code == 400:
            return Refused(entry.accounting_entry_id, RefusalKind.OTHER, "entry", answer.json()["error"])
        if not answer.json()["new"]:
            return self._recorded(entry.accounting_entry_id, answer.json(), found=True)
        not_attached = await self.attach(entry.accounting_entry_id, entry.attachments)
        if not_attached and entry.attachments_required:
            await self._call("remove", id=entry.accounting_entry_id)
            kind = RefusalKind.ATTACHMENT_TOO_LARGE if not_attached[0].too_large else RefusalKind.ATTACHMENT_REFUSED
            return Refused(entry.accounting_entry_id, kind, "file", not_attached[0].message)
        if posted and entry.attachments_required:
            await self._call("post", id=entry.accounting_entry_id)
        recorded = self._recorded(entry.accounting_entry_id, answer.json(), found=False)
        return replace(recorded, not_attached=tuple(not_attached))

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        refused = []
        for one in attachments:
            content = one.path.read_bytes().hex()
            answer = await self._call("attach", id=accounting_entry_id, number=one.number, content=content)
            if answer.status_code >= 400:
                refused.append(NotAttached(one.number, answer.json()["error"], answer.status_code == 413))
        return refused

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        refused = []
        for id_ in accounting_entry_ids:
            answer = await self._call("post", id=id_)
            if answer.status_code == 400:
                refused.append(Refused(id_, RefusalKind.CLOSED_PERIOD, "period", answer.json()["error"]))
        return refused

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """It cannot."""
        return replaces_nothing(entries)

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """It cannot."""
        return reverses_nothing(entries)

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """It keeps no history."""

    def link(self, external_id: str) -> str:
        return f"https://erp.example/entries/{external_id}"

    async def finish_job(self) -> Sequence[str]:
        """Nothing is derived from these books."""
        return ()

    async def close(self) -> None:
        await self._http.aclose()

    async def _call(self, call: str, **body: Any) -> httpx.Response:
        try:
            answer = await self._http.post(f"/{call}", json=body)
        except httpx.ConnectError:
            raise ErpUnavailable("the small ERP does not answer") from None
        except httpx.HTTPError:
            raise ErpOutcomeUnknown("the small ERP broke off its answer") from None
        error = answer.json().get("error", "")
        if answer.status_code == 401:
            raise ErpLoginRefused(error)
        if answer.status_code == 403:
            raise ErpConfigurationError(error, ConfigurationProblem.PERMISSION)
        if answer.status_code == 429:
            pause = answer.headers.get("retry-after")
            raise ErpRateLimited(error, float(pause) if pause else None)
        if answer.status_code in (500, 502, 503):
            raise ErpOutcomeUnknown(error)
        return answer

    def _recorded(self, id_: str, shown: dict[str, Any], *, found: bool) -> Recorded:
        external_id = f"S-{shown['number']}"
        return Recorded(
            accounting_entry_id=id_,
            external_id=external_id,
            url=self.link(external_id),
            recorded_at=RECORDED_AT,
            currency=shown["currency"],
            amount_minor=shown["amount_minor"],
            accounts=tuple(shown["accounts"]),
            state=EntryState.POSTED if shown["posted"] else EntryState.DRAFT,
            found=found,
            posting_date=date.fromisoformat(shown["date"]),
            original_date=date.fromisoformat(shown["original"]),
            attached=frozenset(shown["files"]),
        )
