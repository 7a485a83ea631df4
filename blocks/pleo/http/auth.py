"""How calls to Pleo are authorised: by a key or token that stays as it is, or by tokens that are renewed."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

from blocks.pleo.errors import PleoError


class FixedAuth:
    """One value of the Authorization header for every call. `secrets` must never be shown."""

    def __init__(self, header: str, *secrets: str) -> None:
        self.header = header
        self.secrets = secrets


class KeyAuth(FixedAuth):
    """An API key: the user name of basic authentication, without a password."""

    def __init__(self, key: str) -> None:
        encoded = b64encode(f"{key}:".encode()).decode()
        # Whoever quotes a request quotes the header, so its form is a secret as much as the key is.
        super().__init__(f"Basic {encoded}", key, encoded)


class BearerAuth(FixedAuth):
    """An OAuth access token that nobody renews."""

    def __init__(self, token: str) -> None:
        super().__init__(f"Bearer {token}", token)


class TokenProvider(Protocol):
    """Access tokens of one OAuth grant. Calls that run at the same time share a renewal."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that must never be shown: every token held so far, and what renews them."""
        ...

    async def token(self) -> str:
        """The access token to use now, renewed if it is known to be about to run out. Raises PleoError."""
        ...

    async def renewed(self, refused: str) -> bool:
        """See to another access token than the one that Pleo refused; whether it was made in this process.

        Raises PleoAuthenticationError when there is none to be had, PleoUnavailable when nobody can say.
        """
        ...

    def given_up(self) -> PleoError:
        """Renew no more, as even a new token is refused; the error says how to connect again."""
        ...

    async def aclose(self) -> None:
        """Let a renewal come to its end where it may have used up what is saved."""
        ...


Auth = FixedAuth | TokenProvider
