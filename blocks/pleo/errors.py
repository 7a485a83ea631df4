"""What can go wrong between us and Pleo, classed by what the runner must do.

    PleoError
    ├── PleoConfigurationError     wrong set-up: say what to change, touch nothing
    │   ├── PleoAuthenticationError    401: the key or token is wrong or was revoked, or OAuth does not renew it
    │   ├── PleoPermissionError        403: the credentials may not do this; never repeated
    │   ├── NotPleo                    the base URL answers, but not as Pleo does
    │   └── NotTrusted                 whoever is there cannot prove to be Pleo: nothing was sent
    ├── PleoRejected               4xx: Pleo understood and says no (`type` is Pleo's own word)
    │   ├── PleoNotFound               404 of a job or item
    │   ├── AnswerTooLarge             an answer with more bytes than we take: ask for fewer records at once
    │   ├── JobFinished                422: the job is over, expired or was finished by another: stop cleanly
    │   ├── MissingContraAccounts      400: the company's contra accounts are not set up in Pleo
    │   └── AlreadyInProgress          409: the company has a job under way
    ├── PleoUnavailable            transient, and all tries are used up: leave the job resumable
    │   └── PagingBroken               a list that does not come to an end as the contract says
    ├── PleoOutcomeUnknown         a call that must not be repeated blindly got no readable answer
    └── FileNotFetched             a receipt did not come: a matter of its item, never of the job
        ├── FileLinkDead               the link is no longer good: a fresh page brings a fresh one
        ├── FileTooLarge               it has more bytes than we take
        ├── FileUnsafe                 an address that we do not go to; never repeated
        └── FileUnavailable            no usable answer, all tries used up

Messages are one line, hold no secret, and cut what Pleo said to a length that fits a log. Links to files are secrets:
of those, messages name the host alone.
"""

from __future__ import annotations

from blocks.text import one_line


class PleoError(Exception):
    """Something went wrong between us and Pleo. The message is one line for the user."""


class PleoConfigurationError(PleoError):
    """The credentials or the base URL cannot be used; the message says what to change."""


class PleoAuthenticationError(PleoConfigurationError):
    """Pleo answered 401, or does not renew the access that a user allowed."""


class PleoPermissionError(PleoConfigurationError):
    """Pleo answered 403."""


class NotPleo(PleoConfigurationError):
    """The base URL answers, but its first answer is not one of Pleo's."""


class NotTrusted(PleoConfigurationError):
    """No TLS, or a certificate that does not hold, where Pleo should be."""


class PleoRejected(PleoError):
    """Pleo understood the call and refused it: `status` is the HTTP status, `type` Pleo's error type."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        self.status = status
        self.type = one_line(type_, 80)
        self.reason = one_line(message, 400)
        super().__init__(f"Pleo refused: {self.type} (HTTP {status}){': ' + self.reason if self.reason else ''}")

    def __reduce__(self) -> tuple[type[PleoRejected], tuple[int, str, str]]:
        return type(self), (self.status, self.type, self.reason)  # Prefect pickles what a task raises


class PleoNotFound(PleoRejected):
    """The job or item does not exist, or not for these credentials."""


class AnswerTooLarge(PleoRejected):
    """Pleo's answer has more bytes than we take."""


class JobFinished(PleoRejected):
    """The job can take nothing more: it expired, or it was finished elsewhere."""


class MissingContraAccounts(PleoRejected):
    """The company's contra accounts are not complete in Pleo; the message names the currencies."""


class AlreadyInProgress(PleoRejected):
    """The company has an export job under way already."""


class PleoUnavailable(PleoError):
    """Pleo did not answer as it should, for as many tries as a call is given."""


class PagingBroken(PleoUnavailable):
    """A list's cursor is missing, repeats, or leads nowhere."""


class PleoOutcomeUnknown(PleoError):
    """A call was sent and no readable answer came back: it may have been carried out.

    `retry_after_s` is how many seconds the answer asks to wait, where it says so.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FileNotFetched(PleoError):
    """A receipt could not be downloaded. The message names the host at most, as the link itself is a permission."""


class FileLinkDead(FileNotFetched):
    """The host says that there is nothing at this link, or not any more."""


class FileTooLarge(FileNotFetched):
    """The file is larger than the limit, whatever was said of its size."""


class FileUnsafe(FileNotFetched):
    """The link, or a redirect of it, leads where we do not go."""


class FileNoReceipt(FileNotFetched):
    """What lies behind the link is no receipt, and will be none: `what` says what it is instead, for people."""

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


class FileUnavailable(FileNotFetched):
    """The host did not bring the file, for as many tries as a file is given."""
