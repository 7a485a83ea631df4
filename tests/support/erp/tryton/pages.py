"""Tryton's web client as a bookkeeper uses it: logs in, follows a link, reads what is shown. Also as a command:

python -m tests.support.erp.tryton.pages LINK --password FILE --picture FILE
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.chromium import CHROMIUM, MISSING, BrowserError, Page, a_page
from tests.support.processes import until

_IDLE = "Boolean(window.Sao && jQuery.active === 0 && Sao.Tab.tabs.get_current())"
_READ = """
(() => {
    const shown = element => element.offsetParent !== null;
    const tab = document.querySelector('#tabcontent > .tab-pane.active');
    const url = decodeURIComponent(Sao.Tab.tabs.get_current().get_url());
    const fields = {};
    for (const one of tab.querySelectorAll('input[aria-labelledby], select[aria-labelledby]')) {
        const label = document.getElementById(one.getAttribute('aria-labelledby'))?.innerText.replace(/:\\s*$/, '');
        if (shown(one) && label && !(label in fields))
            fields[label] = one.tagName === 'SELECT' ? one.selectedOptions[0]?.text ?? '' : one.value;
    }
    const row = line => Object.fromEntries([...line.querySelectorAll('td[data-title]')].filter(shown).map(
        cell => [cell.dataset.title.replace(/:\\s*$/, ''), cell.innerText.replace(/\\s+/g, ' ').trim()]));
    return {record: url.split(';')[0], fields, rows: [...tab.querySelectorAll('tbody tr')].filter(shown).map(row)};
})()
"""


@dataclass(frozen=True)
class Form:
    """A record as it is shown: its fields by their labels, and the rows of its tables by the titles of the columns.

    Only what is to be seen is in it. `record` is "model/account.move/12".
    """

    record: str
    fields: dict[str, str]
    rows: list[dict[str, str]]


def log_in(page: Page, link: str, user: str, password: str) -> None:
    """Follow a link as somebody who has not logged in yet. The record is shown afterwards."""
    page.open(link)
    page.wait_for("document.activeElement?.id === 'login'")
    page.type(user)
    _enter_until(page, "document.activeElement?.type === 'password'")
    page.type(password)
    _enter_until(page, "document.querySelector('#user-preferences a') !== null")


def _enter_until(page: Page, script: str) -> None:
    """As a person does before whom nothing happens: the dialog may not have listened yet when Enter was pressed."""
    for _ in range(10):
        with suppress(AssertionError):
            page.wait_for(script, within_s=6)
            return
        page.press_enter()
    page.wait_for(script, within_s=6)


def shown(page: Page, link: str) -> Form:
    """The record of a link, once nothing of it is on its way any more."""
    record = link.partition("#")[2].partition("/")[2]
    if not page.run("location.href").startswith(link):
        page.open(link)
    last: Form | None = None

    def settled() -> Form | None:
        nonlocal last
        form = Form(**page.run(_READ)) if page.run(_IDLE) else None
        before, last = last, form
        return form if form is not None and form == before and form.record == record and form.fields else None

    form = until(settled, within_s=60, every_s=0.3, otherwise=f"the record of {link} was not shown")
    assert form is not None
    return form


def main(arguments: Sequence[str] | None = None) -> int:
    """Show a record and take its picture; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.erp.tryton.pages",
        description="Opens a link that Pleo was given in Tryton's web client, in a Chromium without a screen, and says "
        "what is there to be seen.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--link", metavar="LINK", help="the link of an expense")
    which.add_argument("--sandbox", metavar="URL", help="a Pleo sandbox: the first move of its last job")
    parser.add_argument("--user", default="pleo", help="who logs in (default: %(default)s)")
    parser.add_argument("--password", type=Path, required=True, metavar="FILE", help="the file with the password")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where a picture of the page goes, a PNG")
    options = parser.parse_args(arguments)
    link = options.link or _first_move(options.sandbox)
    problem = MISSING if CHROMIUM is None else None if link else f"{options.sandbox} was given no link to a move yet"
    if problem is not None:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 1
    print(link)
    try:
        with a_page() as page:
            page.resize(1800, 1000)
            log_in(page, link, options.user, options.password.read_text(encoding="utf-8"))
            form = shown(page, link)
            if options.picture is not None:
                page.picture(options.picture)
    except (AssertionError, BrowserError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    for label, text in form.fields.items():
        if text:
            print(f"  {label:<16}{text}")
    for row in form.rows:
        print("  " + ", ".join(f"{title} {text}" for title, text in row.items() if text))
    return 0


def _first_move(sandbox: str) -> str | None:
    """The first link to a move that a sandbox was given for an item of its last job."""
    with httpx.Client(base_url=sandbox, trust_env=False) as pleo:
        jobs = pleo.get("/sandbox/jobs").raise_for_status().json()["jobs"]
        items = pleo.get(f"/sandbox/jobs/{jobs[-1]['id']}").raise_for_status().json()["items"] if jobs else []
    return next((one["external_url"] for one in items if "account.move/" in (one["external_url"] or "")), None)


if __name__ == "__main__":
    sys.exit(main())
