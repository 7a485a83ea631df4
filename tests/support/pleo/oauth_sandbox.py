"""A sandbox that hands out access by OAuth, and stores for its tokens, for tests of everything that renews them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from blocks.pleo.errors import PleoUnavailable
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.oauth.grant import OAuthTokenProvider, StoredGrant
from blocks.pleo.oauth.token_endpoint import ClientAuth, Registration, Tokens
from blocks.pleo.sandbox import SANDBOX_CLIENT_ID, SANDBOX_CLIENT_SECRET, OAuthGrant, Sandbox, serve
from tests.support.pleo.scripted_pleo import no_waiting

RECONNECT = "authorise again with `python -m blocks.pleo.authorize acme`"
TOKEN_CALL = "POST /oauth/token"


@dataclass
class MemoryTokenStore:
    """A store in memory: what is in it outlives the grants of one test, and can be made to refuse."""

    saved: StoredGrant
    reconnect: str = RECONNECT
    saves: int = 0
    refuses_to_save: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[MemoryTokenStore]:
        async with self._lock:
            yield self

    async def load(self) -> StoredGrant:
        return self.saved

    async def save(self, tokens: Tokens) -> None:
        await asyncio.sleep(0)
        if self.refuses_to_save:
            raise PleoUnavailable("the store is stuck")
        self.saves += 1
        self.saved = StoredGrant(self.saved.registration, tokens)


@dataclass
class OAuthSandbox:
    """The sandbox, and one client of it with access."""

    sandbox: Sandbox
    url: str
    store: MemoryTokenStore
    seconds: float = 0.0

    def grant(self) -> OAuthTokenProvider:
        """The access of one process, as it finds it saved when it starts."""
        tokens = self.store.saved.tokens
        assert tokens is not None
        return OAuthTokenProvider(self.store.saved.registration, tokens, self.store, lambda: self.seconds, no_waiting)

    def client(self, grant: OAuthTokenProvider | None = None) -> PleoClient:
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
def oauth_sandbox(
    client_auth: ClientAuth = ClientAuth.PARAMETERS, *, secret: str | None = SANDBOX_CLIENT_SECRET
) -> Iterator[OAuthSandbox]:
    """A sandbox on a free port, one of whose users has allowed access."""
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        sandbox.add_oauth_client(SANDBOX_CLIENT_ID, secret)
        pair = sandbox.grant_access()
        registration = Registration(SANDBOX_CLIENT_ID, secret, client_auth, url)
        tokens = Tokens(pair.access_token, pair.refresh_token)
        yield OAuthSandbox(sandbox, url, MemoryTokenStore(StoredGrant(registration, tokens)))
