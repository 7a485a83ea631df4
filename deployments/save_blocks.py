"""Saves the blocks that the deployment names: the credentials for Pleo, and the settings of an accounting system.

    python deployments/save_blocks.py [LEDGER]
    python deployments/save_blocks.py pleo NAME
    python deployments/save_blocks.py ledger NAME LEDGER [--settings FILE]
    python deployments/save_blocks.py tryton NAME [--settings FILE]
    python deployments/save_blocks.py odoo NAME [--settings FILE]

The first saves `pleo-credentials/pleo` and `ledger/books`. The credentials are read from the environment, PLEO_API_KEY
or PLEO_ACCESS_TOKEN and PLEO_BASE_URL, so that no key stands on a command line. They replace those saved before. LEDGER
is the file of the embedded ledger, books.sqlite without it; settings of a ledger that are saved already stay as they
are.

The second and the third save `pleo-credentials/NAME`, from the same variables, and `ledger/NAME`: as many as there are.
With {company} in LEDGER's name there is a file for each company. FILE has the ledger's other settings, in TOML or YAML;
without it those that are saved already stay as they are.

The fourth saves `tryton/NAME`. Where Tryton is and how it is entered is read from the environment: TRYTON_URL,
TRYTON_DATABASE and TRYTON_KEY, perhaps TRYTON_USER and TRYTON_PASSWORD, and TRYTON_COMPANY. It replaces what was saved
before. FILE has the other settings, in TOML or YAML; without it those that are saved already stay as they are.

The last does the same for `odoo/NAME`, from ODOO_URL, ODOO_DATABASE and ODOO_KEY, perhaps ODOO_USER and ODOO_COMPANY.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from blocks import ground

if __name__ == "__main__":
    ground.prepare()

from prefect import get_client
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.logging.configuration import setup_logging

from blocks.collection import LedgerSettings, OdooSettings, TrytonSettings
from blocks.erp.block import ErpBlock
from blocks.pleo.credentials import credentials_from_environment
from blocks.pleo.errors import PleoConfigurationError
from flows.settings import SettingsError, checked_settings, read_settings, read_settings_of


class System(NamedTuple):
    """A system that is reached over the network: its block, and the variables of the environment that its address and
    keys come from, which no file has, and the company, which one may."""

    name: str
    settings: type[TrytonSettings] | type[OdooSettings]
    connection: Mapping[str, str]
    company: str


SYSTEMS = {
    "tryton": System(
        "Tryton",
        TrytonSettings,
        {
            "base_url": "TRYTON_URL",
            "database": "TRYTON_DATABASE",
            "application_key": "TRYTON_KEY",
            "user": "TRYTON_USER",
            "password": "TRYTON_PASSWORD",
        },
        "TRYTON_COMPANY",
    ),
    "odoo": System(
        "Odoo",
        OdooSettings,
        {"base_url": "ODOO_URL", "database": "ODOO_DATABASE", "api_key": "ODOO_KEY", "user": "ODOO_USER"},
        "ODOO_COMPANY",
    ),
}

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"save_blocks: {message} (--help tells the usage)\n")


def save(ledger: Path) -> None:
    """Save both blocks, the ledger's with its full path. Raises PleoConfigurationError without usable credentials."""
    save_pleo("pleo")
    try:
        LedgerSettings(path=str(ledger.absolute())).save("books")
    except ValueError as error:
        if not isinstance(error.__cause__, ObjectAlreadyExists):
            raise
        print("kept  ledger/books, which was there already")
    else:
        print(f"saved ledger/books, with its books in {ledger.absolute()}")


def save_pleo(name: str) -> None:
    """Save `pleo-credentials/name`. Raises PleoConfigurationError without usable credentials."""
    credentials = credentials_from_environment(os.environ)
    credentials.save(name, overwrite=True)
    print(f"saved pleo-credentials/{name} for {credentials.base_url}")


def save_ledger(name: str, ledger: Path, file: Path | None) -> None:
    """Save `ledger/name`, its paths whole. Raises SettingsError with one line that says what to set."""
    path = str(ledger.absolute())
    if file is not None:
        settings = read_settings(file, path=path)
    else:
        settings = checked_settings(LedgerSettings, {**_saved(LedgerSettings, name), "path": path}, "", {})
    settings.save(name, overwrite=True)
    print(f"saved ledger/{name}, with its books in {path}")


