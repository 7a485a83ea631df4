"""Tryton's settings, as a Prefect block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

from blocks.erp.base import Erp
from blocks.erp.block import ErpBlock
from blocks.erp.codes import Count, OptionalText
from blocks.erp.remote.form import DatabaseName, Key, address_like, not_readable
from blocks.erp.tryton import Tryton
from blocks.erp.tryton.client import Login, TrytonClient

_EXAMPLE = "https://tryton.example.com"


class TrytonServer(BaseModel):
    """Where Tryton is and how it is entered. As a base beside `ErpBlock` it puts them first in the form."""

    base_url: Annotated[str, address_like(_EXAMPLE)] = Field(
        title="Tryton address",
        description=f"Where the Tryton server answers, without the database, such as {_EXAMPLE}.",
    )
    database: DatabaseName = Field(title="Database", description="The name of the database, such as acme.")
    application_key: Key = Field(
        title="Application key",
        description="The key of a user application of type REST. In Tryton the user makes it in the preferences "
        "(Applications), and an administrator validates it.",
    )
    user: OptionalText = Field(
        default="",
        title="User",
        description="The login of the same user. With user and password many entries are posted in one call, which is "
        "several times faster. Leave both empty to use the key alone.",
    )
    password: SecretStr = Field(
        default=SecretStr(""), title="Password", description="The password of that user. Empty: the key alone is used."
    )
    company: OptionalText = Field(
        default="",
        title="Company",
        description="The company's name in Tryton, such as Acme ApS. Empty: the only one that the user has, or the one "
        "that Companies below names.",
    )

    plain_http: bool = Field(
        default=False,
        title="Plain http",
        description="Allow an address that begins with http:// and is not this machine's. The key and the password "
        "travel readable then: for a network that nobody else is on.",
    )


class TrytonSettings(ErpBlock, TrytonServer):
    """A Tryton database, and how expenses are booked in it.

    Example:
        Load the stored settings:
        ```python
        from blocks.erp.tryton.block import TrytonSettings

        settings = TrytonSettings.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo Export Tryton"
    _block_type_slug: ClassVar[str] = "tryton"
    _documentation_url = HttpUrl("https://docs.tryton.org/")
    _description: ClassVar[str] = "A company's books in a Tryton 8.0 server, over its REST interface."
    _block_schema_capabilities: ClassVar[list[str]] = ["record-entries"]

    model_config = ConfigDict(hide_input_in_errors=True)

    max_receipt_kilobytes: Count = Field(
        default=0,
        ge=0,
        le=30_000,
        title="Largest receipt (kB)",
        description="How large a receipt may be to be attached, in thousands of bytes. 0: what a stock server takes, "
        "which is 30000 with user and password and 1500 with the key alone (raise max_size in trytond.conf for more).",
    )
    answer_seconds: Count = Field(
        default=50,
        ge=5,
        le=600,
        title="Time for an answer (s)",
        description="How long the server may take for one call, in seconds, before its outcome counts as unknown.",
    )
    kind: Literal["tryton"] = Field(
        default="tryton", title="Kind", description="Tells this block from those of other systems; it stays as it is."
    )

    @model_validator(mode="after")
    def _fit_together(self) -> TrytonSettings:
        not_readable(self.base_url, plain_http=self.plain_http)
        if bool(self.user) != bool(self.password.get_secret_value()):
            raise ValueError("give both a user and a password, or neither")
        return self

    def connect(self, folder: Path) -> Erp:
        """This Tryton, not opened yet; no file is read."""
        login = Login(self.user, self.password.get_secret_value()) if self.user else None
        return Tryton(
            lambda: TrytonClient(
                self.base_url,
                self.database,
                self.application_key.get_secret_value(),
                login,
                timeout_s=float(self.answer_seconds),
            ),
            base_url=self.base_url,
            database=self.database,
            company=self.company,
            companies=self.companies,
            minor_units=self.minor_units,
            max_attachment_bytes=(self.max_receipt_kilobytes or (30_000 if login is not None else 1_500)) * 1000,
        )
