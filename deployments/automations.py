"""Registers what the export tells people of by itself: the automations of `automations.yaml`, on a Prefect server.

    python deployments/automations.py TYPE/NAME [--file FILE]
    python deployments/automations.py --remove

TYPE/NAME is the notification block that is told, slack-webhook/accounting say; `prefect block ls` lists what is saved.
Said again, it replaces what it has registered before. FILE is another such file than automations.yaml beside this one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.logging.configuration import setup_logging
from pydantic import ValidationError

AUTOMATIONS = Path(__file__).with_name("automations.yaml")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"automations: {message} (--help tells the usage)\n")


def register(server: SyncPrefectClient, block: str, file: Path) -> None:
    """Create or replace each automation of the file, for this block. Ends with one line for a mistake."""
    block_id = _notification_block(server, block)
    for automation in _automations(file, block_id):
        stood = server.find_automation(automation.name)
        if stood is not None:
            server.update_automation(stood.id, automation)
        else:
            server.create_automation(automation)
        print(f"{'replaced' if stood is not None else 'registered'} {automation.name}")


def remove(server: SyncPrefectClient, file: Path) -> None:
    """Delete each automation that the file names."""
    for one in _read(file):
        stood = server.find_automation(one["name"])
        if stood is not None:
            server.delete_automation(stood.id)
            print(f"removed {one['name']}")


def _notification_block(server: SyncPrefectClient, block: str) -> Any:
    type_slug, _, name = block.partition("/")
    if not name:
        sys.exit(f"automations: {block}: a block is named as TYPE/NAME, slack-webhook/accounting say")
    try:
        document = server.read_block_document_by_name(name, type_slug)
    except ObjectNotFound:
        sys.exit(f"automations: no block {block} is saved: prefect block ls lists those that are")
    if document.block_schema is None or "notify" not in document.block_schema.capabilities:
        sys.exit(f"automations: {block} is no notification block, as slack-webhook or custom-webhook are")
    return document.id


def _automations(file: Path, block_id: Any) -> list[AutomationCore]:
    made = []
    for one in _read(file):
        message = {"subject": one.pop("subject", ""), "body": one.pop("body", "")}
        try:
            action = SendNotification(block_document_id=block_id, **message)
            made.append(AutomationCore.model_validate({**one, "enabled": True, "actions": [action]}))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            sys.exit(f"automations: {file}: {one.get('name', 'an automation')}: {where}: {first['msg']}")
    return made


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        document = yaml.safe_load(file.read_text())
        return [dict(one) for one in document["automations"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"automations: {file} cannot be read: {' '.join(str(error).split())}")


def main(arguments: Sequence[str]) -> None:
    """The command line. Ends with one line where the server is not there, or what was said cannot be done."""
    usage = "automations.py TYPE/NAME [--file FILE]\n       automations.py --remove"
    parser = _Parser(usage=usage, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("block", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, default=AUTOMATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--remove", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if (options.block is None) != options.remove:
        parser.error("name the notification block, or say --remove")
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        setup_logging()
    with get_client(sync_client=True) as server:
        if server.api_healthcheck() is not None:
            sys.exit(f"automations: no Prefect server answers at {server.api_url}: start it, or set PREFECT_API_URL")
        if options.remove:
            remove(server, options.file)
        else:
            register(server, options.block, options.file)


if __name__ == "__main__":
    main(sys.argv[1:])
