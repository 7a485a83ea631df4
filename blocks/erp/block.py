"""What the Prefect block of every accounting system has: the settings, and the way to the system."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from prefect.blocks.core import Block
from pydantic import ConfigDict

from blocks.erp.base import Erp
from blocks.erp.settings import ErpSettings


class ErpBlock(Block, ErpSettings, ABC):
    """The settings as a block; each accounting system's own block adds to it how its books are reached.

    With ABC among its bases and no `_block_type_name` it is no type of block itself: nobody is offered a form for it.
    """

    # As any block: it can be loaded, changed and saved again, and one that another version saved may have more fields.
    model_config = ConfigDict(frozen=False, extra="allow")

    @abstractmethod
    def connect(self, folder: Path) -> Erp:
        """The accounting system of these settings, not opened yet. Relative paths are read from `folder`."""
