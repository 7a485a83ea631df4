"""Answers of XML-RPC: read as Python's own reader reads them, but for numbers with a point, which are exact."""

from __future__ import annotations

import xmlrpc.client
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.erp.odoo.client import LOGIN_TEXT, read_xml
from blocks.erp.remote.calls import Answer, Meaning, Verdict

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


def read(body: bytes | str, status: int = 200) -> Verdict:
    """An answer, read."""
    return read_xml(Answer(status, {}, body.encode() if isinstance(body, str) else body))


def exact(value: Any) -> Any:
    """The same with decimals."""
    match value:
        case float():
            return Decimal(repr(value))
        case list():
            return [exact(one) for one in value]
        case dict():
            return {name: exact(one) for name, one in value.items()}
    return value


@given(VALUES)
def test_a_value_is_read_as_it_was_sent_and_decimals_are_exact(value: Any) -> None:
    told = read(xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True))
    assert (told.meaning, told.document) == (Meaning.DONE, exact(value))
    assert repr(told.document) == repr(exact(value))  # True is not 1


@pytest.mark.parametrize(
    ("code", "text", "meaning", "told"),
    [
        (1, "Traceback: secrets", Meaning.TROUBLE, ""),
        (1, "cannot marshal None unless allow_none is enabled", Meaning.DONE, ""),
        (2, "The entry is not balanced.", Meaning.REFUSED, "The entry is not balanced."),
        (3, "Access Denied", Meaning.LOGIN, LOGIN_TEXT),
        (4, "You may not.", Meaning.NOT_ALLOWED, "You may not."),
        (99, "Whatever", Meaning.TROUBLE, ""),
    ],
)
def test_a_fault_means_what_its_number_says(code: int, text: str, meaning: Meaning, told: str) -> None:
    verdict = read(xmlrpc.client.dumps(xmlrpc.client.Fault(code, text), methodresponse=True))
    assert (verdict.meaning, verdict.text) == (meaning, told)


LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a 'ha'>]><methodResponse><params><param><value>&a;</value></param></params></methodResponse>"
)


@pytest.mark.parametrize(
    "body",
    [
        "", "<html><body><p/></body></html>", "<a><b><c><value><int>1</int></value></c></b></a>", LAUGHS,
        LAUGHS.encode("utf-16"),
        "<methodResponse><params><param><value><int>1</int></value></param></params>",
        "<methodResponse><params/></methodResponse>", "<methodResponse/>",
        *(
            f"<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
            for value in (
                "<int>x</int>", "<double>1,5</double>", "<money>1</money>", "<boolean>maybe</boolean>", "<array/>",
                "<struct><member><name>a</name></member></struct>", "<int>1</int><int>2</int>",
                "<array><data><value>" * 3000 + "</value></data></array>" * 3000, f"<int>{'9' * 9999}</int>",
            )
        ),
        "<methodResponse><fault><value><int>2</int></value></fault></methodResponse>",
        b"\xff\xfe\x00",
    ],
)  # fmt: skip
def test_what_is_no_answer_of_odoo_s_is_told_so(body: bytes | str) -> None:
    assert read(body).meaning is Meaning.FOREIGN
