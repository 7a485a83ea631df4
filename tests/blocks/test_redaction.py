"""No text or log line tells a secret, in whichever usual form, and no log a bank account or, in a traceback, a link."""

from __future__ import annotations

import base64
import html
import json
import logging
import threading
from urllib.parse import quote

import pytest
from pydantic import BaseModel, SecretStr

from blocks.redaction import Redactor, redacted_logs, secrets_of, without_accounts, without_links

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
    redact = Redactor([SECRET])
    assert "***" in redact(f"before {quoted} after")
    assert redact(f"before {quoted} after").startswith("before ")
    assert redact(f"before {quoted} after").endswith(" after")
    for form in (SECRET, SECRET[::-1], quote(SECRET), base64.b64encode(SECRET.encode()).decode()[:30]):
        assert form not in redact(quoted)
    assert redact.in_bytes(quoted.encode()) == redact(quoted).encode()


def test_a_short_secret_is_hidden_in_texts_and_left_in_bodies_which_may_hold_it_by_chance() -> None:
    redact = Redactor(["abc", ""])
    assert redact("the abc of it, YWJj") == "the *** of it, YWJj"
    assert redact.in_bytes(b'{"note": "abc"}') == b'{"note": "abc"}'


@pytest.mark.parametrize("secret", ["0000000000012500", "accounting", "accountingEntryLines", "sandbox-key"])
def test_a_secret_that_may_be_a_field_or_an_amount_never_changes_data(secret: str) -> None:
    body = json.dumps({"accountingEntryLines": [{"value": 12500, "of": "sandbox-key"}], "n": secret}).encode()
    assert Redactor([secret]).in_bytes(body) == body


def test_without_secrets_nothing_is_touched() -> None:
    assert Redactor()("whatever") == "whatever"
    assert SECRET not in repr(Redactor([SECRET]))


# -- logs ---------------------------------------------------------------------------------------------------------

KEY = "k3y-0f-a-test"
LINK = "https://files.example/receipts/1?signature=permission"
ACCOUNT = "DK5000400440116243"


class Settings(BaseModel):
    name: str = "shown"
    key: SecretStr = SecretStr(KEY)
    nothing: SecretStr | None = None


def test_the_message_and_the_traceback_of_any_logger_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="somebody.else")
    log = logging.getLogger("somebody.else")

    def fail() -> None:
        try:
            int(f"{KEY} {LINK} {ACCOUNT}")
        except ValueError:
            log.exception("with %s and %s of %s", KEY, ACCOUNT, {"key": KEY})

    with redacted_logs(Redactor(secrets_of(Settings()))):
        fail()
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    for secret in (KEY, "permission", ACCOUNT):
        assert secret not in caplog.text
    assert caplog.text.count("with *** and DK50… of {'key': '***'}") == 2
    assert (
        caplog.text.count("ValueError: invalid literal for int() with base 10: '*** https://files.example/… DK50…'")
        == 2
    )
    assert "in fail" in caplog.text
    log.info("afterwards %s", KEY)
    assert f"afterwards {KEY}" in caplog.text


def test_only_what_is_an_account_number_counts_as_one() -> None:
    assert without_accounts("DK50 0040 0440 1162 43 and GB82WEST12345698765432") == "DK50… and GB82…"
    for text in ("DK5100400440116243", "PX-000001", "AB12CDEF3456", "5a4db0c5-0000-4000-8000-000000000001"):
        assert without_accounts(text) == text


def test_of_a_link_the_host_stays() -> None:
    assert (
        without_links(f"see '{LINK}', or http://127.0.0.1:8/x")
        == "see 'https://files.example/…', or http://127.0.0.1:8/…"
    )
    assert without_links("https://files.example") == "https://files.example"


def test_the_secrets_of_settings_are_those_of_their_secret_fields() -> None:
    assert secrets_of(Settings(), Settings(nothing=SecretStr("more"))) == (KEY, KEY, "more")
