"""The embedded ledger: double-entry books of one Pleo company in one SQLite file, for those without an ERP.

What a reader of the file finds in it:

`journal`    the documented view, one row a line, in the order of recording:
             `accounting_entry_id, external_id, job_id, posting_date, account, description, currency, debit_minor,
             credit_minor, state`. Amounts are in minor units (`company.minor_units`), one of the two is 0;
             `posting_date` is ISO 8601, `account` the account's code, `state` is draft or posted.
`open_item`  the other documented view, one row a document of accounts payable: `external_id, accounting_entry_id,
             vendor, kind, invoice_number, currency, owed_minor, open_minor, state`.
`entry`      one row an expense: what `journal` shows, and company, item type, original date, reference, amount,
             journal, supplier amount and currency, details (JSON), rounding, and when it was recorded.
`line`       its lines: what `journal` shows, and text, tax code, whether it is tax, supplier amount, the amount in the
             company's currency on the same side, the number of its document; `line_dimension` their dimensions.
`document`   its bill, credit note, payment or refund, each balanced by itself; `settlement` which of them settle each
             other; `attachment` the receipts that hang on it.
`account`, `tax_code`, `dimension`, `vendor`   what has been named so far, or what the charts have (`source`, `active`);
`period`, `rate`   the accounting periods and exchange rates; `chart` the kinds that were given a chart.

Beside `books.sqlite` stand `books.beancount`, written anew after each job for `bean-check` and Fava, and the folder
`books-receipts` with the attachments, each under its SHA-256.
"""

from blocks.erp.ledger.ledger import Ledger
from blocks.erp.ledger.reader import company_of

__all__ = ["Ledger", "company_of"]
