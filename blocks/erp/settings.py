"""What every accounting system's block has: the settings that do not depend on which one it is."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from blocks.erp.base import Erp


class ErpSettings(Block):
    """What the export needs to know of every accounting system; each system's own block adds to it.

    Example:
        Load the stored settings of an accounting system:
        ```python
        from blocks.erp.settings import ErpSettings

        settings = ErpSettings.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "ERP Settings"
    _documentation_url = HttpUrl("https://developers.pleo.io/")
    _description: ClassVar[str] = "What the export needs to know of every accounting system."
    _block_schema_capabilities: ClassVar[list[str]] = ["record-entries"]

    page_size: int = Field(
        default=100, ge=1, le=100, description="How many records are asked of Pleo at once, 1 to 100."
    )
    update_batch_size: int = Field(
        default=100, ge=1, le=100, description="How many items are reported to Pleo at once, 1 to 100."
    )

    @abstractmethod
    def connect(self, folder: Path) -> Erp:
        """The accounting system of these settings, not opened yet. Relative paths are read from `folder`."""
