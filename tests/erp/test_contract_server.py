"""The contract: servers that are out of reach, stopped, killed and restarted, and logins that do not do."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import pytest

from blocks.erp.base import Erp
from blocks.erp.errors import (
    ConfigurationProblem,
    ErpConfigurationError,
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpUnavailable,
)
from tests.support.erp.contract.books import all_recorded, books_are_sound
from tests.support.erp.contract.harness import Credentials, Harness, How, Lever
from tests.support.erp.contract.runner import bring_to_an_end
from tests.support.erp.contract.site import Site, another
from tests.support.network.fault_proxy import Fault, proxying
from tests.support.processes import free_port

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

Call = Callable[[], Awaitable[object]]


async def _step_2(harness: Harness, how: How, *, dry_run: bool) -> ErpError:
    """The error that step 2 meets. Opening is no part of it: nobody is asked yet, so that the job can be ended."""
    erp = harness.connection(how)()
    await erp.open(harness.names.company_id, dry_run=dry_run)
    try:
        with pytest.raises(ErpError) as failed:
            await erp.validate()
    finally:
        await erp.close()
    _shows_no_secret(harness, erp, failed.value)
    assert len(str(failed.value).splitlines()) == 1
    return failed.value


def _shows_no_secret(harness: Harness, erp: Erp, error: ErpError) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(erp) + repr(vars(error))
    assert [secret for secret in harness.secrets if secret in shown] == []


@pytest.fixture(params=[False, True], ids=["real run", "dry run"])
def dry_run(request: pytest.FixtureRequest) -> bool:
    """A dry run meets what a real one would."""
    return bool(request.param)


async def test_wrong_credentials(shared_site: Site, dry_run: bool) -> None:
    shared_site.needs_capability("logs_in")
    error = await _step_2(shared_site.harness, How(credentials=Credentials.WRONG), dry_run=dry_run)
    assert isinstance(error, ErpLoginRefused | ErpConfigurationError)
    assert not isinstance(error, ErpConfigurationError) or error.problem is ConfigurationProblem.AUTHENTICATION


async def test_credentials_of_somebody_who_may_not_do_accounting(shared_site: Site, dry_run: bool) -> None:
    shared_site.needs_capability("logs_in")
    error = await _step_2(shared_site.harness, How(credentials=Credentials.POWERLESS), dry_run=dry_run)
    assert isinstance(error, ErpConfigurationError)
    assert error.problem is ConfigurationProblem.PERMISSION


async def test_a_server_that_nobody_reaches(shared_site: Site, dry_run: bool) -> None:
    shared_site.needs_capability("remote")
    how = How(address=f"http://127.0.0.1:{free_port()}")
    error = await _step_2(shared_site.harness, how, dry_run=dry_run)
    assert isinstance(error, ErpUnavailable | ErpConfigurationError)
    assert not isinstance(error, ErpConfigurationError) or error.problem is ConfigurationProblem.UNREACHABLE


async def test_without_a_login_there_are_no_credentials(shared_site: Site) -> None:
    if shared_site.limits.logs_in:
        pytest.skip(f"the {shared_site.limits.name} declares logs_in=True")
    for credentials in (Credentials.WRONG, Credentials.POWERLESS):
        with pytest.raises(NotImplementedError):
            shared_site.harness.connection(How(credentials=credentials))


async def test_without_a_server_there_is_no_address(shared_site: Site) -> None:
    if shared_site.limits.remote:
        pytest.skip(f"the {shared_site.limits.name} declares remote=True")
    for how in (How(address="http://127.0.0.1:1"), How(timeout_s=1.0)):
        with pytest.raises(NotImplementedError):
            shared_site.harness.connection(how)
    for lever in (shared_site.harness.stop, shared_site.harness.kill, shared_site.harness.start):
        with pytest.raises(NotImplementedError):
            lever()


async def test_a_login_that_is_revoked_in_mid_run(site: Site) -> None:
    site.needs_capability("logs_in")
    first, second = site.make.purchases(2)
    all_recorded(await site.record(first), [first])
    before = site.harness.footprint()
    site.harness.revoke()
    with pytest.raises(ErpLoginRefused) as refused:
        await site.erp.record([second])
    assert refused.value.outcomes == ()
    calls: list[Call] = [
        lambda: site.erp.find([first.accounting_entry_id]),
        lambda: site.erp.post([first.accounting_entry_id]),
        lambda: site.erp.attach(first.accounting_entry_id, [site.make.file()]),
    ]
    for call in calls:
        with pytest.raises(ErpLoginRefused) as refused:
            await call()
        _shows_no_secret(site.harness, site.erp, refused.value)
    assert site.harness.footprint() == before
    site.hold(first)


async def test_a_server_that_is_away_for_a_while(site: Site) -> None:
    site.needs_capability("remote")
    entries = site.make.purchases(2)
    site.harness.stop()
    calls: list[Call] = [
        lambda: site.erp.find([entries[0].accounting_entry_id]),
        lambda: site.erp.record(entries),
        site.erp.validate,
    ]
    for call in calls:
        with pytest.raises((ErpUnavailable, ErpOutcomeUnknown)):
            await call()
    site.harness.start()
    site.lack(*entries)
    all_recorded(await bring_to_an_end(site.erp, entries), entries, found=True)
    site.hold(*entries)


async def test_a_server_that_is_restarted_in_the_middle(site: Site) -> None:
    """In order or by a kill, before it acts or after."""
    site.needs_capability("remote")
    assert {Lever.STOP, Lever.KILL} <= site.harness.levers
    with proxying(site.harness.address) as proxy:
        async with another(site.harness, How(address=proxy.address)) as erp:
            for end in (site.harness.stop, site.harness.kill):
                for side in ("before", "after"):
                    entries = site.make.purchases(2)

                    def restart() -> None:
                        end()  # noqa: B023
                        site.harness.start()

                    fault = Fault(when=site.harness.may_change)
                    setattr(fault, side, restart)
                    proxy.clear()
                    proxy.add(fault)
                    try:
                        all_recorded(await erp.record(entries), entries)
                    except ErpUnavailable:
                        site.lack(*entries)
                    except ErpOutcomeUnknown:
                        books_are_sound(site.harness, entries)
                    assert fault.met == 1
                    all_recorded(await bring_to_an_end(erp, entries), entries, found=True)
                    site.hold(*entries)
        assert proxy.problems == []
