"""The embedded ledger: double-entry books of one Pleo company in one SQLite file, for those without an ERP.

What a reader of the file finds in it, its settings and its modules: README.md beside this file.
"""

from blocks.erp.ledger.ledger import Ledger
from blocks.erp.ledger.reader import company_of

__all__ = ["Ledger", "company_of"]
