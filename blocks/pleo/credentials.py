"""Access to Pleo: where it is and with which key, as a Prefect block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, ValidationError, field_validator, model_validator

from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.http.client import BearerAuth, KeyAuth, PleoClient
from blocks.pleo.http.transport import Clock, can_be_sent_to
from blocks.web_address import usable_base_url

PRODUCTION_URL = "https://external.pleo.io"


class PleoCredentials(Block):
    """An API key or an access token for Pleo's Export API, and the address it is for.

    `client()` hands out a client that uses them.

    Example:
        Load stored credentials:
        ```python
        from blocks.pleo.credentials import PleoCredentials

        credentials = PleoCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo Credentials"
    _block_type_slug: ClassVar[str] = "pleo-credentials"
    _documentation_url = HttpUrl("https://developers.pleo.io/")
    _description: ClassVar[str] = "An API key or access token for the Pleo Export API."

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = Field(
        default=PRODUCTION_URL,
        title="Base URL",
        description="Where Pleo's API is. Staging: https://external.staging.pleo.io. Plain http is for loopback only.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="API key from Pleo (Settings, API Keys). Give this or an access token.",
    )
    access_token: SecretStr | None = Field(default=None, description="OAuth access token. Give this or an API key.")

    @field_validator("base_url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        return usable_base_url(value, example=PRODUCTION_URL, can_be_sent_to=can_be_sent_to)

    @field_validator("api_key", "access_token")
    @classmethod
    def _printable(cls, value: SecretStr | None) -> SecretStr | None:
        return usable_secret(value)

    @model_validator(mode="after")
    def _exactly_one(self) -> PleoCredentials:
        if (self.api_key is None) == (self.access_token is None):
            raise ValueError("give either an API key or an access token")
        return self

    def client(self, *, page_size: int = 100, clock: Clock | None = None) -> PleoClient:
        """A client with these credentials. `page_size` is the number of records asked for at once, 1 to 100."""
        if self.api_key is not None:
            key = KeyAuth(self.api_key.get_secret_value())
            return PleoClient(self.base_url, key, page_size=page_size, clock=clock)
        if self.access_token is not None:
            token = BearerAuth(self.access_token.get_secret_value())
            return PleoClient(self.base_url, token, page_size=page_size, clock=clock)
        raise PleoConfigurationError("these credentials hold neither an API key nor an access token")


def usable_secret(value: SecretStr | None) -> SecretStr | None:
    """The secret without the spaces round it, None for an empty one; raises ValueError where no header can hold it."""
    secret = value.get_secret_value().strip() if value is not None else ""
    if not secret:
        return None
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ValueError("it holds characters that no key or token has")
    return SecretStr(secret)


def credentials_from_environment(environment: Mapping[str, str]) -> PleoCredentials:
    """Credentials from PLEO_API_KEY or PLEO_ACCESS_TOKEN, and PLEO_BASE_URL.

    Raises PleoConfigurationError with one line that says what to set.
    """
    given: dict[str, Any] = {
        field: environment[name].strip()
        for field, name in (
            ("api_key", "PLEO_API_KEY"),
            ("access_token", "PLEO_ACCESS_TOKEN"),
            ("base_url", "PLEO_BASE_URL"),
        )
        if environment.get(name, "").strip()
    }
    if "api_key" not in given and "access_token" not in given:
        raise PleoConfigurationError(
            "no Pleo credentials: set PLEO_API_KEY or PLEO_ACCESS_TOKEN, or name a block with --pleo "
            "(or try --sandbox, which needs none)"
        )
    if "api_key" in given and "access_token" in given:
        raise PleoConfigurationError("PLEO_API_KEY and PLEO_ACCESS_TOKEN are both set: unset one of them")
    names = {"api_key": "PLEO_API_KEY", "access_token": "PLEO_ACCESS_TOKEN", "base_url": "PLEO_BASE_URL"}
    try:
        return PleoCredentials(**given)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        raise PleoConfigurationError(f"{names.get(field, 'Pleo credentials')}: {_plain(problem['msg'])}") from None


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
