"""Saves the two blocks that the deployment names: `pleo-credentials/pleo` and `ledger/books`.

    python deployments/save_blocks.py [LEDGER]

The credentials are read from the environment, PLEO_API_KEY or PLEO_ACCESS_TOKEN and PLEO_BASE_URL, so that no key
stands on a command line. They replace those saved before. LEDGER is the file of the embedded ledger, books.sqlite
without it; settings of a ledger that are saved already stay as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import get_client
from prefect.exceptions import ObjectAlreadyExists

from blocks.collection import LedgerSettings
from blocks.pleo.credentials import credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError


def save(ledger: Path) -> None:
    """Save both blocks, the ledger's with its full path. Raises PleoConfigurationError without usable credentials."""
    credentials = credentials_from_environment(os.environ)
    credentials.save("pleo", overwrite=True)
    print(f"saved pleo-credentials/pleo for {credentials.base_url}")
    try:
        LedgerSettings(path=str(ledger.absolute())).save("books")
    except ValueError as error:
        if not isinstance(error.__cause__, ObjectAlreadyExists):
            raise
        print("kept  ledger/books, which was there already")
    else:
        print(f"saved ledger/books, with its books in {ledger.absolute()}")


def main(arguments: Sequence[str]) -> None:
    """The command line. Ends with one line where the environment or the server is not ready."""
    with get_client(sync_client=True) as server:
        problem = server.api_healthcheck()
        if problem is not None:
            sys.exit(f"save_blocks: no Prefect server answers at {server.api_url}: start it, or set PREFECT_API_URL")
    try:
        save(Path(arguments[0] if arguments else "books.sqlite"))
    except PleoConfigurationError as error:
        sys.exit(f"save_blocks: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
