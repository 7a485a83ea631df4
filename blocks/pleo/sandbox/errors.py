"""What can go wrong in the sandbox.

    SandboxError       the sandbox cannot be set up or asked so; the message is one line for its user
    └── NotInSandbox   it has no such job or accounting entry
    ApiError           one answer of the API that is not a success: status, type and message

The first two are for who runs the sandbox, the last one is for who calls its API.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox cannot start, or does not know what it was asked for. The message is one line for the user."""


class NotInSandbox(SandboxError):
    """The sandbox has no such job or accounting entry."""


class ApiError(Exception):
    """An answer of the API that is not a success, as `{type, message}` with an HTTP status.

    The contract names the types of its own errors. Those of 400, 401, 403, 405 and 429 are not published: the names
    used here are the sandbox's, and a client does well not to depend on them.
    """

    def __init__(self, status: int, error_type: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.headers = headers or {}


def bad_request(message: str) -> ApiError:
    """A request that the contract does not allow."""
    return ApiError(400, "BAD_REQUEST", message)


def forbidden(company_id: str) -> ApiError:
    """A company that these credentials may not see, or that does not exist: Pleo would not tell which."""
    return ApiError(403, "FORBIDDEN", f"These credentials give no access to company {company_id}")


def scope_missing(scope: str) -> ApiError:
    """A call that the user did not allow this access token."""
    return ApiError(403, "FORBIDDEN", f"This access token has not the scope {scope}")


def job_not_found() -> ApiError:
    """No export job has this id."""
    return ApiError(404, "EXPORT_NOT_FOUND", "Export job not found")


def job_finished() -> ApiError:
    """The export job takes no more reads of its data, nor updates of its items."""
    return ApiError(422, "EXPORT_JOB_STATUS_UNPROCESSABLE", "Export job is finished")


def missing_contra_accounts(currencies: list[str]) -> ApiError:
    """Contra accounts are not set up in Pleo for wallets of these currencies."""
    names = ", ".join(currencies)
    return ApiError(400, "MISSING_CONTRA_ACCOUNTS", f"Contra accounts not fully configured, missing for: {names}")
