"""The blocks that Prefect registers by itself, through the `prefect.collections` entry point."""

from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.tryton.block import TrytonSettings
from blocks.pleo.credentials import PleoCredentials
from blocks.pleo.oauth.block import PleoOAuth

__all__ = ["LedgerSettings", "PleoCredentials", "PleoOAuth", "TrytonSettings"]
