"""Access to Pleo as a Prefect block: what both kinds of it share, and the one by API key or access token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, ValidationError, field_validator, model_validator

from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.http.auth import BearerAuth, FixedAuth, KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock, is_http_url
from blocks.web_address import usable_base_url

PRODUCTION_URL = "https://external.pleo.io"
STAGING_URL = "https://external.staging.pleo.io"


class PleoCredentialsBlock(CredentialsBlock, ABC):
    """What every block that opens Pleo's API has: where that is, secrets that a header can hold, and a client."""

    _documentation_url = HttpUrl("https://developers.pleo.io/")

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = Field(
        default=PRODUCTION_URL,
        title="Base URL",
        description=f"Where Pleo's API is. Staging: {STAGING_URL}. Plain http is for loopback only.",
    )

    @field_validator("base_url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        return usable_base_url(value, example=PRODUCTION_URL, is_http_url=is_http_url)

    # For every field, so that no secret of a block to come can be forgotten here.
    @field_validator("*")
    @classmethod
    def _usable_secret(cls, value: Any) -> Any:
        """Secrets without the spaces round them, None for an empty one (a form cannot leave a field out)."""
        if not isinstance(value, SecretStr):
            return value
        secret = value.get_secret_value().strip()
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise ValueError("it holds characters that no key or token has")
        return SecretStr(secret) if secret else None

    @abstractmethod
    def get_client(self, *, page_size: int = 100, clock: Clock | None = None) -> PleoClient:
        """A client with this access. `page_size` is the number of records asked for at once, 1 to 100.

        Raises PleoConfigurationError where the block does not hold what a client needs.
        """


class PleoCredentials(PleoCredentialsBlock):
    """An API key or an access token for Pleo's Export API, and the address it is for.

    Example:
        Load stored credentials:
        ```python
        from blocks.pleo.credentials import PleoCredentials

        credentials = PleoCredentials.load("BLOCK_NAME")
        client = credentials.get_client()  # an asynchronous context manager
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo Credentials"
    _block_type_slug: ClassVar[str] = "pleo-credentials"
    _description: ClassVar[str] = "An API key or access token for the Pleo Export API."

    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="API key from Pleo (Settings, API Keys). Give this or an access token.",
    )
    access_token: SecretStr | None = Field(default=None, description="OAuth access token. Give this or an API key.")

    @model_validator(mode="after")
    def _exactly_one(self) -> PleoCredentials:
        if (self.api_key is None) == (self.access_token is None):
            raise ValueError("give either an API key or an access token")
        return self

    def get_client(self, *, page_size: int = 100, clock: Clock | None = None) -> PleoClient:
        """A client with these credentials, as in `PleoCredentialsBlock.get_client`."""
        if self.api_key is not None:
            auth: FixedAuth = KeyAuth(self.api_key.get_secret_value())
        elif self.access_token is not None:
            auth = BearerAuth(self.access_token.get_secret_value())
        else:
            raise PleoConfigurationError("these credentials hold neither an API key nor an access token")
        return PleoClient(self.base_url, auth, page_size=page_size, clock=clock)


def credentials_from_environment(environment: Mapping[str, str]) -> PleoCredentials:
    """Credentials from PLEO_API_KEY or PLEO_ACCESS_TOKEN, and PLEO_BASE_URL.

    Raises PleoConfigurationError with one line that says what to set.
    """
    names = {"api_key": "PLEO_API_KEY", "access_token": "PLEO_ACCESS_TOKEN", "base_url": "PLEO_BASE_URL"}
    values = {field: environment.get(name, "").strip() for field, name in names.items()}
    given: dict[str, Any] = {field: value for field, value in values.items() if value}
    if "api_key" not in given and "access_token" not in given:
        raise PleoConfigurationError(
            "no Pleo credentials: set PLEO_API_KEY or PLEO_ACCESS_TOKEN, or name a block with --pleo "
            "(or try --sandbox, which needs none)"
        )
    if "api_key" in given and "access_token" in given:
        raise PleoConfigurationError("PLEO_API_KEY and PLEO_ACCESS_TOKEN are both set: unset one of them")
    try:
        return PleoCredentials(**given)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        reason = problem["msg"].removeprefix("Value error, ")
        raise PleoConfigurationError(f"{names.get(field, 'Pleo credentials')}: {reason}") from None
