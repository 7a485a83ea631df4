"""Export item → journal entry or bill, by pure functions: no I/O, no clock, no Prefect.

In the order of Pleo's own step 5: method, accounts, data (amounts, tax, dimensions, text), period, posting.
"""

from flows.bookkeeping.context import BookingContext
from flows.bookkeeping.entry import book

__all__ = ["BookingContext", "book"]