def save_system(type_: str, name: str, file: Path | None, environment: Mapping[str, str]) -> None:
    """Save `type_/name`. Raises SettingsError with one line that says what to set."""
    system = SYSTEMS[type_]
    given = {field: environment[variable] for field, variable in system.connection.items() if environment.get(variable)}
    if company := environment.get(system.company, "").strip():
        given["company"] = company
    try:
        if file is not None:
            settings = read_settings_of(system.settings, file, given, system.connection)
        else:
            saved = _saved(system.settings, name, system.connection)
            settings = checked_settings(system.settings, {**saved, **given}, "", system.connection)
        settings.save(name, overwrite=True)
    except PrefectHTTPStatusError as error:
        if not error.response.is_server_error:
            raise
        raise SettingsError(
            f"Prefect cannot read what is saved as {type_}/{name}, most likely as its encryption key was another one: "
            f"delete all {system.name} blocks with prefect --no-prompt block type delete {type_}, and save them again"
        ) from None
    entered = ""
    if isinstance(settings, TrytonSettings):
        entered = ", with the key and the password" if settings.user else ", with the key alone"
    company = f", company {settings.company}" if settings.company else ""
    print(f"saved {type_}/{name} for database {settings.database} at {settings.base_url}{company}{entered}")


def _saved(kind: type[ErpBlock], name: str, but: Collection[str] = ()) -> dict[str, Any]:
    """What is saved under that name beside the fields `but`, if anything is."""
    type_ = kind.get_block_type_slug()
    try:
        saved = kind.load(name)
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return {}
        raise
    except RuntimeError:
        raise SettingsError(
            f"what is saved as {type_}/{name} are no settings any more: say with --settings FILE what takes their place"
        ) from None
    return {field: getattr(saved, field) for field in kind.model_fields if field not in but}


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    usage = "\n       ".join(
        [
            "save_blocks.py [LEDGER]",
            "save_blocks.py pleo NAME",
            "save_blocks.py ledger NAME LEDGER [--settings FILE]",
            *(f"save_blocks.py {type_} NAME [--settings FILE]" for type_ in SYSTEMS),
        ]
    )
    parser = _Parser(
        usage=usage, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if not arguments or arguments[0] not in ("pleo", "ledger", *SYSTEMS):
        parser.add_argument("ledger", nargs="?", type=Path, default=Path("books.sqlite"), help=argparse.SUPPRESS)
        return parser.parse_args(arguments)
    parser.add_argument("name", metavar="NAME", help=argparse.SUPPRESS)
    if arguments[0] == "ledger":
        parser.add_argument("ledger", metavar="LEDGER", type=Path, help=argparse.SUPPRESS)
    if arguments[0] != "pleo":
        parser.add_argument("--settings", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments[1:], argparse.Namespace(type=arguments[0]))
    if not _NAME.fullmatch(options.name):
        parser.error(f"{options.name!r} cannot be the name of a block: use small letters, digits and dashes")
    return options


def main(arguments: Sequence[str]) -> None:
    """The command line. Ends with one line where the environment or the server is not ready."""
    options = _parsed(arguments)
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        setup_logging()  # or Prefect would tell of the temporary server that it starts where there is none
    try:
        ground.ready()
    except ground.GroundError as error:
        sys.exit(f"save_blocks: {error}")
    with get_client(sync_client=True) as server:
        problem = server.api_healthcheck()
        if problem is not None:
            sys.exit(f"save_blocks: no Prefect server answers at {server.api_url}: start it, or set PREFECT_API_URL")
    try:
        match getattr(options, "type", None):
            case None:
                save(options.ledger)
            case "pleo":
                save_pleo(options.name)
            case "ledger":
                save_ledger(options.name, options.ledger, options.settings)
            case type_:
                save_system(type_, options.name, options.settings, os.environ)
    except (PleoConfigurationError, SettingsError) as error:
        sys.exit(f"save_blocks: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
