"""The choices of the settings that have a name each: what an accountant decides once."""

from __future__ import annotations

from enum import StrEnum


class MoneyBackSign(StrEnum):
    """Which sign Pleo gives to money that comes back (refunds, top-ups, returned payments)."""

    EITHER = "either"
    NEGATIVE = "negative"
    POSITIVE = "positive"


class AllFailedEvent(StrEnum):
    """How a job ends of which every item failed."""

    FAILED = "failed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"


class ReceiptProxy(StrEnum):
    """What a proxy is asked for, where the environment names one for the hosts of receipts."""

    PINNED = "pinned"
    BY_NAME = "by_name"


class ClosedPeriod(StrEnum):
    """What becomes of an expense whose date lies in a closed period."""

    FAIL = "fail"
    NEXT_OPEN = "next_open"
    TODAY = "today"


class ChangedExpense(StrEnum):
    """What becomes of the entry of an expense that was changed in Pleo, and exported again."""

    UPDATE = "update"
    REVERSE = "reverse"
    FAIL = "fail"


class Attachments(StrEnum):
    """Which receipts an expense is booked with: all of them or it fails, those that come, or none at all."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    SKIP = "skip"


class UnknownVendor(StrEnum):
    """What becomes of a bill whose vendor the accounting system does not know, or has blocked."""

    FAIL = "fail"
    FALLBACK = "fallback"


class Settlement(StrEnum):
    """By what a bill and its payment are known to belong together, when they come as two expenses."""

    INVOICE_NUMBER = "invoice_number"
    NEVER = "never"


class ReverseChargeCheck(StrEnum):
    """What becomes of an expense whose reverse charge is not its rate of what was paid."""

    FAIL = "fail"
    WARN = "warn"


class DuplicateInvoice(StrEnum):
    """What becomes of a second bill of one vendor with the number, amount and currency of another one."""

    FAIL = "fail"
    WARN = "warn"
