"""The control API: JSON calls under `/sandbox/` that do what `Control` does from Python, and pages for people."""

from __future__ import annotations

import secrets
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from blocks.pleo.sandbox import pages
from blocks.pleo.sandbox.authorization import SANDBOX_API_KEY
from blocks.pleo.sandbox.company import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.credentials import KINDS
from blocks.pleo.sandbox.errors import SandboxError
from blocks.pleo.sandbox.fault_api import FaultApi
from blocks.pleo.sandbox.fields import choice, is_form, read_fields, text, texts, whole
from blocks.pleo.sandbox.wire import Json, json_response

PAGE_ITEMS = 50


class ControlApi:
    """The handlers of everything that is not Pleo's API."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> list[Route]:
        """Where the handlers stand."""
        return [
            Route("/", self.page, methods=["GET"]),
            Route("/jobs/{job_id}", self.job_page, methods=["GET"]),
            Route("/sandbox/jobs", self.list_jobs, methods=["GET"]),
            Route("/sandbox/jobs", self.add_job, methods=["POST"]),
            Route("/sandbox/jobs/{job_id}", self.get_job, methods=["GET"]),
            Route("/sandbox/jobs/{job_id}/flags", self.set_flags, methods=["POST"]),
            Route("/sandbox/jobs/{job_id}/export-again", self.export_again, methods=["POST"]),
            Route("/sandbox/jobs/{job_id}/cancel", self.cancel, methods=["POST"]),
            Route("/sandbox/entries/{accounting_entry_id}", self.get_entry, methods=["GET"]),
            Route("/sandbox/entries/{accounting_entry_id}", self.edit_entry, methods=["PATCH"]),
            Route("/sandbox/credentials", self.list_credentials, methods=["GET"]),
            Route("/sandbox/credentials", self.add_credential, methods=["POST"]),
            Route("/sandbox/credentials/{secret:path}", self.remove_credential, methods=["DELETE"]),
            Route("/sandbox/received", self.received, methods=["GET"]),
            Route("/sandbox/received", self.forget, methods=["DELETE"]),
            *FaultApi(self._control).routes(),
        ]

    async def page(self, _request: Request) -> Response:
        """The control page: jobs, and what was received."""
        jobs = [(job, self._control.outcome(job.id)) for job in self._control.jobs()]
        return _html(pages.overview(jobs, self._control.received(), SANDBOX_API_KEY))

    async def job_page(self, request: Request) -> Response:
        """The items of one job, fifty a page."""
        job = self._control.job(request.path_params["job_id"])
        start = whole(request.query_params.get("start", "1"), "start")
        items = self._control.items(job.id, start=max(1, start), limit=PAGE_ITEMS)
        rows = [(item, self._expense(item.accounting_entry_id)) for item in items]
        return _html(pages.job(job, rows, max(1, start), PAGE_ITEMS))

    def _expense(self, accounting_entry_id: str) -> Json:
        """The export item, or nothing of one that somebody gave as a text which cannot be read."""
        try:
            return self._control.export_item(accounting_entry_id)
        except (ValueError, RecursionError):
            return {}

    async def list_jobs(self, _request: Request) -> Response:
        """Every job with its fields."""
        return json_response({"jobs": [asdict(job) for job in self._control.jobs()]})

    async def get_job(self, request: Request) -> Response:
        """One job with its items and how many are in which status."""
        job = self._control.job(request.path_params["job_id"])
        items = [asdict(item) for item in self._control.items(job.id)]
        return json_response({"job": asdict(job), "outcome": self._control.outcome(job.id), "items": items})

    async def add_job(self, request: Request) -> Response:
        """Make a job: `{items, seed, company_id, failing, vendor_based}`, all optional."""
        asked = await read_fields(request)
        known = {"items", "seed", "company_id", "failing", "vendor_based"}
        if set(asked) - known:
            raise SandboxError(f"a job is made of {', '.join(sorted(known))}, not {', '.join(set(asked) - known)}")
        failing = asked.get("failing", True)
        job_id = self._control.add_job(
            items=whole(asked.get("items", 100), "items"),
            seed=whole(asked.get("seed", 1), "seed"),
            company_id=asked.get("company_id"),
            failing=failing if isinstance(failing, bool) else whole(failing, "failing"),
            vendor_based=asked.get("vendor_based") in (True, "on", "true"),
        )
        return await _made(request, job_id)

    async def set_flags(self, request: Request) -> Response:
        """Set what a job meets: `{missing_contra_accounts: [currency], refuse: [{accounting_entry_id, times}]}`."""
        job_id, asked = request.path_params["job_id"], await read_fields(request)
        job = self._control.job(job_id)
        currencies = texts(asked.get("missing_contra_accounts"), "missing_contra_accounts")
        refusals = _refusals(asked.get("refuse", []))
        if currencies is not None:
            self._control.miss_contra_accounts(currencies, job_id=job.id)
        for accounting_entry_id, times in refusals:
            self._control.refuse_item(job.id, accounting_entry_id, times)
        return Response(status_code=204)

    async def export_again(self, request: Request) -> Response:
        """Press Export again for the entries of a job: `{accounting_entry_ids, changes}`, all as they are without it.

        `changes` has fields of export items by the entries' ids, as after Pleo has taken the export back.
        """
        asked = await read_fields(request)
        ids = texts(asked.get("accounting_entry_ids"), "accounting_entry_ids")
        changes = asked.get("changes", {})
        if not isinstance(changes, dict) or not all(isinstance(fields, dict) for fields in changes.values()):
            raise SandboxError("changes must be {accounting_entry_id: {field: value}}")
        job_id = request.path_params["job_id"]
        return await _made(request, self._control.export_again(job_id, ids, changes=changes))

    async def cancel(self, request: Request) -> Response:
        """The user takes the job back."""
        self._control.cancel(request.path_params["job_id"])
        return RedirectResponse("/", status_code=303) if await is_form(request) else Response(status_code=204)

    async def get_entry(self, request: Request) -> Response:
        """An export item as it is stored, and the jobs that have it."""
        return self._entry(request.path_params["accounting_entry_id"].lower())

    async def edit_entry(self, request: Request) -> Response:
        """Change fields of an export item: `{field: value}` with Pleo's names, each as a whole."""
        accounting_entry_id = request.path_params["accounting_entry_id"].lower()
        self._control.edit_export_item(accounting_entry_id, await read_fields(request))
        return self._entry(accounting_entry_id)

    def _entry(self, accounting_entry_id: str) -> Response:
        item = self._control.export_item(accounting_entry_id)
        held = [
            {"job_id": job.id, "job_status": job.status, "item": asdict(row)}
            for job, row in self._control.jobs_of(accounting_entry_id)
        ]
        return json_response({"export_item": item, "jobs": held})

    async def list_credentials(self, _request: Request) -> Response:
        """The keys and tokens that were added."""
        return json_response({"credentials": self._control.credentials.all()})

    async def add_credential(self, request: Request) -> Response:
        """Accept a key or token: `{secret, kind, companies, scopes}`, all optional; null is every company or scope."""
        asked = await read_fields(request, known=("secret", "kind", "companies", "scopes"))
        kind = choice(asked.get("kind", "key"), "kind", KINDS)
        secret = text(asked.get("secret", f"pls_{secrets.token_urlsafe(24)}"), "secret")
        companies = texts(asked.get("companies", [SANDBOX_COMPANY_ID]), "companies")
        scopes = texts(asked.get("scopes"), "scopes")
        self._control.add_credential(secret, companies, token=kind == "token", scopes=scopes)
        made = {"secret": secret, "kind": kind, "companies": companies, "scopes": scopes}
        return json_response(made, status=201)

    async def remove_credential(self, request: Request) -> Response:
        """Accept a key or token no longer."""
        self._control.credentials.remove(request.path_params["secret"])
        return Response(status_code=204)

    async def received(self, _request: Request) -> Response:
        """Counts, the last requests, the events."""
        return json_response(asdict(self._control.received()))

    async def forget(self, _request: Request) -> Response:
        """Start counting from nothing."""
        self._control.forget_requests()
        return Response(status_code=204)


def _html(text: str) -> Response:
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
    return HTMLResponse(text, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


async def _made(request: Request, job_id: str) -> Response:
    """The new job's id; a browser's form goes back to the page."""
    if await is_form(request):
        return RedirectResponse("/", status_code=303)
    return json_response({"job_id": job_id}, status=201)


def _refusals(value: object) -> list[tuple[str, int]]:
    refusals = []
    for refusal in value if isinstance(value, list) else [value]:
        if not isinstance(refusal, dict) or not isinstance(refusal.get("accounting_entry_id"), str):
            raise SandboxError("refuse must be a list of {accounting_entry_id, times}")
        refusals.append((refusal["accounting_entry_id"], whole(refusal.get("times", 1), "times")))
    return refusals
