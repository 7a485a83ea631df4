"""A sandbox that hands out access by OAuth, and stores for its tokens, for tests of everything that renews them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from blocks.pleo.errors import PleoUnavailable
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.oauth.endpoint import ClientAuth, Registration, Tokens
from blocks.pleo.oauth.grant import Saved, SavedGrant
from blocks.pleo.sandbox import SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, OAuthGrant, Sandbox, serve

RECONNECT = "authorise again with `python -m blocks.pleo.authorize acme`"
TOKEN_CALL = "POST /oauth/token"


async def no_waiting(_seconds: float) -> None:
    """The order of things is tested, not the time."""


@dataclass
class Drawer:
    """A store in memory: what is in it outlives the grants of one test, and can be made to refuse."""

    saved: Saved
    reconnect: str = RECONNECT
    saves: int = 0
    refuses_to_save: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Drawer]:
        async with self._turn:
            yield self

    async def load(self) -> Saved:
        return self.saved

    async def save(self, tokens: Tokens) -> None:
        await asyncio.sleep(0)
        if self.refuses_to_save:
            raise PleoUnavailable("the drawer is stuck")
        self.saves += 1
        self.saved = Saved(self.saved.registration, tokens)


@dataclass
class World:
    """The sandbox, and one client of it with access."""

    sandbox: Sandbox
    url: str
    drawer: Drawer
    seconds: float = 0.0

    def grant(self) -> SavedGrant:
        """The access of one process, as it finds it saved when it starts."""
        tokens = self.drawer.saved.tokens
        assert tokens is not None
        return SavedGrant(self.drawer.saved.registration, tokens, self.drawer, lambda: self.seconds, no_waiting)

    def client(self, grant: SavedGrant | None = None) -> PleoClient:
        """A client with that access, or one of its own."""
        clock = Clock(sleep=no_waiting, jitter=lambda: 0.0)
        return PleoClient(self.url, grant or self.grant(), clock=clock)

    @property
    def of_user(self) -> OAuthGrant:
        """What the user allowed, as the sandbox has it."""
        (grant,) = self.sandbox.oauth_grants()
        return grant

    @property
    def token_requests(self) -> int:
        """How often the token endpoint was asked."""
        return self.sandbox.received().by_call.get(TOKEN_CALL, 0)


@contextmanager
def a_world(
    client_auth: ClientAuth = ClientAuth.PARAMETERS, *, secret: str | None = SANDBOX_CLIENT_SECRET
) -> Iterator[World]:
    """A sandbox on a free port, one of whose users has allowed access."""
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        sandbox.add_oauth_client(SANDBOX_CLIENT_ID, secret)
        pair = sandbox.grant_access()
        registration = Registration(SANDBOX_CLIENT_ID, secret, client_auth, url)
        tokens = Tokens(pair.access_token, pair.refresh_token)
        yield World(sandbox, url, Drawer(Saved(registration, tokens)))
