"""The bookkeeper's tool on the embedded ledger: what the books say, and the few things that a person does to them.

A module of this folder is a group of commands, and `GROUPS` names them all. Every command answers with tables; those
that change the books take the lock that a run takes, and do all that they do in one transaction.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from blocks.erp.errors import ErpBusy, ErpConfigurationError, ErpError
from blocks.erp.ledger.tool import batches, entries, open_items, tax, trial_balance, wallets
from blocks.erp.ledger.tool.command import REFUSED, USAGE, Answer, Command, UsageError
from blocks.erp.ledger.tool.tables import as_csv, as_json, as_text

GROUPS: Sequence[Sequence[Command]] = (
    trial_balance.COMMANDS,
    tax.COMMANDS,
    wallets.COMMANDS,
    open_items.COMMANDS,
    entries.COMMANDS,
    batches.COMMANDS,
)
"""The groups of commands, in the order in which `--help` lists them."""

_PROG = "python -m blocks.erp.ledger"
_DESCRIPTION = "The bookkeeper's tool on the embedded ledger."
_EPILOG = (
    "exit status: 0 done; 1 refused, each refusal is a line that says why; 2 wrong usage, or no such ledger; "
    "3 the statement that wallets was given differs from the books."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, and the status for wrong usage."""
        sys.stderr.write(f"{self.prog}: {message} (--help lists the options)\n")
        raise SystemExit(USAGE)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; returns its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    before = os.umask(0o077)  # what is written is for the owner alone, as in a run
    try:
        answer: Answer = options.command.run(options)
    except (ErpConfigurationError, UsageError) as error:
        return _refused(str(error), USAGE)
    except ErpBusy:
        return _refused(f"a run or another command is at work on {options.ledger}: try again when it is done", REFUSED)
    except ErpError as error:
        return _refused(str(error), REFUSED)
    finally:
        os.umask(before)
    return _told(answer, options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROG, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for command in (one for group in GROUPS for one in group):
        own = commands.add_parser(
            command.name, help=command.help, description=command.help, epilog=_EPILOG, allow_abbrev=False
        )
        own.set_defaults(command=command)
        command.arguments(own)
        own.add_argument(
            "--ledger", metavar="FILE", type=Path, default=Path("books.sqlite"), help="the books (books.sqlite)"
        )
        form = own.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true", help="CSV on standard output, UTF-8, formulas defused")
        form.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def _told(answer: Answer, options: argparse.Namespace) -> int:
    """Show an answer; its refusals, and what goes with a CSV table, are lines on standard error."""
    status = answer.status
    try:
        if options.json:
            sys.stdout.write(as_json(answer.tables, answer.notes))
        elif options.csv:
            sys.stdout.flush()
            sys.stdout.buffer.write(as_csv(answer.tables[0]))
            _to_standard_error(answer.notes)
        else:
            sys.stdout.write(as_text(answer.tables, answer.notes, _width()))
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):  # what could not be written goes nowhere, or the interpreter fails on it as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _to_standard_error(
                [f"the answer could not be written: {error.strerror}; what was done stands in the books"]
            )
        status = status or REFUSED
    _to_standard_error(answer.refusals)
    return status


def _width() -> int | None:
    """How many characters a line may have; None where nobody looks."""
    if not sys.stdout.isatty():
        return None
    with suppress(OSError):
        return os.get_terminal_size(sys.stdout.fileno()).columns
    return None


def _refused(line: str, status: int) -> int:
    _to_standard_error([line])
    return status


def _to_standard_error(lines: Sequence[str]) -> None:
    with suppress(OSError):  # there is nobody left to tell
        for line in lines:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
