"""TLS towards everybody that is asked: the one place where its contexts are made, always verifying.

Nothing in the environment, a setting or a block switches verification off. Python's own contexts also write down the
keys of all traffic where SSLKEYLOGFILE says so, with which anybody can read the credentials in it; these do not.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import certifi

_TRANSIENT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class CannotVerify(Exception):
    """The authorities that certificates are to be verified by cannot be read; the message is one line."""


def verifying_tls(environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """TLS that verifies certificate and name, by the authorities of SSL_CERT_FILE or SSL_CERT_DIR, else certifi's.

    Raises CannotVerify.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file, folder = environment.get("SSL_CERT_FILE", ""), environment.get("SSL_CERT_DIR", "")
    if not file and folder:
        if not Path(folder).is_dir():
            raise CannotVerify(f"SSL_CERT_DIR: {folder} is no folder")
        context.load_verify_locations(capath=folder)
        return context
    try:
        context.load_verify_locations(file or certifi.where())
    except ssl.SSLError:
        raise CannotVerify(f"{_source(file)} holds no certificate of an authority") from None
    except OSError as error:
        raise CannotVerify(f"{_source(file)}: {error.strerror or 'it cannot be read'}") from None
    return context


def _source(file: str) -> str:
    return f"SSL_CERT_FILE: {file}" if file else certifi.where()


def tls_problem(error: BaseException | None) -> str | None:
    """Why the other side was not believed to be who it is, in a few words; None where an error is of another kind.

    A certificate that does not hold, or no TLS at all: what waiting does not cure.
    """
    for one in causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return (one.verify_message or "its certificate does not hold").rstrip(".")
        if isinstance(one, ssl.SSLError) and not isinstance(one, _TRANSIENT):
            return (one.reason or "no TLS").lower().replace("_", " ")
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and all that lies behind it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [one.__cause__, one.__context__]
