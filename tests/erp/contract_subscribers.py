"""The accounting systems that must pass the contract: one line each."""

from __future__ import annotations

from importlib import import_module

from contract_harness import Harness

SUBSCRIBED = {
    "ledger": "ledger_harness:LedgerHarness",
    "remote": "contract_remote_harness:RemoteLedgerHarness",  # the ledger behind HTTP
    "tryton": "tryton_harness:TrytonHarness",
    "plain": "contract_plain_harness:PlainLedgerHarness",  # one that can do next to nothing
}

SUBSCRIBED_SLOWLY = {
    "tryton by key alone": "tryton_harness:TrytonKeyHarness",
    "tryton with our module": "tryton_harness:TrytonModuleHarness",
}
"""Those whose tests all take their time, and run with `-m slow` only."""


def harness_class(name: str) -> type[Harness]:
    """The harness of a subscribed ERP. It is imported only when its turn comes."""
    module, _, attribute = {**SUBSCRIBED, **SUBSCRIBED_SLOWLY}[name].partition(":")
    found: type[Harness] = getattr(import_module(module), attribute)
    return found
