"""The access that a user allowed, renewed when it runs out.

A refresh token is good once; using one that was used revokes everything (Pleo: replay). So each renewal is alone on
this machine, looks first whether another has renewed meanwhile, and saves the new tokens before they are used.

What is done when a renewal does not simply work, and why:

- The saved tokens are read, and saving is tried, *before* Pleo is asked: a store that is away costs a run, and not the
  grant.
- Pleo says no: the grant is gone. Terminal, whatever else this process has under way.
- The request cannot have arrived (no connection) or did nothing (429): it is sent again, a few times; then the run
  ends, and nothing is lost.
- The answer is lost (5xx, a timeout, a connection that broke): Pleo may have used our refresh token up. It is not sent
  again in this run: should the first one still be on its way, the second is a replay. The access token that is there
  is used for as long as it works. The next run asks once more, as it cannot do worse: if Pleo did renew, the new tokens
  went with the answer and the grant is lost to us whoever asks; if it did not, all is well.
- The new tokens cannot be saved, after several tries: they are not used. A run that went on with them would leave
  behind a refresh token that is spent, in silence. Terminal, and said so.
- The process is killed between Pleo's answer and the saving, which is one request to Prefect's server on a connection
  that is open already: nothing can be done about it. The next run is refused, and says how to connect again.

No clock decides what is right. `expires_in` is measured by a clock that only grows, and only saves a request that would
be refused: the 401 alone would do.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blocks.file_lock import OsLock
from blocks.pleo.errors import PleoAuthenticationError, PleoConfigurationError, PleoError, PleoUnavailable
from blocks.pleo.oauth.token_endpoint import (
    Registration,
    Sleep,
    Tokens,
    TokensNotAsked,
    TokensRefused,
    TokensUnknown,
    renew,
)

log = logging.getLogger(__name__)

_MARGIN = 0.1  # of a token's life, but
_MARGIN_S = 60.0  # no more than this
_LOOK_EVERY_S = 0.05

LOCK_WAIT_S = 180.0
"""Longer than any renewal takes that comes to an end; the lock of one that was killed is free at once."""


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """What the store holds: who we are for Pleo, and the tokens of the last renewal."""

    registration: Registration
    tokens: Tokens | None


class LockedStore(Protocol):
    """The store of one grant, while nobody else on this machine renews it. Both raise PleoUnavailable."""

    async def load(self) -> StoredGrant:
        """What is saved now, once it is known that saving works. Raises PleoAuthenticationError if it is gone."""
        ...

    async def save(self, tokens: Tokens) -> None:
        """Save new tokens."""
        ...


class TokenStore(Protocol):
    """Where the tokens of one grant are kept between runs."""

    reconnect: str
    """What a user does to connect again, as the end of a sentence."""

    def locked(self) -> AbstractAsyncContextManager[LockedStore]:
        """The store, with nobody else on this machine in it."""
        ...


class OAuthTokenProvider:
    """The tokens of one grant in one process, for a client (see `blocks.pleo.http.auth.TokenProvider`)."""

    def __init__(
        self,
        registration: Registration,
        tokens: Tokens,
        store: TokenStore,
        monotonic: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._sleep = sleep
        self._secrets = dict.fromkeys((*registration.secrets, tokens.access, tokens.refresh))
        self._tokens = tokens
        self._made_here = False
        self._due_s: float | None = None  # of tokens that were saved, nobody knows how old they are
        self._over: Callable[[], PleoError] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._asked = False  # whether Pleo may have used up what is saved

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every token held so far, and the client's secret."""
        return tuple(self._secrets)

    async def token(self) -> str:
        """The access token to use now."""
        if self._due_s is not None and self._over is None and self._monotonic() >= self._due_s:
            try:
                await self._renew()
            except PleoUnavailable as error:
                self._due_s = None
                log.warning("%s; going on with the access token that is there for as long as it works", error)
        over = self._over() if self._over is not None else None
        if over is not None and not isinstance(over, PleoUnavailable):
            raise over
        return self._tokens.access

    async def renewed(self, refused: str) -> bool:
        """See to another access token than the refused one; whether it was made in this process."""
        if self._tokens.access == refused:
            await self._renew()
        return self._made_here

    def given_up(self) -> PleoError:
        """Renew no more, as a new token is refused too."""
        return self._end(
            lambda: PleoAuthenticationError(
                f"Pleo refuses even the access token that it has just made (HTTP 401): {self._store.reconnect}"
            )
        )

    async def aclose(self) -> None:
        """Let a renewal for which Pleo was asked come to its end, so that what it brings is saved; end any other."""
        while self._renewal is not None and not self._renewal.done():
            if not self._asked:
                self._renewal.cancel()
            await asyncio.wait([self._renewal], timeout=_LOOK_EVERY_S)

    async def _renew(self) -> None:
        if self._over is not None:
            raise self._over()
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_locked())
            self._renewal.add_done_callback(_retrieve_error)
        await asyncio.shield(self._renewal)  # whoever waits may be interrupted, what is renewed must be saved

    async def _renew_locked(self) -> None:
        async with self._store.locked() as store:
            saved = await store.load()
            if saved.tokens is None:
                raise self._end(
                    lambda: PleoAuthenticationError(
                        f"the access to Pleo is not there any more: {self._store.reconnect}"
                    )
                )
            self._secrets |= dict.fromkeys((*saved.registration.secrets, saved.tokens.access, saved.tokens.refresh))
            if saved.tokens.access != self._tokens.access:
                self._hold(saved.tokens, made_here=False)
                return
            self._asked = True
            try:
                tokens = await self._ask(saved.registration, saved.tokens)
                self._secrets |= dict.fromkeys((tokens.access, tokens.refresh))
                await self._save(store, tokens)
            finally:
                self._asked = False
            self._hold(tokens, made_here=True)

    async def _ask(self, registration: Registration, tokens: Tokens) -> Tokens:
        try:
            return await renew(registration, tokens.refresh, self._pause)
        except TokensRefused as error:
            why = f"Pleo does not renew the access ({error})"
            raise self._end(lambda: PleoAuthenticationError(f"{why}: {self._store.reconnect}")) from None
        except TokensUnknown as error:
            why = f"whether Pleo has renewed the access is not known ({error}), so it is not asked again in this run"
            raise self._end(
                lambda: PleoUnavailable(f"{why}; if the next run is refused, {self._store.reconnect}")
            ) from None
        except TokensNotAsked as error:
            raise PleoUnavailable(f"the access could not be renewed: {error}") from None

    async def _save(self, store: LockedStore, tokens: Tokens) -> None:
        try:
            await store.save(tokens)
        except PleoUnavailable as error:
            why = f"Pleo renewed the access, but the new tokens could not be saved, so they are not used ({error})"
            raise self._end(lambda: PleoAuthenticationError(f"{why}: {self._store.reconnect}")) from error

    async def _pause(self, seconds: float) -> None:
        """Wait before Pleo is asked again after it did nothing: a renewal can end here as well."""
        self._asked = False
        await self._sleep(seconds)
        self._asked = True

    def _hold(self, tokens: Tokens, *, made_here: bool) -> None:
        self._tokens, self._made_here = tokens, made_here
        life_s = tokens.expires_in_s if made_here else None
        self._due_s = None if life_s is None else self._monotonic() + life_s - min(life_s * _MARGIN, _MARGIN_S)

    def _end(self, error: Callable[[], PleoError]) -> PleoError:
        self._over = error
        return error()


