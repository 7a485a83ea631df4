"""From a job that is made in the sandbox to a run that Prefect has: the sandbox's webhook, and who takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY, SANDBOX_COMPANY_ID, Sandbox, serve
from blocks.pleo.sandbox.webhooks import Delivery, Manner
from flows.outcome import OK
from flows.subscriptions import administer, parse
from tests.support.processes import PrefectServer, free_port, until
from tests.support.webhook import a_deployment, runs_of, webhook


class Wired:
    """A sandbox that delivers to a webhook, which starts runs of a deployment."""

    def __init__(self, sandbox: Sandbox, server: PrefectServer, deployment: str) -> None:
        self.sandbox = sandbox
        self._server = server
        self._deployment = deployment

    def settled(self, *states: str) -> list[Delivery]:
        """The messages, once they have these states."""
        until(
            lambda: [one.state for one in self.sandbox.webhooks.sent()] == list(states),
            within_s=30,
            otherwise=f"the deliveries did not become {states}",
        )
        return self.sandbox.webhooks.sent()

    def started(self) -> list[tuple[str, str]]:
        """Company and job of every run."""
        runs = [run["parameters"] for run in runs_of(self._server, self._deployment)]
        return sorted((run["company_id"], run["job_id"]) for run in runs)

    def became(self, *job_ids: str) -> None:
        """Each of these jobs has one run, and there is no other; a delivery may be answered before Prefect has it."""
        wanted = sorted((SANDBOX_COMPANY_ID, job_id) for job_id in job_ids)
        until(lambda: len(self.started()) >= len(wanted), within_s=30, otherwise="Prefect took no run")
        assert self.started() == wanted


@pytest.fixture
def wired(prefect_api: PrefectServer, tmp_path: Path) -> Iterator[Wired]:
    """Subscribed by the command for it; the webhook comes up after the first job was made."""
    port, file = free_port(), tmp_path / "secret"
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        environment = {"PLEO_API_KEY": SANDBOX_API_KEY, "PLEO_BASE_URL": url}
        subscribe = ["subscribe", f"http://127.0.0.1:{port}/pleo", "--secret-file", str(file)]
        assert asyncio.run(administer(parse(subscribe), environment)) == OK
        sandbox.webhooks.retry([0.2] * 150)
        sandbox.add_job(2)
        deployment = a_deployment(prefect_api)
        with webhook(deployment, {"PLEO_WEBHOOK_SECRET": file.read_text()}, port):
            yield Wired(sandbox, prefect_api, deployment)


def test_a_new_job_becomes_one_run_though_nobody_listened_at_first_and_what_is_not_pleos_becomes_none(
    wired: Wired,
) -> None:
    [first] = [job.id for job in wired.sandbox.jobs()]
    (message,) = wired.settled("delivered")
    assert message.attempts[0].status is None, "nobody listened yet"
    assert message.attempts[-1].status == 202
    wired.became(first)

    wrong = [Manner(signature="forged"), Manner(signature="altered"), Manner(signature="missing")]
    wrong += [Manner(age_s=301 + 10), Manner(age_s=-(301 + 10))]
    for manner in wrong:
        wired.sandbox.webhooks.deliver(wired.sandbox.job(first), manner)
    refused = wired.settled("delivered", *["given up"] * len(wrong))[1:]
    assert [[attempt.status for attempt in one.attempts] for one in refused] == [[401]] * len(wrong)
    assert wired.started() == [(SANDBOX_COMPANY_ID, first)]

    wired.sandbox.webhooks.forget()
    wired.sandbox.webhooks.retry([0.2] * 150)  # Prefect's database is busy now and then
    wired.sandbox.webhooks.order(Manner(held=True, copies=2, layout="payload"), 1)
    wired.sandbox.webhooks.order(Manner(copies=3, event_type="v2.export.job-created"), 1)
    later = [wired.sandbox.add_job(2, seed) for seed in (2, 3)]
    sent = wired.settled("delivered", "delivered")
    until(
        lambda: [sum(a.status == 202 for a in one.attempts) for one in wired.sandbox.webhooks.sent()] == [2, 3],
        within_s=30,
    )
    assert [one.job_id for one in sent] == later
    wired.became(first, *later)
