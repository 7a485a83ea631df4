"""Settles an entry's documents with each other: the bill with its payment. License: MIT."""

from collections import defaultdict

from trytond.pool import Pool
from trytond.transaction import without_check_access


def settle(entries):
    """Reconciles, in each entry's documents, the payable lines of one account and party that are exactly opposite.

    What is not, as when the rates of two days differ, stays open, for a person to settle with the difference.
    """
    together = [lines for documents in entries for lines in _payable(documents) if _opposite(lines)]
    if not together:
        return
    Pool().get("account.move.line").reconcile(*together)
    bills = [one for documents in entries for one in documents if one.__name__ == "account.invoice"]
    if bills:
        with without_check_access():  # as Tryton's queue does once more later, which a server that dies never comes to
            Pool().get("account.invoice").process(bills)


def _payable(documents):
    """The open lines of the documents on payable accounts, those of one account and party together."""
    found = defaultdict(list)
    for document in documents:
        move = document.move if document.__name__ == "account.invoice" else document
        for line in move.lines:
            if line.account.reconcile and line.account.type.payable and not line.reconciliation:
                found[line.account, line.party].append(line)
    return found.values()


def _opposite(lines):
    """Whether lines of several documents leave nothing open, in the company's currency and in their own."""
    if len({line.move for line in lines}) < 2 or len({line.second_currency for line in lines}) > 1:
        return False
    own = sum(line.amount_second_currency or 0 for line in lines)
    return not own and not sum(line.debit - line.credit for line in lines)
