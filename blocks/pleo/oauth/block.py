"""Access to Pleo by OAuth, as a Prefect block that keeps its tokens and renews them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, Literal, cast
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.exceptions import ObjectNotFound
from pydantic import Field, SecretStr, field_validator, model_validator

from blocks.pleo.credentials import PRODUCTION_URL, STAGING_URL, PleoCredentialsBlock
from blocks.pleo.errors import PleoAuthenticationError, PleoConfigurationError, PleoUnavailable
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock, is_http_url
from blocks.pleo.oauth.grant import LockedStore, OAuthTokenProvider, StoredGrant, renewal_lock
from blocks.pleo.oauth.token_endpoint import ClientAuth, Registration, Tokens
from blocks.slots import optional_slot
from blocks.web_address import usable_base_url

log = logging.getLogger(__name__)

SCOPES = "export-jobs:read export-jobs:write export-items:read"
AUTH_URLS = {
    PRODUCTION_URL: "https://auth.pleo.io",
    STAGING_URL: "https://auth.staging.pleo.io",
}
"""The authorisation server of each of Pleo's environments."""

_SAVE_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)


class PleoOAuth(PleoCredentialsBlock):
    """Access to Pleo's Export API that a user has allowed, with the tokens of the last renewal.

    `python -m blocks.pleo.authorize NAME` fills it. Its client renews the access when it runs out, and saves that.

    Example:
        Load a stored block:
        ```python
        from blocks.pleo.oauth.block import PleoOAuth

        credentials = PleoOAuth.load("BLOCK_NAME")
        client = credentials.get_client()  # an asynchronous context manager
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo OAuth"
    _block_type_slug: ClassVar[str] = "pleo-oauth"
    _description: ClassVar[str] = "Access to the Pleo Export API by OAuth; python -m blocks.pleo.authorize fills it."

    auth_url: str = Field(
        default="",
        title="Authorisation server",
        description="Where Pleo's authorisation server is. Empty: the one that belongs to the base URL.",
    )
    client_id: str = Field(title="Client ID", description="Client ID that Pleo gave to this integration.")
    client_secret: SecretStr | None = Field(
        default=None, title="Client secret", description="Client secret that belongs to it. Empty for a public client."
    )
    client_auth: ClientAuth = Field(
        default=ClientAuth.PARAMETERS,
        title="Client authentication",
        description="How the client ID and secret are sent when tokens are asked for: as parameters, or in a header.",
    )
    scopes: str = Field(default=SCOPES, description="What users are asked to allow, separated by spaces.")
    access_token: SecretStr | None = Field(
        default=None, title="Access token", description="Access token of the last renewal. Leave it to the program."
    )
    refresh_token: SecretStr | None = Field(
        default=None, title="Refresh token", description="Refresh token of the last renewal. Leave it to the program."
    )
    kind: Literal["pleo-oauth"] = Field(
        default="pleo-oauth", description="Tells this block from other ways to enter Pleo."
    )

    @field_validator("auth_url")
    @classmethod
    def _usable_auth_url(cls, value: str) -> str:
        if not value.strip():
            return ""
        return usable_base_url(value, example=AUTH_URLS[PRODUCTION_URL], is_http_url=is_http_url)

    @field_validator("client_id")
    @classmethod
    def _usable_client_id(cls, value: str) -> str:
        text = value.strip()
        if not text or not text.isascii() or not text.isprintable():
            raise ValueError("it is empty, or holds characters that no client ID has")
        return text

    @field_validator("scopes")
    @classmethod
    def _usable_scopes(cls, value: str) -> str:
        text = " ".join(value.split())
        if not text or not text.isascii() or not text.isprintable():
            raise ValueError(f"name scopes as Pleo does, separated by spaces: {SCOPES}")
        return text

    @model_validator(mode="after")
    def _has_an_authorization_server(self) -> PleoOAuth:
        if not self.auth_url and self.base_url.lower() not in AUTH_URLS:
            raise ValueError("auth_url: name the authorisation server, as the base URL is not one of Pleo's")
        return self

    @property
    def authorization_server(self) -> str:
        """Where users allow access, and where tokens come from."""
        return self.auth_url or AUTH_URLS[self.base_url.lower()]

    @property
    def registration(self) -> Registration:
        """What Pleo knows this program as."""
        secret = self.client_secret.get_secret_value() if self.client_secret is not None else None
        return Registration(self.client_id, secret, self.client_auth, self.authorization_server)

    @property
    def tokens(self) -> Tokens | None:
        """The tokens, when a user has allowed access."""
        if self.access_token is None or self.refresh_token is None:
            return None
        return Tokens(self.access_token.get_secret_value(), self.refresh_token.get_secret_value())

    def get_client(self, *, page_size: int = 100, clock: Clock | None = None) -> PleoClient:
        """A client with this access, which it renews and saves; else as in `PleoCredentialsBlock.get_client`.

        Raises PleoAuthenticationError where no user has allowed anything yet.
        """
        name, document_id = self._block_document_name, self._block_document_id
        if name is None or document_id is None:
            raise PleoConfigurationError("a Pleo OAuth block must be saved before it is used, as its tokens change")
        clock = clock or Clock()
        store = BlockStore(name, document_id)
        if self.tokens is None:
            raise PleoAuthenticationError(f"block pleo-oauth/{name} holds no access yet: {store.reconnect}")
        provider = OAuthTokenProvider(self.registration, self.tokens, store, clock.monotonic)
        return PleoClient(self.base_url, provider, page_size=page_size, clock=clock)


def reconnect(name: str) -> str:
    """What a user does to connect, or connect again."""
    return f"authorise again with `python -m blocks.pleo.authorize {name}`"


class BlockStore:
    """A saved block as the store of its tokens (see `blocks.pleo.oauth.grant.TokenStore`)."""

    def __init__(self, name: str, document_id: UUID) -> None:
        self.reconnect = reconnect(name)
        self._name = name
        self._document_id = document_id

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[LockedStore]:
        """The block, with nobody else on this machine renewing it, and perhaps nobody on others.

        The server's slot `pleo-oauth-NAME` is held where one is set up.
        """
        slot = optional_slot(f"pleo-oauth-{self._name}", f"pleo-oauth/{self._name}")
        # The lock first: only it is certain, and who waits for it must not keep others from the slot meanwhile.
        async with renewal_lock(str(self._document_id)), slot:
            held = AsyncExitStack()
            try:
                try:
                    server = await held.enter_async_context(get_client())
                except Exception as error:
                    raise _unavailable(error) from error
                yield _LockedBlock(self._name, server)
            finally:
                try:
                    await held.aclose()
                except Exception as error:  # noqa: BLE001 - what was renewed is renewed
                    log.warning("a connection to Prefect's server was not closed (%s)", type(error).__name__)


class _LockedBlock:
    def __init__(self, name: str, server: PrefectClient) -> None:
        self._name = name
        self._server = server
        self._document_id: UUID | None = None

    async def load(self) -> StoredGrant:
        """What is saved, read anew; some of it is then written back as it is, to see that saving works."""
        try:
            block = cast(PleoOAuth, await PleoOAuth.aload(self._name, client=self._server))
            self._document_id = block._block_document_id
            await self._write({"kind": block.kind})
        except Exception as error:
            if isinstance(error, ValueError) and isinstance(error.__cause__, ObjectNotFound):
                message = f"block pleo-oauth/{self._name} is gone: {reconnect(self._name)}"
                raise PleoAuthenticationError(message) from None
            raise _unavailable(error) from error
        return StoredGrant(block.registration, block.tokens)

    async def save(self, tokens: Tokens) -> None:
        """Save new tokens: one request, again a few times where it fails."""
        for wait_s in (*_SAVE_WAITS_S, None):
            try:
                await self._write({"access_token": tokens.access, "refresh_token": tokens.refresh})
                return
            except Exception as error:  # noqa: BLE001 - whatever it was, the tokens must not be lost
                if wait_s is None:
                    raise _unavailable(error) from None
            await asyncio.sleep(wait_s)

    async def _write(self, values: dict[str, Any]) -> None:
        if self._document_id is None:
            raise RuntimeError("nothing is saved before it was read")
        # These fields alone: the server keeps the others as they are, which a user may be editing.
        await self._server.update_block_document(self._document_id, BlockDocumentUpdate(data=values))


def _unavailable(error: Exception) -> PleoUnavailable:
    """The error by its name alone: what a server says of a refused value may quote it."""
    return PleoUnavailable(f"Prefect's server, which keeps the access, does not do its part ({type(error).__name__})")
