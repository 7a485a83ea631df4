"""Where a person looks at an entry: addresses of a Fava that shows the Beancount file."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote


def title_of(company_id: str) -> str:
    """The title of a company's Beancount file, from which Fava makes the address of its pages."""
    return f"Pleo {company_id}"


def slug_of(title: str) -> str:
    """The part of the address that Fava derives from a file's title."""
    word = re.sub(r"[^\s\w-]", "", unicodedata.normalize("NFKC", title)).strip().lower()
    return re.sub(r"[-\s]+", "-", word)


def entry_address(fava_url: str, company_id: str, external_id: str) -> str:
    """The address of Fava's journal, filtered to the one entry that carries `external_id` as its link."""
    slug = quote(slug_of(title_of(company_id)))
    return f"{fava_url.rstrip('/')}/{slug}/journal/?filter={quote('^' + external_id, safe='')}"
