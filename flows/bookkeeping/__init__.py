"""Export item → journal entry, by pure functions: no I/O, no clock, no Prefect.

In the order of Pleo's own step 5: direction (which sides the type has), amounts and tax, accounts, text, date.
"""

from flows.bookkeeping.journal import Books, book

__all__ = ["Books", "book"]
