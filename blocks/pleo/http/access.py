"""What the transport needs of credentials that run out and can be renewed."""

from __future__ import annotations

from typing import Protocol

from blocks.pleo.errors import PleoError


class Access(Protocol):
    """Access tokens of one grant. Calls that run at the same time share a renewal."""

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
