"""The blocks that Prefect registers by itself, through the `prefect.collections` entry point."""

from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.tryton.block import TrytonSettings
from blocks.pleo.credentials import PleoCredentials

__all__ = ["LedgerSettings", "PleoCredentials", "TrytonSettings"]
