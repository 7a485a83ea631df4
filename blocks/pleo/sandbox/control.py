"""All that is asked of a sandbox from Python: to make jobs, to show what became of them, to let things go wrong.

`control_api` offers much of it over HTTP. Handlers have a `Control` at hand for the state, the clock and the limits.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from blocks.pleo.sandbox import jobs, models, oauth
from blocks.pleo.sandbox.company import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.credentials import SCOPES, Credentials
from blocks.pleo.sandbox.errors import NotInSandbox, NotNow, SandboxError
from blocks.pleo.sandbox.items import Entry, entry_of, generate
from blocks.pleo.sandbox.models import Item, Job
from blocks.pleo.sandbox.oauth import AuthorizationServer, ClientAuth, OAuthGrant, TokenPair
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.templates import MIN_SHOWCASE, default_failing, job_templates, showcase_templates
from blocks.pleo.sandbox.traffic import Fault, FaultKind, Faults, Received, RequestLog
from blocks.pleo.sandbox.webhooks import Webhooks
from blocks.pleo.sandbox.wire import Json, draw_uuid, dumps, is_uuid


class Control:
    """A state, and what can be asked of it.

    `state` is the file to keep it in, None for a temporary one. `page_cap` is the largest page that lists serve,
    `clock` answers seconds since 1970 and rules expiry, links and the rate limit, `expires_in` is how many seconds
    jobs made from now on live after their last update. `strict` refuses what may be a client's mistake (see
    `blocks.pleo.sandbox.strict`), `null_until_tried` shows null for the status of an item that was not updated yet, as
    an earlier definition of Pleo's has it. Raises `SandboxError` when the file cannot be used.
    """

    def __init__(
        self,
        state: Path | None = None,
        *,
        rate_limit: bool = True,
        page_cap: int = 100,
        clock: Callable[[], float] = time.time,
        expires_in: int = 3600,
        strict: bool = False,
        null_until_tried: bool = False,
    ) -> None:
        if page_cap < 1:
            raise SandboxError(f"a page cannot have {page_cap} items at most: use 1 or more")
        if expires_in < 1:
            raise SandboxError(f"a job cannot live for {expires_in} seconds: use 1 or more")
        self.store = Store(state)
        self.clock = clock
        self.page_cap = page_cap
        self.expires_in = expires_in
        self.rate_limit = rate_limit
        self.strict = strict
        self.null_until_tried = null_until_tried
        self.log = RequestLog()
        self.faults = Faults()
        self.credentials = Credentials(self.store)
        self.oauth = AuthorizationServer(self.store)
        self.webhooks = Webhooks(self.store, lambda: self.clock())
        jobs.ensure_company(self.store, SANDBOX_COMPANY_ID)
        self.add_oauth_client(oauth.SANDBOX_CLIENT_ID, oauth.SANDBOX_CLIENT_SECRET)

    def close(self) -> None:
        """Release the state; nothing more is delivered."""
        self.webhooks.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_job(
        self,
        items: int = 100,
        seed: int = 1,
        company_id: str | None = None,
        failing: bool | int = True,
        *,
        vendor_based: bool = False,
        showcase: bool = False,
    ) -> str:
        """Make a pending job of new expenses and answer its id.

        The same seed gives the same job; a second job of a seed in the same company gets other expenses. `failing`
        is how many items cannot be booked, True for 6 of 80 up to 7, each for another reason. A `showcase` has each
        of `templates.SHOWCASE_DEFECTS` once, whatever `failing` and `vendor_based` say, and 120 items or more.
        """
        company, origin = _company(company_id), f"{_company(company_id)}/{seed}"
        if showcase:
            if items < MIN_SHOWCASE:
                raise SandboxError(f"a showcase cannot have {items} items: use {MIN_SHOWCASE} or more")
            origin, templates, vendor_based = f"{origin}/showcase", partial(showcase_templates, items=items), True
        else:
            count = int(failing) if failing is not True else default_failing(items)
            if items < 0:
                raise SandboxError(f"a job cannot have {items} items")
            if not 0 <= count <= items:
                raise SandboxError(f"{count} of {items} items cannot fail")
            templates = partial(job_templates, items=items, failing=count)
        with self.store.transaction():
            before = self.store.number("SELECT count(*) FROM jobs WHERE origin = ?", (origin,))
            rng = random.Random(f"{origin}/{before}")  # noqa: S311 - must repeat
            job_id = draw_uuid(rng)
            return self._new_job(job_id, company, origin, vendor_based, generate(rng, company, templates))

    def add_job_of(
        self, items: Sequence[Json | str], company_id: str | None = None, *, vendor_based: bool = False
    ) -> str:
        """Make a pending job of these export items and answer its id.

        An item is the JSON object as Pleo would send it, or that object as text, which then goes out as it stands,
        be it legal or not. A text must have an `accountingEntryId`.
        """
        entries = [_raw_entry(item) if isinstance(item, str) else entry_of(item) for item in items]
        rng = random.SystemRandom()
        return self._new_job(draw_uuid(rng), _company(company_id), "given", vendor_based, entries)

    def export_again(
        self,
        job_id: str,
        accounting_entry_ids: Sequence[str] | None = None,
        *,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        even_locked: bool = False,
    ) -> str:
        """Press Export once more for the entries of a job, all or these: a new pending job, whose id is answered.

        `changes` has fields of entries that were changed meanwhile, by their ids, as after Pleo has taken an export
        back. `even_locked`: also such as a job has that is not over, which users cannot do.
        """
        job = self._row(job_id)
        if accounting_entry_ids is None:
            ids = [item.accounting_entry_id for item in self.items(job_id)]
        else:
            ids = list(dict.fromkeys(accounting_entry_ids))
        for entry_id in ids:
            if self.store.row("SELECT 1 FROM entries WHERE accounting_entry_id = ?", (entry_id,)) is None:
                raise NotInSandbox(f"there is no accounting entry {entry_id}")
        rng = random.Random(f"{job_id} again")  # noqa: S311 - must repeat
        new_id = draw_uuid(rng)
        while jobs.find_job(self.store, new_id) is not None:
            new_id = draw_uuid(rng)
        with self.store.transaction():
            if not even_locked:
                self._refuse_locked(ids)
            for entry_id, fields in (changes or {}).items():
                self.edit_export_item(entry_id, fields, even_locked=even_locked)
            self._add_job(new_id, job["company_id"], ids, "again", bool(job["vendor_based"]))
        self.webhooks.announce(self.job(new_id))
        return new_id

    def cancel(self, job_id: str) -> None:
        """The user takes a job back: it ends as `failed` with `canceled_by_user`. Raises `NotNow` once it is over."""
        jobs.cancel(self.store, self._row(job_id), self.clock())

    def jobs(self) -> list[Job]:
        """Every job, the oldest first."""
        jobs.expire(self.store, self.clock())
        return jobs.all_jobs(self.store)

    def job(self, job_id: str) -> Job:
        """One job. Raises `SandboxError` when there is none of this id."""
        return Job.of(self._row(job_id))

    def items(self, job_id: str, *, start: int = 1, limit: int = -1) -> list[Item]:
        """The items of a job in its order, from a position on, all of them without a limit."""
        rows = self.store.rows(
            "SELECT * FROM job_items WHERE job = ? AND position >= ? ORDER BY position LIMIT ?",
            (self._row(job_id)["job"], start, limit),
        )
        return [Item.of(row) for row in rows]

    def outcome(self, job_id: str) -> dict[str, int]:
        """How many items of a job are in which status."""
        rows = self.store.rows(
            "SELECT status, count(*) AS items FROM job_items WHERE job = ? GROUP BY status", (self._row(job_id)["job"],)
        )
        return {row["status"]: row["items"] for row in rows}

    def export_item(self, accounting_entry_id: str) -> Json:
        """An export item as it is stored, with `bookkeeping` and `vendor`; its files have names instead of links."""
        row = self.store.row(
            "SELECT body || vendor_tail AS item FROM entries WHERE accounting_entry_id = ?", (accounting_entry_id,)
        )
        if row is None:
            raise NotInSandbox(f"there is no accounting entry {accounting_entry_id}")
        item: Json = json.loads(row["item"])
        return item

    def jobs_of(self, accounting_entry_id: str) -> list[tuple[Job, Item]]:
        """The jobs that have an entry, the oldest first, each with its item of it."""
        jobs.expire(self.store, self.clock())
        rows = self.store.rows(
            "SELECT i.*, j.id FROM job_items i JOIN jobs j USING (job) WHERE i.accounting_entry_id = ?"
            " ORDER BY j.created_at, job",
            (accounting_entry_id,),
        )
        return [(self.job(row["id"]), Item.of(row)) for row in rows]

    def edit_export_item(
        self, accounting_entry_id: str, changes: Mapping[str, Any], *, even_locked: bool = False
    ) -> None:
        """Change fields of an export item, as a bookkeeper does before exporting it again.

        `even_locked`: also while a job has it that is not over, which users cannot do.
        """
        item = self.export_item(accounting_entry_id)
        if changes.get("accountingEntryId", accounting_entry_id) != accounting_entry_id:
            raise SandboxError("an accounting entry keeps its id: change another field")
        if not even_locked:
            self._refuse_locked([accounting_entry_id])
        entry = entry_of({**item, **changes})
        with self.store.transaction() as connection:
            connection.execute(
                "UPDATE entries SET body = ?, plain_tail = ?, vendor_tail = ? WHERE accounting_entry_id = ?",
                (entry.body, entry.plain_tail, entry.vendor_tail, accounting_entry_id),
            )

    def received(self) -> Received:
        """What came in so far: counts, the last requests, all events."""
        return self.log.received(jobs.all_events(self.store))

    def forget_requests(self) -> None:
        """Start counting requests from nothing; events stay."""
        self.log.forget()

    def miss_contra_accounts(
        self, currencies: Sequence[str], *, job_id: str | None = None, company_id: str | None = None
    ) -> None:
        """Have Pleo answer MISSING_CONTRA_ACCOUNTS for a job, or without one for a company; no currencies: no more."""
        with self.store.transaction() as connection:
            if job_id is not None:
                row = self._row(job_id)
                connection.execute(
                    "UPDATE jobs SET missing_contra = ? WHERE job = ?", (dumps(list(currencies)), row["job"])
                )
                return
            company = _company(company_id)
            jobs.ensure_company(self.store, company)
            connection.execute(
                "UPDATE companies SET missing_contra = ? WHERE id = ?", (dumps(list(currencies)), company)
            )

    def refuse_item(
        self,
        job_id: str,
        accounting_entry_id: str,
        times: int = 1,
        *,
        error_type: str = models.UPDATE_FAILED,
        applied: bool = False,
    ) -> None:
        """Answer the next updates of an item with an error in `errors[]`; `applied`: carry them out all the same."""
        if error_type not in models.UPDATE_ERROR_TYPES:
            known = ", ".join(models.UPDATE_ERROR_TYPES)
            raise SandboxError(f"{error_type} is not an error of an item update: {known}")
        jobs.refuse_updates(self.store, self._row(job_id)["job"], accounting_entry_id, times, error_type, applied)

    def add_credential(
        self,
        secret: str,
        companies: Sequence[str] | None,
        *,
        token: bool = False,
        scopes: Sequence[str] | None = None,
    ) -> None:
        """Accept another API key, or access token, for these companies and scopes alone; None is all of them."""
        seen = None if companies is None else [_company(company) for company in companies]
        for company in seen or ():
            jobs.ensure_company(self.store, company)
        self.credentials.add("token" if token else "key", secret, seen, scopes)

    def add_oauth_client(
        self,
        client_id: str,
        secret: str | None = None,
        *,
        client_auth: ClientAuth = "either",
        redirect_uris: Sequence[str] = (oauth.SANDBOX_REDIRECT_URI,),
        companies: Sequence[str] = (SANDBOX_COMPANY_ID,),
        access_life_s: float = oauth.ACCESS_LIFE_S,
        refresh_life_s: float = oauth.REFRESH_LIFE_S,
    ) -> None:
        """Know an OAuth client, which users may allow to see these companies; without a secret it is a public one."""
        for company in companies:
            jobs.ensure_company(self.store, _company(company))
        self.oauth.add_client(
            client_id,
            secret,
            client_auth=client_auth,
            redirect_uris=redirect_uris,
            companies=[_company(company) for company in companies],
            access_life_s=access_life_s,
            refresh_life_s=refresh_life_s,
        )

    def grant_access(self, client_id: str = oauth.SANDBOX_CLIENT_ID, scopes: Sequence[str] = SCOPES) -> TokenPair:
        """Tokens for an OAuth client, as if a user had just pressed Allow."""
        self.oauth.require_client(client_id)
        if strange := sorted(set(scopes) - set(SCOPES)):
            raise SandboxError(f"scopes can be {', '.join(SCOPES)}, not {', '.join(strange)}")
        return self.oauth.grant(client_id, scopes, self.clock())

    def oauth_grants(self) -> list[OAuthGrant]:
        """What users allowed OAuth clients so far, the oldest first."""
        return self.oauth.grants()

    def expire_access_tokens(self, client_id: str | None = None, *, refresh_tokens: bool = False) -> None:
        """Let every access token of OAuth be over now, or those of one client; with `refresh_tokens` these too."""
        if client_id is not None:
            self.oauth.require_client(client_id)
        self.oauth.expire(client_id, ("access", "refresh") if refresh_tokens else ("access",))

    def revoke_access(self, client_id: str = oauth.SANDBOX_CLIENT_ID) -> None:
        """Take back what users allowed an OAuth client, as an administrator does in Pleo."""
        self.oauth.require_client(client_id)
        self.oauth.revoke(client_id)

    def inject(
        self,
        kind: FaultKind,
        call: str = "*",
        *,
        times: int = 1,
        skip: int = 0,
        status: int = 503,
        retry_after: str | None = None,
    ) -> None:
        """Have requests go wrong: the next `times` of this `call`, after letting `skip` of them pass.

        `call` is a method and a path, with the contract's name for an id or the id itself:
        `PUT /v3/export-jobs/{jobId}/items`. A `*` stands for anything: `GET *`, `* /v1/*`. The kinds are told in
        `blocks.pleo.sandbox.traffic.FaultKind`. Raises `SandboxError` for what no request can meet.
        """
        self.faults.add(Fault(call, kind, status, retry_after, times, skip))

    def clear_faults(self) -> None:
        """Forget the faults that have not happened yet."""
        self.faults.clear()

    def _new_job(self, job_id: str, company_id: str, origin: str, vendor_based: bool, entries: Iterable[Entry]) -> str:
        with self.store.transaction():
            jobs.ensure_company(self.store, company_id)
            ids = jobs.add_entries(self.store, company_id, entries)
            self._add_job(job_id, company_id, ids, origin, vendor_based)
        self.webhooks.announce(self.job(job_id))
        return job_id

    def _add_job(self, job_id: str, company_id: str, ids: Sequence[str], origin: str, vendor_based: bool) -> None:
        now, life_s = self.clock(), self.expires_in
        jobs.add_job(
            self.store, job_id, company_id, ids, now, origin=origin, expires_in=life_s, vendor_based=vendor_based
        )

    def _refuse_locked(self, accounting_entry_ids: Sequence[str]) -> None:
        jobs.expire(self.store, self.clock())
        if (held := jobs.locked(self.store, accounting_entry_ids)) is not None:
            raise NotNow(f"accounting entry {held[0]} is locked by export job {held[1]}, which is not over")

    def _row(self, job_id: str) -> sqlite3.Row:
        jobs.expire(self.store, self.clock())
        row = jobs.find_job(self.store, job_id)
        if row is None:
            raise NotInSandbox(f"there is no export job {job_id}")
        return row


def _company(company_id: str | None) -> str:
    if company_id is None:
        return SANDBOX_COMPANY_ID
    if not is_uuid(company_id):
        raise SandboxError(f"{company_id} is not a company's id: use a UUID")
    return company_id.lower()


def _raw_entry(text: str) -> Entry:
    bare = text.strip()
    return Entry(str(json.loads(bare)["accountingEntryId"]).lower(), bare[:-1], "}", "}")
