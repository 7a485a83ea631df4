"""The embedded ledger's settings, as a Prefect block."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, HttpUrl, field_validator

from blocks.erp.base import Erp
from blocks.erp.ledger import Ledger
from blocks.erp.settings import ErpSettings


class LedgerSettings(ErpSettings):
    """Where the embedded ledger keeps its books.

    Example:
        Load the stored settings of a ledger:
        ```python
        from blocks.erp.ledger.block import LedgerSettings

        settings = LedgerSettings.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo Export Ledger"
    _block_type_slug: ClassVar[str] = "ledger"
    _documentation_url = HttpUrl("https://beancount.github.io/docs/")
    _description: ClassVar[str] = "Books in one SQLite file on the machine that runs the export."

    kind: Literal["ledger"] = Field(default="ledger", description="Tells this block from those of other systems.")
    path: str = Field(
        default="books.sqlite",
        min_length=1,
        title="Ledger file",
        description="The SQLite file that holds the books of one Pleo company. It is made at the first run.",
    )
    fava_url: str = Field(
        default="http://127.0.0.1:5000",
        title="Fava address",
        description="Where Fava shows the books; Pleo's links to entries lead there.",
    )

    @field_validator("fava_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("it should be a web address such as http://127.0.0.1:5000")
        return value.rstrip("/")

    def connect(self, folder: Path) -> Erp:
        """The ledger at `path`, not opened yet. A relative path is read from `folder`."""
        return Ledger(folder / Path(self.path).expanduser(), fava_url=self.fava_url)
