"""The accounting systems that must pass the contract: one line each."""

from __future__ import annotations

from importlib import import_module

from tests.support.erp.contract_harness import Harness

SUBSCRIBED = {
    "ledger": "tests.support.erp.ledger_harness:LedgerHarness",
    "remote": "tests.support.erp.contract_remote_harness:RemoteLedgerHarness",  # the ledger behind HTTP
    "tryton": "tests.support.erp.tryton.harness:TrytonHarness",
    "plain": "tests.support.erp.contract_plain_harness:PlainLedgerHarness",  # one that can do next to nothing
}

SUBSCRIBED_SLOWLY = {
    "tryton by key alone": "tests.support.erp.tryton.harness:TrytonKeyHarness",
    "tryton with our module": "tests.support.erp.tryton.harness:TrytonModuleHarness",
}
"""Those whose tests all take their time, and run with `-m slow` only."""

SLOW_TESTS = {
    "tryton": (
        "test_a_thousand_entries_of_which_three_are_bad",
        "test_the_first_request_that_changes_something_meets_every_trouble",
        "test_recording_meets_trouble_at_any_request_that_changes_something",
        "test_finishing_what_stands_meets_trouble",
        "test_a_login_that_is_refused_in_the_middle",
        "test_a_run_may_be_killed_at_any_moment",
        "test_a_request_of_a_killed_run_may_be_carried_out_after_the_next_run",
        "test_a_run_that_stops_short_at_any_request_meets_one_that_does_not",
        "test_two_processes_record_each_id_once",
        "test_two_runs_take_turns",
        "test_an_answer_that_comes_too_late",
        "test_an_answer_that_nobody_waited_for_is_found_again",
        "test_a_server_that_asks_for_fewer_calls",
    )
}
"""Tests that take a real server many seconds each: there they run with `-m slow` only."""


def harness_class(name: str) -> type[Harness]:
    """The harness of a subscribed ERP. It is imported only when its turn comes."""
    module, _, attribute = {**SUBSCRIBED, **SUBSCRIBED_SLOWLY}[name].partition(":")
    found: type[Harness] = getattr(import_module(module), attribute)
    return found
