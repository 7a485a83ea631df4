"""The front half of the authorization-code grant: the address that the user opens, and its one-time secrets."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to be authorised. The verifier proves later that the code was meant for us (RFC 7636)."""

    redirect_uri: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)  # 86 of 43 to 128 characters

    @property
    def challenge(self) -> str:
        """The SHA-256 of the verifier, in base64url without padding."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def url(self, authorization_server: str, client_id: str, scopes: str) -> str:
        """Where the user allows it."""
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self.redirect_uri,
            "scope": scopes,
            "state": self.state,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        }
        return f"{authorization_server}/oauth/authorize?{urlencode(query)}"
