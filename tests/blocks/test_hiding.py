"""Secrets are taken out of texts in whichever usual form they are quoted."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest

from blocks.hiding import Hiding

SECRET = "s3cret/V4lue+with&\"odd'%41"


@pytest.mark.parametrize(
    "quoted",
    [
        SECRET,
        json.dumps({"key": SECRET}),
        json.dumps({"key": SECRET}).replace("/", "\\/"),
        repr([SECRET]),
        html.escape(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
        SECRET[::-1],
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"{SECRET}:".encode()).decode(),
        base64.b64encode(f"Bearer {SECRET}".encode()).decode(),
        base64.b64encode(f"x {SECRET} y".encode()).decode(),
        base64.urlsafe_b64encode(f"é{SECRET}".encode()).decode(),
    ],
)
def test_a_quotation_of_a_secret_is_hidden_and_the_rest_stays(quoted: str) -> None:
    hide = Hiding([SECRET])
    assert "***" in hide(f"before {quoted} after")
    assert hide(f"before {quoted} after").startswith("before ")
    assert hide(f"before {quoted} after").endswith(" after")
    for form in (SECRET, SECRET[::-1], quote(SECRET), base64.b64encode(SECRET.encode()).decode()[:30]):
        assert form not in hide(quoted)
    assert hide.in_bytes(quoted.encode()) == hide(quoted).encode()


def test_a_short_secret_is_hidden_in_texts_and_left_in_bodies_which_may_hold_it_by_chance() -> None:
    hide = Hiding(["abc", ""])
    assert hide("the abc of it, YWJj") == "the *** of it, YWJj"
    assert hide.in_bytes(b'{"note": "abc"}') == b'{"note": "abc"}'


@pytest.mark.parametrize("secret", ["0000000000012500", "accounting", "accountingEntryLines", "sandbox-key"])
def test_a_secret_that_may_be_a_field_or_an_amount_never_changes_data(secret: str) -> None:
    body = json.dumps({"accountingEntryLines": [{"value": 12500, "of": "sandbox-key"}], "n": secret}).encode()
    assert Hiding([secret]).in_bytes(body) == body


def test_without_secrets_nothing_is_touched() -> None:
    assert Hiding()("whatever") == "whatever"
    assert SECRET not in repr(Hiding([SECRET]))
