"""An ERP over HTTP: the embedded ledger in a server of its own, and the adapter to it.

It lets the suite's remote half be tried without anybody else's server. It records as servers do, in several requests:
drafts are made, then posted, then read back.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import httpx

from blocks.erp.base import Capabilities, Outcome, Writers
from blocks.erp.entries import Answer, Attachment, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import (
    ConfigurationProblem,
    ErpConfigurationError,
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
    Refused,
)
from blocks.erp.ledger.chart_store import Terms, reference_of
from blocks.erp.ledger.checks import check_against
from blocks.erp.ledger.schema import MAX_AMOUNT_MINOR
from blocks.erp.precedents import Precedents
from blocks.erp.reference import Reference
from tests.support.erp.contract.limits import taken_files, within_limits

CHANGING = ("record", "attach", "post", "replace", "reverse", "note_answers")
"""The calls that may change something."""


class RemoteLedger:
    """Entries in the ledger at `base_url`, whose user shows `key`."""

    def __init__(
        self, base_url: str, key: str, *, timeout_s: float = 20.0, max_attachment_bytes: int = 2_000_000
    ) -> None:
        self._base_url = base_url
        self._key = key
        self._timeout_s = timeout_s
        self._max_attachment_bytes = max_attachment_bytes
        self._http: httpx.AsyncClient | None = None
        self._company_id = ""
        self._dry_run = False
        self._reference = Reference()

    def describe(self) -> Capabilities:
        """Its limits are the ledger's, but for files."""
        return Capabilities(
            name="ledger behind HTTP",
            max_entries=200,
            max_description=500,
            max_reference=200,
            max_amount_minor=MAX_AMOUNT_MINOR,
            bills=True,
            tells_precedents=True,
            replaces=True,
            reverses=True,
            max_attachment_bytes=self._max_attachment_bytes,
            remote=True,
            logs_in=True,
            writers=Writers.ANY,
        )

    def company(self) -> str | None:
        """Nobody's: the server knows."""
        return None

    async def open(self, company_id: str, *, dry_run: bool) -> None:
        """Ask for nothing yet."""
        self._company_id, self._dry_run = company_id, dry_run
        self._http = httpx.AsyncClient(
            base_url=self._base_url,
            headers={"authorization": f"Bearer {self._key}"},
            timeout=self._timeout_s,
            trust_env=False,
            verify=False,
        )

    async def validate(self) -> None:
        """Ask whether we may."""
        await self._call("validate")

    async def load_reference(self) -> Reference:
        """The charts of the ledger."""
        terms: Terms = await self._call("terms")
        self._reference = reference_of(terms)
        return self._reference

    def check(self, entry: Entry) -> Refused | None:
        """As the ledger does."""
        return check_against(entry, self._company_id, self._reference)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand."""
        found: dict[str, Recorded] = await self._call("find", list(accounting_entry_ids))
        return {id_: replace(one, url=self.link(one.external_id)) for id_, one in found.items()}

    async def precedents(self, entries: Sequence[Entry]) -> Precedents:
        """What the ledger tells."""
        told: Precedents = await self._call("precedents", list(entries))
        return told

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Make drafts, post those that are to be posted, and read them back."""
        self._refuse_in_dry_run()
        fitting = [within_limits(entry, self.describe()) for entry in entries]
        drafts = [replace(one[0], state=EntryState.DRAFT) for one in fitting if not isinstance(one, Refused)]
        made: list[Outcome] = await self._call("record", drafts) if drafts else []
        wanted = {entry.accounting_entry_id for entry in entries if entry.state is EntryState.POSTED}
        new = [one.accounting_entry_id for one in made if isinstance(one, Recorded) and not one.found]
        try:
            unposted = await self.post([id_ for id_ in new if id_ in wanted])
            stands = await self.find([one.accounting_entry_id for one in made])
        except ErpUnavailable as error:
            if isinstance(error, ErpRateLimited):
                raise
            raise ErpOutcomeUnknown(f"drafts were made, but then: {error}") from None
        refused = {one.accounting_entry_id: one for one in unposted}
        outcomes = iter(made)
        result: list[Outcome] = []
        for one in fitting:
            outcome = one if isinstance(one, Refused) else next(outcomes)
            if isinstance(outcome, Recorded) and not isinstance(one, Refused):
                missing = () if outcome.found else (*one[1], *outcome.not_attached)
                now = replace(stands[outcome.accounting_entry_id], found=outcome.found, not_attached=missing)
                result.append(refused.get(outcome.accounting_entry_id) or now)
            else:
                result.append(outcome)
        return result

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach what the limits allow."""
        self._refuse_in_dry_run()
        taken, refused = taken_files(attachments, self.describe())
        return [*refused, *(await self._call("attach", accounting_entry_id, taken))]

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        """Post drafts."""
        self._refuse_in_dry_run()
        refused: list[Refused] = await self._call("post", list(accounting_entry_ids)) if accounting_entry_ids else []
        return refused

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Replace drafts."""
        self._refuse_in_dry_run()
        told: list[Outcome] = await self._call("replace", list(entries)) if entries else []
        return [replace(one, url=self.link(one.external_id)) if isinstance(one, Recorded) else one for one in told]

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """Reverse posted entries."""
        self._refuse_in_dry_run()
        refused: list[Refused] = await self._call("reverse", list(entries), day) if entries else []
        return refused

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """Have the ledger keep them."""
        await self._call("note_answers", list(answers))

    def link(self, external_id: str) -> str:
        """No page is there, but a server could have one."""
        return f"{self._base_url}/entries/{external_id}"

    async def finish_job(self) -> Sequence[str]:
        """Nothing is derived here."""
        return ()

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    def _refuse_in_dry_run(self) -> None:
        if self._dry_run:
            raise RuntimeError("nothing is recorded in a dry run")

    async def _call(self, name: str, *arguments: Any) -> Any:
        assert self._http is not None, "it is not open"
        try:
            answer = await self._http.post(f"/{name}", content=pickle.dumps(arguments))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise ErpUnavailable("the server does not answer") from None
        except httpx.HTTPError as error:
            raise self._in_doubt(name, type(error).__name__) from None
        match answer.status_code:
            case 200:
                pass
            case 401:
                raise ErpLoginRefused("the server refused the key: give another one in the settings")
            case 403:
                raise ErpConfigurationError(
                    "the user of this key may not do accounting: give it the right", ConfigurationProblem.PERMISSION
                )
            case 429:
                pause = answer.headers.get("retry-after", "")
                raise ErpRateLimited("the server asks for a pause", float(pause) if pause.isdigit() else None)
            case status:
                raise self._in_doubt(name, f"HTTP {status}")
        try:
            ok, value = pickle.loads(answer.content)
        except Exception as error:
            raise self._in_doubt(name, f"an answer that cannot be read ({type(error).__name__})") from None
        if not ok:
            raise value
        return value

    @staticmethod
    def _in_doubt(name: str, why: str) -> ErpError:
        return ErpOutcomeUnknown(why) if name in CHANGING else ErpUnavailable(why)
