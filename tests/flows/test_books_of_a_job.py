"""The books of whole jobs of everything, checked by other people's code: Beancount."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

from beancount import loader
from beancount.core.data import Directive, Open, Transaction

from flows.demo import ITEMS, demo_settings
from flows.outcome import JobReport
from tests.support.exporting import Office, office


async def test_beancount_accepts_the_books_and_computes_the_sums_of_the_journal(tmp_path: Path) -> None:
    with office(tmp_path) as at_work:
        jobs = [await _export(at_work, seed) for seed in (1, 2, 3)]
        directives, errors, _ = loader.load_file(str(at_work.books.with_suffix(".beancount")))
        assert errors == []
        assert _by_beancount(directives) == _by_the_view(at_work)
        wallets = {"DKK": "5820", "EUR": "5821", "SEK": "5822", "GBP": "5823"}
        assert set(wallets.values()) < {account for account, _ in _by_the_view(at_work)}
        assert all(job.totals == job.books == job.reported and job.totals.keys() == wallets.keys() for job in jobs)


async def test_what_is_open_adds_up_to_what_the_vendors_documents_left_on_payable_accounts(tmp_path: Path) -> None:
    with office(tmp_path) as at_work:
        for seed in (1, 2, 3):
            await _export(at_work, seed)
        owed = dict(at_work.journal("SELECT currency, sum(open_minor) FROM open_item GROUP BY 1"))  # type: ignore[arg-type]
        account = dict(  # type: ignore[var-annotated]
            at_work.journal(  # type: ignore[arg-type]
                "SELECT currency, sum(credit_minor - debit_minor) FROM journal "
                "WHERE account IN (SELECT payable_account FROM document) "
                "AND external_id IN (SELECT external_id FROM open_item) GROUP BY 1"
            )
        )
        assert owed == account
        assert any(account.values())


async def _export(at_work: Office, seed: int) -> JobReport:
    settings = demo_settings(at_work.books)
    at_work.sandbox.add_job(items=ITEMS, seed=seed, showcase=True)
    report = await at_work.export(erp=settings.connect(at_work.books.parent), settings=settings)
    return report.jobs[0]


def _by_the_view(at_work: Office) -> Counter[tuple[str, str]]:
    """Debit less credit by account and currency, in hundredths, without what comes to nothing."""
    rows = at_work.journal("SELECT account, currency, sum(debit_minor - credit_minor) FROM journal GROUP BY 1, 2")
    return Counter({(str(account), str(currency)): minor for account, currency, minor in rows if minor})  # type: ignore[misc]


def _by_beancount(directives: list[Directive]) -> Counter[tuple[str, str]]:
    codes = {one.account: one.meta["code"] for one in directives if isinstance(one, Open)}
    sums: Counter[tuple[str, str]] = Counter()
    for one in directives:
        for posting in one.postings if isinstance(one, Transaction) else ():
            hundredths = posting.units.number * Decimal(100)
            assert hundredths == int(hundredths)
            sums[codes[posting.account], posting.units.currency] += int(hundredths)
    return Counter({key: minor for key, minor in sums.items() if minor})
