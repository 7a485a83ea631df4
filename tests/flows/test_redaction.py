"""No log line tells credentials or bank accounts, and no traceback links: whoever writes it, from whichever thread."""

from __future__ import annotations

import logging
import threading

import pytest
from pydantic import BaseModel, SecretStr

from blocks.hiding import Hiding
from flows.redaction import redacted_logs, secrets_of, without_accounts, without_links

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

    with redacted_logs(Hiding(secrets_of(Settings()))):
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
