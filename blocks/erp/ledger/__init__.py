"""The embedded ledger: double-entry books of one Pleo company in one SQLite file, for those without an ERP.

What a reader of the file finds in it:

`journal`  the documented view, one row a line, in the order of recording:
           `accounting_entry_id, external_id, job_id, posting_date, account, description, currency, debit_minor,
           credit_minor, state`. Amounts are hundredths of the currency's unit, one of the two is 0; `posting_date`
           is ISO 8601, `account` the account's code, `state` is draft or posted.
`entry`    one row an expense: what `journal` shows, and company, item type, original date, reference, amount,
           supplier amount and currency, and when it was recorded.
`line`     its lines: what `journal` shows, and text, tax code, supplier amount; `line_dimension` their dimensions.
`account`, `tax_code`, `dimension`   what has been named so far; `period`  closed stretches of time, none at first.

Beside `books.sqlite` stands `books.beancount`, written anew after each job for `bean-check` and Fava.
"""

from blocks.erp.ledger.ledger import Ledger
from blocks.erp.ledger.reader import company_of

__all__ = ["Ledger", "company_of"]
