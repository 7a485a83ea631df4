"""What can go wrong in the sandbox.

    SandboxError       the sandbox cannot be set up or asked so; the message is one line for its user
    ├── NotInSandbox   it has no such job, accounting entry or credential
    └── NotNow         the state of a job, or a job that holds an entry, does not allow it
    ApiError           one answer of the API that is not a success: status, type and message

The first three are for who runs the sandbox, the last one is for who calls its API.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox cannot start, or does not know what it was asked for. The message is one line for the user."""


class NotInSandbox(SandboxError):
    """The sandbox has no such job, accounting entry or credential."""


class NotNow(SandboxError):
    """The state of a job, or a job that holds an accounting entry, does not allow what was asked."""


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


def forbidden_organization(organization_id: str) -> ApiError:
    """An organisation that these credentials may not see, or that does not exist."""
    return ApiError(403, "FORBIDDEN", f"These credentials give no access to organization {organization_id}")


def scope_missing(scope: str) -> ApiError:
    """A call that these credentials were not allowed."""
    return ApiError(403, "FORBIDDEN", f"These credentials have not the scope {scope}")


def already_in_progress(message: str) -> ApiError:
    """A new job that another one of the company stands against."""
    return ApiError(409, "EXPORT_ALREADY_IN_PROGRESS", message)


def transition_refused(why: str) -> ApiError:
    """An event that the job, or its company's other job, does not allow."""
    return ApiError(422, "INVALID_EXPORT_JOB_STATUS_CHANGE", f"Export Job status change failed: {why}")


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
