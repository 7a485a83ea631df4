"""The texts that Tryton keeps for us: what is written is read back, and nothing else is taken for it."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.erp.entries import DocumentKind
from blocks.erp.tryton.client import UnreadableValue, decode, encode
from blocks.erp.tryton.records import (
    Model,
    RecordKey,
    RecordRole,
    Statement,
    external_id,
    keys_of,
    link_to,
    payment_text,
    read_key,
    read_payment_text,
    read_statement,
)

ID = str(uuid.UUID(int=7))


@given(st.uuids(), st.sampled_from(RecordRole), st.booleans())
def test_a_key_is_read_as_it_was_written(id_: uuid.UUID, role: RecordRole, claimed: bool) -> None:
    key = RecordKey(str(id_), role, claimed)
    assert read_key(str(key)) == key
    assert str(key) in keys_of(str(id_))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        7,
        f"pleo:{ID} ",
        f" pleo:{ID}",
        f"pleo:{ID}\n",
        f"PLEO:{ID}",
        f"pleo:{ID} draft payment",
        f"pleo:{ID} paid",
        f"pleo:{ID.upper()[:-1]}G",
        f"pleo:{ID}x",
        f"copy of pleo:{ID}",
    ],
)
def test_no_other_text_is_a_mark(text: object) -> None:
    assert read_key(text) is None


@given(
    st.decimals(-(10**16), 10**16, places=2),
    st.sampled_from(["DKK", "JPY", "KWD"]),
    st.dates(),
    st.sampled_from(["", "bill and payment", "credit note and refund", "paid elsewhere"]),
    st.text(max_size=80),
)
def test_a_statement_is_read_as_it_was_written_whatever_follows(
    amount: Decimal, currency: str, day: date, documents: str, more: str
) -> None:
    statement = Statement(amount, currency, day, documents)
    read = read_statement(f"{statement}; {more}")
    assert read == statement
    assert read is not None
    assert read.amount.is_signed() == amount.is_signed() or not amount


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "Pleo",
        "Pleo 12.50 DKK",
        "Pleo 12.50 DKK, 2026-02-30",
        "Pleo 12,50 DKK, 2026-02-03",
        "12.50 DKK, 2026-02-03",
        "Pleo 1e5 DKK, 2026-02-03",
        "Pleo 12.50 DKK, 2026-02-03 by hand",
    ],
)
def test_no_other_text_is_a_statement(text: object) -> None:
    assert read_statement(text) is None


@given(st.sampled_from([DocumentKind.PAYMENT, DocumentKind.REFUND]), st.text(min_size=1))
def test_a_payment_names_its_invoice(kind: DocumentKind, number: str) -> None:
    assert read_payment_text(payment_text(kind, number)) == (kind, number)


def test_a_link_leads_to_the_record_in_the_web_client() -> None:
    assert external_id(Model.INVOICE, 12) == "account.invoice,12"
    assert link_to("https://t.example/", "acme", "account.move,12") == "https://t.example/#acme/model/account.move/12"


@pytest.mark.parametrize("text", ["", "12", "account.move,", "account.move,x", "res.user,1", "account.move,1/../2"])
def test_nothing_else_has_a_link(text: str) -> None:
    with pytest.raises(ValueError, match=r"account\.move,12"):
        link_to("https://t.example", "acme", text)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.decimals(allow_nan=False, allow_infinity=False)
        | st.dates()
        | st.binary(max_size=50),
        lambda values: (
            st.lists(values, max_size=4)
            | st.dictionaries(st.text().filter(lambda name: name != "__class__"), values, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_values_travel_as_tryton_types_them(document: object) -> None:
    assert decode(encode(document)) == document


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b'{"a": ',
        b'{"__class__": "Decimal"}',
        b'{"__class__": "Decimal", "decimal": "x"}',
        b'{"__class__": "date", "year": 2026, "month": 13, "day": 1}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_not_tryton_s_json_is_told_in_one_way(text: bytes) -> None:
    with pytest.raises(UnreadableValue):
        decode(text)
