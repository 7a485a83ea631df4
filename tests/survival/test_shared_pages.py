"""Pages that runs on one machine share: what another run has deleted meanwhile is fetched again, or not missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.network.fault_proxy import Fault, Gate, proxying
from tests.support.pleo.pleo_items import an_item
from tests.support.pleo.watched_pleo import Watched
from tests.support.processes import PrefectServer
from tests.survival.rivals import WITHIN_S, rivals, save_small_erp_block

ITEMS = 450


@pytest.mark.slow
@pytest.mark.parametrize("booked", [0, 50, 120, 399])
def test_a_run_whose_pages_another_run_has_deleted_with_the_end_of_the_job_ends_with_success_too(
    pleo: Watched, prefect_server: PrefectServer, erp: SmallErpServer, tmp_path: Path, booked: int
) -> None:
    save_small_erp_block(prefect_server)
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    with proxying(erp.base_url) as way, rivals(pleo, prefect_server, tmp_path, erp) as at_once:
        at_once.environment["SMALL_ERP_URL"] = way.address
        way.add(Fault(path="/create", skip=booked, after=gate))
        slower = at_once.start_remote()
        assert gate.reached(WITHIN_S)
        slower.stop()
        assert 1 <= _pages(tmp_path) <= 5  # as far as it had come
        at_once.environment["SMALL_ERP_URL"] = erp.base_url
        faster = at_once.start_remote().ended()
        assert _pages(tmp_path) == 0
        gate.open()
        slower.wake()
        ended = slower.ended()
    assert (faster.status, faster.job["event"]) == (0, "completed")
    assert (ended.status, ended.job["event"]) == (0, None)
    assert "it is completed in Pleo" in ended.said
    assert pleo.sandbox.outcome(job_id) == {"successful": ITEMS}
    assert len(erp.entries) == ITEMS
    assert _pages(tmp_path) == 0


def _pages(folder: Path) -> int:
    return sum(path.is_file() for path in (folder / "prefect").rglob("pleo-export-pages/*/*"))
