"""Taking secrets out of texts that others wrote, in whichever usual form they are quoted there."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_SHORTEST = 8
"""A shorter secret is hidden as it stands only: what it is turned into may be found anywhere."""

_UNMISTAKABLE = 16
"""Only a secret as long as real ones is taken out of data: a shorter one may be a word, a field or an amount there."""


class Hiding:
    """Replaces these secrets by `***`: as they are, and as JSON, Python, HTML, addresses, base64 and hex have them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        given = [secret for secret in secrets if secret]
        self._forms = _longest_first(form for secret in given for form in _forms(secret))
        unmistakable = (one for one in given if len(one) >= _UNMISTAKABLE and not one.isalpha() and not one.isdigit())
        self._bytes = [
            (form.encode(), HIDDEN.encode()) for form in _longest_first(f for one in unmistakable for f in _forms(one))
        ]

    def __repr__(self) -> str:
        return f"Hiding({len(self._forms)} forms)"

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def in_bytes(self, body: bytes) -> bytes:
        """The body of an answer without the secrets; those that may be anything in it are left."""
        for form, hidden in self._bytes:
            body = body.replace(form, hidden)
        return body


def _longest_first(forms: Iterable[str]) -> list[str]:
    return sorted(set(forms), key=len, reverse=True)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    if len(secret) < _SHORTEST:
        return
    raw = secret.encode()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield secret[::-1]
    yield raw.hex()
    yield raw.hex().upper()
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)
    for before in range(3):  # wherever in an encoded text it stands, as in that of "Bearer KEY"
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(bytes(before) + raw).decode().rstrip("=")
            first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
            yield whole[first:last]
