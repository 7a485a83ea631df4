"""What the sandbox's books refuse, each once: the type of a failure, and what its reason says."""

from __future__ import annotations

from collections.abc import Iterable

FAILURES = """
accounting_system_validation_failure | The period of 2026-08-14 is closed
invalid_configuration | Account No. 6666 does not exist in the Accounting System. Check Category.
invalid_configuration | Tag with code P-9999 does not exist on the Accounting System. Check the Tag.
invalid_configuration | Tax Code I99 does not exist in the Accounting System
missing_configuration | Account of the category on line 1 missing: provide account of the category on line 1
missing_configuration | Account reimbursement contra missing: provide account reimbursement contra
missing_configuration | Journal credit notes missing: provide journal credit notes in the configurations
receipt_download_failure | Failed to download the attachment file from Pleo. Re-export the expense.
receipt_file_size_limit_exceeded | Attachment file size exceeds accounting system limits.
validation_failure | The amounts do not add up
validation_failure | The bookkeeping method 'accounts_receivable' is not known
validation_failure | The expense has no accounting lines
validation_failure | The expense has no receipt
validation_failure | The expense is in 'XXX'
validation_failure | The item type 'gift_card_purchase' is not known
validation_failure | The subtype 'reimbursement_to_charity' of direct_reimbursement is not known
validation_failure | , which is no whole number
vendor_unknown | Selected vendor cannot be processed because it does not exist or is currently blocked.
vendor_unknown | Selected vendor cannot be processed because it does not exist or is currently blocked.
"""
"""One line a failure; the last one is for a vendor that is blocked."""


def told(failures: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of `FAILURES` that these failures are, in their order; what is none of them as it is."""
    lines = FAILURES.strip().splitlines()
    found_lines = []
    for type_, reason in failures:
        found = [line for line in lines if line.split(" | ")[0] == type_ and line.split(" | ")[1] in reason]
        found_lines.append(found[0] if found else f"{type_} | {reason}")
    return sorted(found_lines)


def expected(*, without: tuple[str, ...] = ()) -> list[str]:
    """The lines of `FAILURES`, in their order, without those that have one of these words."""
    lines = FAILURES.strip().splitlines()
    return sorted(line for line in lines if not any(word in line for word in without))
