"""Addresses that a key may be sent to."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit


def usable_base_url(value: str, *, example: str, is_http_url: Callable[[str], bool], plain_http: bool = False) -> str:
    """The address without a slash at the end; raises ValueError, one line, when a key must not be sent there.

    `is_http_url` says whether the HTTP library takes it. Plain http is for this machine alone, unless `plain_http`.
    """
    text = value.strip().rstrip("/")
    no_url = f"not a URL: it should look like {example}"
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - raises ValueError for a port that is none
        host.encode("idna")  # the resolver does it too, and fails with no network error
    except ValueError as error:
        raise ValueError(no_url) from error
    odd = not is_http_url(text) or not (text.isascii() and text.isprintable()) or " " in text or "\\" in text
    if parts.scheme not in {"http", "https"} or not host or odd:
        raise ValueError(no_url)
    if parts.username is not None or parts.password is not None or "?" in text or "#" in text:
        raise ValueError("it may hold a host and a path only: no user name, password, query or fragment")
    if not plain_http and is_unencrypted(text):
        raise ValueError(
            "plain http would send the key readable over the network: use https (http is for loopback only)"
        )
    return text


def is_unencrypted(url: str) -> bool:
    """Whether what is sent to a usable address passes a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
