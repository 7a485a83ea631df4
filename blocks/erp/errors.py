"""What can go wrong at an accounting system, classed by what the runner must do.

    ErpError
    ├── ErpConfigurationError   wrong set-up: refuse before a job is touched, or fail the job in step 2
    ├── ErpBusy                 another run is at work on these books: end with a line, and with success
    ├── ErpLoginRefused         login refused, or revoked in mid-run: what is still open fails, and the job is closed
    ├── ErpUnavailable          transient and nothing was written: wait and try again
    │   └── ErpRateLimited      it asks for a pause; one longer than the job lives fails what is still open
    └── ErpOutcomeUnknown       a write may or may not have happened: look the entries up, then decide

A refusal of one *entry* is not an exception but a value (`Refused`): it never spoils its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from blocks.erp.entries import Recorded


class ErpError(Exception):
    """Something went wrong at the accounting system. The message is one line for the user."""


class ConfigurationProblem(StrEnum):
    """Why an accounting system cannot be used as it is set up."""

    INVALID = "invalid"
    MISSING = "missing"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    UNREACHABLE = "unreachable"


class ErpConfigurationError(ErpError):
    """The accounting system cannot be used as set up; the message says what to change."""

    def __init__(self, message: str, problem: ConfigurationProblem = ConfigurationProblem.INVALID) -> None:
        super().__init__(message)
        self.problem = problem


class ErpBusy(ErpError):
    """Another run holds these books; there is nothing for this one to do."""


class ErpUnavailable(ErpError):
    """The accounting system did not take the call, and wrote nothing."""


class ErpRateLimited(ErpUnavailable):
    """The accounting system asks for fewer calls. `clears_in_s` is in seconds, None where it does not say.

    Raised in the middle of `record`, it has the `outcomes` of the entries that came before, in their order.
    """

    def __init__(
        self, message: str, clears_in_s: float | None = None, outcomes: Sequence[Recorded | Refused] = ()
    ) -> None:
        super().__init__(message)
        self.clears_in_s = clears_in_s
        self.outcomes = tuple(outcomes)


class ErpLoginRefused(ErpError):
    """The accounting system does not take our login, or no longer; repeating does not help.

    Raised in the middle of `record`, it has the `outcomes` of the entries that came before, in their order.
    """

    def __init__(self, message: str, outcomes: Sequence[Recorded | Refused] = ()) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)


class ErpOutcomeUnknown(ErpError):
    """A write was sent and no answer came back: it may have happened."""


class RefusalKind(StrEnum):
    """Why an accounting system refuses one entry."""

    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_TAX_CODE = "unknown_tax_code"
    UNKNOWN_DIMENSION = "unknown_dimension"
    UNKNOWN_VENDOR = "unknown_vendor"
    MISSING_JOURNAL = "missing_journal"
    ATTACHMENT_TOO_LARGE = "attachment_too_large"
    ATTACHMENT_REFUSED = "attachment_refused"
    TIMED_OUT = "timed_out"
    CLOSED_PERIOD = "closed_period"
    UNBALANCED = "unbalanced"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Refused:
    """One entry that the accounting system does not take.

    `subject` names what is wrong (an account code, a tax code, a date); `message` is the system's own answer.
    """

    accounting_entry_id: str
    kind: RefusalKind
    subject: str
    message: str
