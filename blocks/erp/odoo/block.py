"""Odoo's settings, as a Prefect block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator

from blocks.erp.base import Erp
from blocks.erp.block import ErpBlock
from blocks.erp.codes import OptionalText, choice
from blocks.erp.odoo.client import OdooClient, Protocol
from blocks.erp.odoo.odoo import Odoo
from blocks.erp.odoo.settlement import ExchangeAccounts
from blocks.erp.remote.form import DatabaseName, Key, address_like, not_readable

_EXAMPLE = "https://acme.odoo.com"


class OdooServer(BaseModel):
    """Where Odoo is and how it is entered. As a base beside `ErpBlock` it puts them first in the form."""

    base_url: Annotated[str, address_like(_EXAMPLE)] = Field(
        title="Odoo address", description=f"Where Odoo's web client opens, without a path, such as {_EXAMPLE}."
    )
    database: DatabaseName = Field(title="Database", description="The name of the database, such as acme.")
    user: OptionalText = Field(
        default="",
        title="User",
        description="The login of the key's user, such as pleo@example.com. Odoo 19 and later does not ask for it.",
    )
    api_key: Key = Field(
        title="API key",
        description="A key of that user's: in Odoo under Preferences, Account Security, New API Key.",
    )
    company: OptionalText = Field(
        default="",
        title="Company",
        description="The company's name in Odoo, such as Acme ApS. Empty: the only one that the user may enter, or the "
        "one that Companies below names.",
    )
    protocol: Annotated[Protocol, choice(Protocol)] = Field(
        default=Protocol.AUTO,
        title="Protocol",
        description="How Odoo is talked to. auto: by JSON-2 from Odoo 19 on, else by XML-RPC, which wants the user.",
    )
    plain_http: bool = Field(
        default=False,
        title="Plain http",
        description="Allow an address that begins with http:// and is not this machine's. The key travels readable "
        "then: for a network that nobody else is on.",
    )


class OdooSettings(ErpBlock, OdooServer):
    """An Odoo database, and how expenses are booked in it.

    Example:
        Load the stored settings:
        ```python
        from blocks.erp.odoo.block import OdooSettings

        settings = OdooSettings.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo Export Odoo"
    _block_type_slug: ClassVar[str] = "odoo"
    _documentation_url = HttpUrl("https://www.odoo.com/documentation/")
    _description: ClassVar[str] = "A company's books in Odoo 16 to 19, over JSON-2 or XML-RPC."
    _block_schema_capabilities: ClassVar[list[str]] = ["record-entries"]

    model_config = ConfigDict(hide_input_in_errors=True)

    max_receipt_kilobytes: int = Field(
        default=20_000,
        ge=1,
        le=60_000,
        title="Largest receipt (kB)",
        description="How large a receipt may be to be attached, in thousands of bytes, 1 to 60000. A proxy before Odoo "
        "may allow less.",
    )
    answer_seconds: int = Field(
        default=120,
        ge=5,
        le=600,
        title="Time for an answer (s)",
        description="How long the server may take for one call, in seconds, before its outcome counts as unknown.",
    )
    kind: Literal["odoo"] = Field(
        default="odoo", title="Kind", description="Tells this block from those of other systems; it stays as it is."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> OdooSettings:
        not_readable(self.base_url, plain_http=self.plain_http)
        if self.protocol is Protocol.XMLRPC and not self.user:
            raise ValueError("XML-RPC wants the user's login besides the key: fill in the user")
        return self

    def connect(self, folder: Path) -> Erp:
        """This Odoo, not opened yet; no file is read."""
        return Odoo(
            lambda: OdooClient(
                self.base_url,
                self.database,
                self.user,
                self.api_key.get_secret_value(),
                protocol=self.protocol,
                timeout_s=float(self.answer_seconds),
            ),
            base_url=self.base_url,
            company=self.company,
            companies=self.companies,
            minor_units=self.minor_units,
            exchange=ExchangeAccounts(self.exchange_gain_account, self.exchange_loss_account),
            max_attachment_bytes=self.max_receipt_kilobytes * 1000,
        )
