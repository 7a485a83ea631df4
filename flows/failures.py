"""Why an item or a job fails, in Pleo's words; and the one table from the ERP's errors to those words."""

from __future__ import annotations

from dataclasses import dataclass

from blocks.erp.errors import ConfigurationProblem, RefusalKind, Refused
from blocks.pleo.models import ItemFailure, JobFailure
from blocks.text import one_line

MAX_REASON = 500

VENDOR_UNKNOWN = (
    "Selected vendor cannot be processed because it does not exist or is currently blocked. "
    "Please verify the vendor\N{RIGHT SINGLE QUOTATION MARK}s status in the accounting system and try again."
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that cannot be booked: Pleo's type, and a reason that an accountant can act on."""

    type: ItemFailure
    reason: str


class ItemFails(Exception):
    """Raised inside bookkeeping where an item cannot be booked; `book` turns it into its Failure."""

    def __init__(self, type_: ItemFailure, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(type_, one_line(reason, MAX_REASON))


class JobFails(Exception):
    """The whole job cannot be done as things are set up: it is ended as failed, with this type and reason."""

    def __init__(self, type_: JobFailure, reason: str) -> None:
        self.type = type_
        self.reason = one_line(reason, MAX_REASON)
        super().__init__(self.reason)


def missing(what: str) -> ItemFails:
    """An account or journal that is not set up, in the text of Pleo's table."""
    return ItemFails(
        ItemFailure.MISSING_CONFIGURATION, f"{what} missing: provide {lower_first(what)} in the configurations"
    )


def invalid(reason: str) -> ItemFails:
    """An item that this integration itself rejects."""
    return ItemFails(ItemFailure.VALIDATION, reason)


def lower_first(text: str) -> str:
    """The text with its first letter in lower case, for use inside a sentence."""
    return text[:1].lower() + text[1:]


def refusal(refused: Refused) -> Failure:
    """The failure that Pleo's table (workflow, step 6) has for an ERP's refusal of one entry."""
    subject = one_line(refused.subject, 120)
    match refused.kind:
        case RefusalKind.UNKNOWN_ACCOUNT:
            reason = f"Account No. {subject} does not exist in the Accounting System. Check Category."
            return Failure(ItemFailure.INVALID_CONFIGURATION, reason)
        case RefusalKind.UNKNOWN_TAX_CODE:
            reason = f"Tax Code {subject} does not exist in the Accounting System"
            return Failure(ItemFailure.INVALID_CONFIGURATION, reason)
        case RefusalKind.UNKNOWN_DIMENSION:
            reason = f"Tag with code {subject} does not exist on the Accounting System. Check the Tag."
            return Failure(ItemFailure.INVALID_CONFIGURATION, reason)
        case RefusalKind.UNKNOWN_VENDOR:
            return Failure(ItemFailure.VENDOR_UNKNOWN, VENDOR_UNKNOWN)
        case RefusalKind.MISSING_JOURNAL:
            return missing(f"Journal {subject}").failure
        case RefusalKind.ATTACHMENT_TOO_LARGE:
            return Failure(ItemFailure.RECEIPT_SIZE, "Attachment file size exceeds accounting system limits.")
        case RefusalKind.ATTACHMENT_REFUSED:
            return Failure(ItemFailure.RECEIPT_UPLOAD, one_line(refused.message, MAX_REASON))
        case RefusalKind.TIMED_OUT:
            return Failure(ItemFailure.ERP_TIMEOUT, one_line(refused.message, MAX_REASON))
        case RefusalKind.UNBALANCED:
            return Failure(ItemFailure.VALIDATION, one_line(refused.message, MAX_REASON))
        case _:
            return Failure(ItemFailure.ERP_VALIDATION, one_line(refused.message, MAX_REASON))


JOB_FAILURES: dict[ConfigurationProblem, JobFailure] = {
    ConfigurationProblem.INVALID: JobFailure.INVALID_CONFIGURATION,
    ConfigurationProblem.MISSING: JobFailure.MISSING_CONFIGURATION,
    ConfigurationProblem.AUTHENTICATION: JobFailure.ERP_AUTHENTICATION,
    ConfigurationProblem.PERMISSION: JobFailure.INVALID_CONFIGURATION,
    ConfigurationProblem.UNREACHABLE: JobFailure.ERP_UNREACHABLE,
}
"""How a job fails when the ERP cannot be used as it is set up (workflow, step 2)."""
