"""The console script `pleo-export`: every command of this project by its name, from any folder.

`python -m flows.export` and the others stay, and are the same; but Python looks for them in the current folder first,
where a package of somebody else's may be called `flows`, too. What a command needs is imported when it is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

from blocks import ground
from flows.stop import listen_before_the_run

USAGE = 2


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: its module, whose `main` takes the arguments, and what it is for. With `server` it needs a Prefect
    server, its own if need be; with `prefect` alone one that is named."""

    module: str
    purpose: str
    prefect: bool = True
    server: bool = True


_COMMANDS = {
    "export": _Command("flows.export", "book every waiting expense once, and tell Pleo what became of it"),
    "ledger": _Command("blocks.erp.ledger.__main__", "the bookkeeper's tool on the embedded ledger", prefect=False),
    "authorize": _Command("blocks.pleo.authorize", "connect to Pleo by OAuth, and save the access as a block"),
    "webhook": _Command("flows.webhook", "receive Pleo's webhook, and start the deployment for it", server=False),
    "sandbox": _Command("blocks.pleo.sandbox.__main__", "a Pleo on this machine, to try things with", prefect=False),
    "save-blocks": _Command("deployments.save_blocks", "save the blocks that the deployment names"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"-h", "--help"}:
        print(_help())
        return 0 if given else USAGE
    name, *rest = given
    if name == "--version":
        print(version("pleo-export"))
        return 0
    command = _COMMANDS.get(name)
    if command is None:
        sys.stderr.write(f"pleo-export: there is no command {name[:40]!r}, but {', '.join(_COMMANDS)}\n")
        return USAGE
    if name == "export":
        listen_before_the_run()
    if command.prefect:
        ground.prepare(server=command.server)
    done: Any = import_module(command.module).main(rest)
    return int(done or 0)


def _help() -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:<{width}}  {command.purpose}" for name, command in _COMMANDS.items()]
    return "\n".join(["usage: pleo-export COMMAND …", "", *lines, "", "pleo-export COMMAND --help says more of one."])
