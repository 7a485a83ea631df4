"""The accounting systems that must pass the contract: one line each."""

from __future__ import annotations

from importlib import import_module

from tests.support.erp.contract.harness import Harness

SUBSCRIBED = {
    "ledger": "tests.support.erp.ledger_harness:LedgerHarness",
    "remote": "tests.support.erp.served_ledger.harness:RemoteLedgerHarness",  # the ledger behind HTTP
    "acme": "tests.support.erp.acme.harness:AcmeHarness",  # the example of how to add one
    "tryton": "tests.support.erp.tryton.harness:TrytonHarness",
    "plain": "tests.support.erp.plain_ledger:PlainLedgerHarness",  # one that can do next to nothing
}

SUBSCRIBED_SLOWLY = {
    "tryton by key alone": "tests.support.erp.tryton.harness:TrytonKeyHarness",
    "tryton with our module": "tests.support.erp.tryton.harness:TrytonModuleHarness",
    "odoo": "tests.support.erp.odoo.harness:OdooHarness",
    "odoo by xml-rpc": "tests.support.erp.odoo.harness:OdooXmlHarness",
}
"""Those whose tests all take their time, and run with `-m slow` only."""

QUICK_TESTS = {
    "tryton": (
        "test_entries_are_recorded_with_their_files",
        "test_where_files_are_required_nothing_stands_of_an_entry_that_lacks_one[tryton-bill-vanished]",
        "test_documents_of_one_expense_are_one_entry_and_settle_each_other_once_they_are_posted[tryton-posted-kinds0]",
        "test_two_expenses_of_one_invoice_settle_each_other_whichever_comes_first[tryton-kinds1]",
        "test_a_bill_and_its_payment_in_another_currency_settle_each_other",
        "test_an_entry_is_recorded_and_found_as_it_was_given",
        "test_a_draft_of_an_earlier_run_is_posted_by_the_next",
        "test_the_reference_has_what_can_be_booked_with_and_nothing_else",
        "test_a_dry_run_sees_everything_and_writes_nothing",
        "test_bad_entries_spoil_no_good_ones_and_outcomes_keep_their_order",
        "test_a_closed_period_takes_nothing[tryton-journal entry]",
        "test_wrong_credentials",
        "test_looking_meets_trouble",
    )
}
"""A choice of the contract, by the test's name or by one case of it: what a real server is asked by every run of the
tests. All else that takes this server runs with `-m slow` only."""


SLOW_TESTS = {
    "acme": (
        "test_a_thousand_entries_of_which_three_are_bad",
        "test_a_run_may_be_killed_between_create_and_post",
        "test_a_run_may_be_killed_at_any_moment",
        "test_a_request_of_a_killed_run_may_be_carried_out_after_the_next_run",
    )
}
"""What runs with `-m slow` only though the rest of the ERP's contract is quick: another ERP shows it in every run."""


def harness_class(name: str) -> type[Harness]:
    """The harness of a subscribed ERP. It is imported only when its turn comes."""
    module, _, attribute = {**SUBSCRIBED, **SUBSCRIBED_SLOWLY}[name].partition(":")
    found: type[Harness] = getattr(import_module(module), attribute)
    return found
