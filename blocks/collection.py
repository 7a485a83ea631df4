"""The blocks that Prefect registers by itself, through the `prefect.collections` entry point, and how one is loaded."""

from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.erp.block import ErpBlock
from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.odoo.block import OdooSettings
from blocks.erp.tryton.block import TrytonSettings
from blocks.pleo.credentials import PleoCredentials, PleoCredentialsBlock
from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.oauth.block import PleoOAuth
from blocks.text import one_line

__all__ = ["LedgerSettings", "OdooSettings", "PleoCredentials", "PleoOAuth", "TrytonSettings"]


async def load_pleo_block(name: str) -> PleoCredentialsBlock:
    """The saved block, by NAME or TYPE/NAME, that opens Pleo. Raises PleoConfigurationError."""
    block = await _load(name if "/" in name else f"{PleoCredentials.get_block_type_slug()}/{name}")
    if not isinstance(block, PleoCredentialsBlock):
        raise PleoConfigurationError(f"block {one_line(name, 100)} holds no Pleo credentials")
    return block


async def load_erp_settings(name: str) -> ErpBlock:
    """The saved block, by TYPE/NAME, with an accounting system's settings. Raises PleoConfigurationError."""
    block = await _load(name)
    if not isinstance(block, ErpBlock):
        raise PleoConfigurationError(f"block {one_line(name, 100)} holds no settings of an accounting system")
    return block


async def _load(name: str) -> Block:
    type_, _, own_name = name.partition("/")
    if not type_.strip() or not own_name.strip():
        raise PleoConfigurationError(
            f"{one_line(name, 100)!r} names no block: give its type and its name, such as ledger/books"
        )
    try:
        return await Block.aload(name)
    except (ValueError, RuntimeError) as error:
        raise PleoConfigurationError(
            f"block {one_line(name, 100)} cannot be used: {_why(error)} (prefect block ls lists them)"
        ) from None


def _why(error: Exception) -> str:
    """What is wrong with a block: its fields by name, their values never, as one of them may be a key."""
    if not isinstance(error.__cause__, ValidationError):
        return one_line(str(error), 200)
    problems = error.__cause__.errors(include_input=False, include_context=False, include_url=False)
    return "; ".join(": ".join([*map(str, problem["loc"]), problem["msg"]]) for problem in problems)