def _retrieve_error(renewal: asyncio.Task[None]) -> None:
    """Look at the error of a renewal for which nobody waits any more, or asyncio would show it with a traceback."""
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        log.debug("the renewal ended: %s", error)


@asynccontextmanager
async def renewal_lock(name: str) -> AsyncIterator[None]:
    """Let one program of this user renew the grant of that name at a time, by a lock file in a folder that is theirs.

    Raises PleoUnavailable when another keeps the lock, PleoConfigurationError when there can be none.
    """
    lock = OsLock(_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock")
    deadline = time.monotonic() + LOCK_WAIT_S
    while not _acquired(lock):
        if time.monotonic() > deadline:
            raise PleoUnavailable("another run has been renewing the access to Pleo for minutes")
        await asyncio.sleep(_LOOK_EVERY_S)
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: OsLock) -> bool:
    try:
        return lock.acquire()
    except OSError as error:
        raise PleoConfigurationError(f"no lock for renewing the access to Pleo: {error.strerror or error}") from error


def _folder() -> Path:
    """The folder of lock files: the same for every program of this user, and closed to others."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        root = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
        folder = root / "pleo-export"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PleoConfigurationError(
            f"renewing the access to Pleo needs a folder for its lock, and there is none: {why} (set XDG_STATE_HOME)"
        ) from error
    if os.name == "posix":
        if found.st_uid != os.geteuid():
            raise PleoConfigurationError(f"{folder} belongs to another user (set XDG_STATE_HOME)")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    return folder
