"""Odoo's web client as a bookkeeper uses it: logs in, follows a link, reads what is shown. Also as a command:

python -m tests.support.erp.odoo.pages --link LINK --password FILE --picture FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.chromium import CHROMIUM, MISSING, BrowserError, Page, a_page

_TRIES = 5
_LOGIN = "document.querySelector('form.oe_login_form')"
_FORM = "document.querySelector('.o_form_view .o_field_widget')"
_ITEMS = (
    "[...document.querySelectorAll('.o_form_view .nav-link')].find(one => one.innerText.trim() === 'Journal Items')"
)
_READ = """
(() => {
    const shown = element => element && element.offsetParent !== null;
    const text = element => (element.value || element.innerText || '').replace(/\\s+/g, ' ').trim();
    const fields = {};
    for (const one of document.querySelectorAll('.o_form_view .o_field_widget[name]'))
        if (shown(one) && !one.closest('table')) {
            const input = one.querySelector('input');
            fields[one.getAttribute('name')] = text(input && input.value ? input : one);
        }
    const rows = [...document.querySelectorAll('.o_form_view .tab-pane.active tr.o_data_row')].filter(shown).map(row =>
        Object.fromEntries([...row.querySelectorAll('td[name]')].map(cell => [cell.getAttribute('name'), text(cell)])));
    const state = document.querySelector('.o_statusbar_status .o_arrow_button_current');
    return {state: state ? text(state) : '', fields, rows};
})()
"""


@dataclass(frozen=True)
class Form:
    """A record as it is shown: its state, its fields by name, the rows of the open tab by their columns' names."""

    state: str
    fields: dict[str, str]
    rows: list[dict[str, str]]


def log_in(page: Page, link: str, user: str, password: str) -> None:
    """Follow a link as somebody who has not logged in yet. The record is shown afterwards."""
    page.open(link)
    for _ in range(_TRIES):
        page.wait_for(f"{_LOGIN} !== null || {_FORM} !== null", within_s=120)
        if page.run(f"{_FORM} !== null"):
            return
        for name, text in (("login", user), ("password", password)):
            page.run(f"document.querySelector('#{name}').value = {json.dumps(text)}")
        page.run(f"{_LOGIN}.requestSubmit()")
        with suppress(AssertionError):  # the form may not have been ready, as for a person who is too fast
            page.wait_for(f"{_FORM} !== null", within_s=40)
            return
    page.wait_for(f"{_FORM} !== null")


def shown(page: Page, link: str, *, journal_items: bool = True) -> Form:
    """The record of a link, with its journal items."""
    if not page.run("location.href").startswith(link):
        page.open(link)
        page.wait_for(f"{_FORM} !== null", within_s=120)
    if journal_items:
        page.wait_for(f"Boolean({_ITEMS})")
        page.run(f"{_ITEMS}.click()")
        page.wait_for("document.querySelector('.o_form_view .tab-pane.active td[name=debit]') !== null")
    return Form(**page.run(_READ))


def main(arguments: Sequence[str] | None = None) -> int:
    """Show a record and take its picture; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.erp.odoo.pages",
        description="Opens a link that Pleo was given in Odoo's web client, in a Chromium without a screen, and says "
        "what is there to be seen.",
        allow_abbrev=False,
    )
    parser.add_argument("--link", required=True, metavar="LINK", help="the link of an expense")
    parser.add_argument("--user", default="pleo", help="who logs in (default: %(default)s)")
    parser.add_argument("--password", type=Path, required=True, metavar="FILE", help="the file with the password")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where a picture of the page goes, a PNG")
    options = parser.parse_args(arguments)
    if CHROMIUM is None:
        print(f"{parser.prog}: {MISSING}", file=sys.stderr)
        return 1
    try:
        with a_page() as page:
            page.resize(1800, 1000)
            log_in(page, options.link, options.user, options.password.read_text(encoding="utf-8"))
            form = shown(page, options.link)
            if options.picture is not None:
                page.picture(options.picture)
    except (AssertionError, BrowserError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(f"  {'state':<16}{form.state}")
    for label, text in form.fields.items():
        if text:
            print(f"  {label:<16}{text}")
    for row in form.rows:
        print("  " + ", ".join(f"{title} {text}" for title, text in row.items() if text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
