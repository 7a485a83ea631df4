"""What Pleo sends becomes exact and storable, and a broken item says what is broken and breaks nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from blocks.pleo.fields import canonical_uuid
from blocks.pleo.http.wire import decode
from blocks.pleo.items import BrokenItem, ExportItem, ServicePeriod, parse_item
from blocks.pleo.models import ExportJob, ItemStatus, ItemUpdate, JobItem
from tests.support.pleo.scripted_pleo import COMPANY_ID, ENTRY_ID, SAME_EVERY_TIME, job

ITEM: dict[str, Any] = {
    "_links": {"self": {"href": "x"}},
    "accountingEntryId": ENTRY_ID,
    "companyId": COMPANY_ID,
    "type": "card_purchase",
    "subType": None,
    "date": "2026-03-02T00:00:00Z",
    "amount": {
        "inWalletCurrency": {"currency": "DKK", "value": -89696},
        "inSupplierCurrency": {"currency": "SEK", "value": -120000},
    },
    "accountingEntryLines": [
        {
            "accountingEntryLineId": ENTRY_ID,
            "account": {"id": ENTRY_ID, "name": "Travel", "code": "4000", "identifier": None},
            "lineAmount": {"inWalletCurrency": {"currency": "DKK", "value": -89696}, "inSupplierCurrency": None},
            "netAmount": None,
            "tax": {"code": "S1", "rate": 0.25, "type": "inclusive", "amount": None},
            "tags": [{"groupCode": "P", "code": "1", "groupName": "unknown field"}, None],
        }
    ],
    "additionalInformation": {"reconciliationId": "R1", "attendees": None},
    "contraAccount": {"id": ENTRY_ID, "name": "Wallet", "code": "5820"},
    "note": "Lunch",
    "supplier": {"name": "Cafe", "country": "UNDEFINED"},
    "user": {"id": ENTRY_ID, "name": "Ada", "code": None},
    "somethingNew": {"deep": [1, 2, {"x": None}]},
}


def item(text: str | None = None, **changes: Any) -> ExportItem | BrokenItem:
    """The item as it comes over the wire, with changes, or with `@` replaced by a piece of JSON."""
    whole = json.dumps({**ITEM, **changes})
    return parse_item(decode((whole if text is None else whole.replace('"@"', text)).encode()))


def good(found: ExportItem | BrokenItem) -> ExportItem:
    assert isinstance(found, ExportItem), found
    return found


def broken(found: ExportItem | BrokenItem) -> str:
    assert isinstance(found, BrokenItem), found
    assert found.problem.isprintable()
    assert len(found.problem) <= 300
    return found.problem


def amount_of(json_number: str) -> ExportItem | BrokenItem:
    return item(json_number, amount={"inWalletCurrency": {"currency": "DKK", "value": "@"}})


def value_of(found: ExportItem | BrokenItem) -> Decimal:
    amount = good(found).amount
    return amount.in_wallet_currency.value


def test_an_item_is_read_with_all_that_bookkeeping_needs() -> None:
    read = good(item())
    assert read.date == datetime(2026, 3, 2, tzinfo=UTC)
    (line,) = read.accounting_entry_lines
    assert (line.tax.rate, line.tax.code) == (Decimal("0.25"), "S1")
    assert (line.account.code, line.account.identifier) == ("4000", None)
    assert [tag and (tag.group_code, tag.code) for tag in line.tags] == [("P", "1"), None]
    assert read.additional_information.reconciliation_id == "R1"


@SAME_EVERY_TIME
@given(st.integers(-(10**39), 10**39))
def test_whole_amounts_are_exact(number: int) -> None:
    assert value_of(amount_of(str(number))) == number


@pytest.mark.parametrize(
    "number", ["9007199254740993", "0.1", "-0", "1e3", "123456789012345678901234567890.12", "5e-3"]
)
def test_amounts_are_what_was_written_and_never_floats(number: str) -> None:
    value = value_of(amount_of(number))
    assert type(value) is Decimal
    assert value == Decimal(number)


@pytest.mark.parametrize(
    "wrong",
    ["NaN", "Infinity", "-Infinity", "1e99999999999999999999", "true", "false", '"1"', "null", "[]", "{}", '"NaN"'],
)
def test_what_is_no_amount_breaks_its_item_with_the_fields_name(wrong: str) -> None:
    problem = broken(amount_of(wrong))
    assert problem.startswith("amount.inWalletCurrency.value: ")
    assert "Value error" not in problem


@pytest.mark.parametrize("huge", ["1e999999", "-1e999999", "1e-999999", "9" * 5000])
def test_an_amount_beyond_reason_is_kept_exact_for_bookkeeping_to_refuse(huge: str) -> None:
    assert value_of(amount_of(huge)) == Decimal(huge)


@pytest.mark.parametrize("kind", ["a_type_of_tomorrow", "", "x" * 10_000_000, "CARD_PURCHASE"])
def test_unknown_types_and_states_parse(kind: str) -> None:
    read = good(item(type=kind, subType=kind))
    assert (read.type, read.sub_type) == (kind, kind)
    assert ExportJob.model_validate(job("archived")).status == "archived"
    row = {"accountingEntryId": ENTRY_ID, "status": "on_hold", "failureReasonType": "new_reason"}
    assert JobItem.model_validate(row).failure_reason_type == "new_reason"


OPTIONAL = ["subType", "amount", "accountingEntryLines", "additionalInformation", "contraAccount", "note", "supplier"]


@pytest.mark.parametrize("name", [*OPTIONAL, "user"])
def test_null_and_absent_are_the_same(name: str) -> None:
    absent = {key: value for key, value in ITEM.items() if key != name}
    assert good(item(**{name: None})) == good(parse_item(decode(json.dumps(absent).encode())))


@pytest.mark.parametrize("name", ["accountingEntryId", "companyId", "type", "date"])
@pytest.mark.parametrize("how", ["absent", "null", "number", "list"])
def test_an_item_without_what_every_item_has_is_broken_and_says_so(name: str, how: str) -> None:
    values = {"null": None, "number": 5, "list": []}
    document = {key: value for key, value in ITEM.items() if key != name} | (
        {name: values[how]} if how in values else {}
    )
    found = parse_item(document)
    assert name in broken(found)
    assert isinstance(found, BrokenItem)
    assert found.accounting_entry_id == (None if name == "accountingEntryId" else ENTRY_ID)


@pytest.mark.parametrize("wrong", [None, 5, "x", [], True, {}, [ITEM]])
def test_an_element_that_is_no_item_is_broken(wrong: Any) -> None:
    broken(parse_item(wrong))


@pytest.mark.parametrize(
    "changes",
    [
        {"bookkeeping": "journal"},
        {"bookkeeping": {}},
        {"bookkeeping": {"method": None}},
        {"vendor": {"code": 5}},
        {"supplier": {"code": 5}},
        {"supplier": {"account": 5}},
        {"supplier": {"taxIdentifier": ["x"]}},
        {"supplier": "Cafe"},
        {"files": {}},
        {"files": "https://files.example/r.pdf"},
        {"files": ["https://files.example/r.pdf"]},
        {"user": {"code": 5}},
        {"team": {"code": 5}},
        {"accountingEntryLines": {}},
        {"accountingEntryLines": [None]},
        {"accountingEntryLines": [{"account": "4000"}]},
        {"accountingEntryLines": [{"tags": [{"groupCode": 1, "code": "x"}]}]},
        {"accountingEntryLines": [{"tags": [{"id": 1, "groupCode": "x", "code": "x"}]}]},
        {"accountingEntryLines": [{"tax": {"code": 25}}]},
        {"accountingEntryLines": [{"tax": {"type": 1}}]},
        {"amount": {"inWalletCurrency": {"currency": 208, "value": 1}}},
    ],
)
def test_a_field_of_another_type_is_never_converted(changes: dict[str, Any]) -> None:
    assert next(iter(changes)) in broken(item(**changes))


ODD = [5, True, ["x"], {"a": "b"}]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_only_shown_counts_as_absent_when_it_is_odd(odd: Any) -> None:
    named = {"name": odd, "code": "C1"}
    amount = {"inWalletCurrency": {"currency": "DKK", "value": 5}, "inSupplierCurrency": odd}
    read = good(
        item(
            note=odd,
            supplier=named,
            user=named,
            team=named,
            vendor=named,
            contraAccount=named,
            amount=amount,
            servicePeriod=odd,
            accountingEntryLines=[{"tax": {"type": "inclusive", "rate": [odd]}}],
        )
    )
    assert read.note is None
    assert read.service_period in (None, ServicePeriod())
    people = (read.supplier, read.user, read.team, read.vendor, read.contra_account)
    assert [(one.name or "", one.code) for one in people if one is not None] == [("", "C1")] * 5
    assert read.amount.in_supplier_currency is None


def test_null_counts_as_absent_for_names_tax_types_and_tags_that_nobody_chose() -> None:
    tag = {"groupCode": "COSTCENTRE", "code": None, "id": "00000000-0000-0000-0000-000000000000"}
    lines = [{"account": {"name": None, "code": "1"}, "tax": {"type": None}, "tags": [tag]}]
    (line,) = good(item(accountingEntryLines=lines)).accounting_entry_lines or ()
    shown = line.model_dump()
    assert (shown["account"]["name"], shown["tax"]["type"], shown["tags"][0]["code"]) == ("", "", "")


@SAME_EVERY_TIME
@given(st.text(alphabet=st.characters(codec=None, exclude_categories=[]), max_size=20))
def test_any_text_becomes_storable_and_what_was_storable_stays(text: str) -> None:
    note = good(item(note=text)).note
    note.encode()
    try:
        text.encode()
    except UnicodeEncodeError:
        assert "\ufffd" in note or len(note) < len(text)
    else:
        assert note == text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a\\ud83d", "a\ufffd"), ("\\ude00b", "\ufffdb"), ("\\ud83d\\ude00", "😀"), ("\\ud83dx\\ude00", "\ufffdx\ufffd")],
)
def test_lone_surrogates_are_replaced_and_pairs_are_characters(sent: str, kept: str) -> None:
    assert good(item(f'"{sent}"', note="@")).note == kept


def test_a_field_name_of_a_lone_surrogate_is_only_an_unknown_field() -> None:
    assert good(parse_item(decode(json.dumps({**ITEM, "\ud800": 1}).encode()))).note == "Lunch"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-02T23:30:00", datetime(2026, 3, 2, 23, 30, tzinfo=UTC)),
        ("2026-03-02T00:30:00+02:00", datetime(2026, 3, 1, 22, 30, tzinfo=UTC)),
        ("2026-03-02T00:30:00.123456789Z", datetime(2026, 3, 2, 0, 30, 0, 123456, tzinfo=UTC)),
        (" 2026-03-02T00:30:00.5+00:00 ", datetime(2026, 3, 2, 0, 30, 0, 500000, tzinfo=UTC)),
    ],
)
def test_times_come_in_utc(written: str, meant: datetime) -> None:
    read = good(item(date=written))
    assert read.date == meant
    assert read.date.tzinfo is UTC


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "yesterday",
        "2026-02-30",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-03-02T00:00:00\ud800Z",
        "2" * 10_000_000,
        1772409600,
        True,
        {},
    ],
)
def test_a_date_that_is_none_breaks_its_item(wrong: Any) -> None:
    assert broken(item(date=wrong)).startswith("date: ")


@SAME_EVERY_TIME
@given(
    st.text(max_size=70) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{0,20}[-+Z][0-9:]{0,8}", fullmatch=True)
)
def test_no_date_breaks_more_than_its_item(text: str) -> None:
    parse_item({**ITEM, "date": text})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("createdAt", "soon"),
        ("createdAt", "0001-01-01T00:00:00+01:00"),
        ("numberOfItems", "3"),
        ("numberOfItems", True),
        ("expiresIn", Decimal("1e30")),
        ("expiredAt", 5),
        ("failureReason", {}),
        ("vendorBasedBookkeeping", "yes"),
    ],
)
def test_what_only_informs_never_costs_the_job(name: str, value: Any) -> None:
    read = ExportJob.model_validate(job(**{name: value}))
    aliases = {field.alias: name_ for name_, field in ExportJob.model_fields.items()}
    assert getattr(read, aliases[name]) is None


# -- ids ----------------------------------------------------------------------------------------------------------


@SAME_EVERY_TIME
@given(st.uuids())
def test_a_uuid_is_itself_in_lower_case(id_: UUID) -> None:
    assert canonical_uuid(str(id_)) == canonical_uuid(str(id_).upper()) == str(id_)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        ENTRY_ID[:-1],
        ENTRY_ID + "0",
        "٣" * 32,
        "0x" + "1" * 30,
        "+" + "1" * 31,
        "1_" * 15 + "11",
        " " + "1" * 31,
        "g" * 32,
        "\ud800" * 32,
        "1" * 10_000_000,
    ],
)
def test_what_only_int_would_take_is_no_uuid(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a UUID") as caught:
        canonical_uuid(wrong)
    assert len(str(caught.value)) < 100
    assert str(caught.value).isprintable()


# -- updates ------------------------------------------------------------------------------------------------------


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError):
        good(item()).note = "changed"  # type: ignore[misc]


def test_an_update_of_an_id_in_capitals_is_sent_in_lower_case() -> None:
    update = ItemUpdate(accounting_entry_id=ENTRY_ID.upper(), status=ItemStatus.SUCCESSFUL)
    assert update.wire() == {"accountingEntryId": ENTRY_ID, "status": "successful"}


def test_a_job_read_twice_is_equal_and_unknown_fields_are_ignored() -> None:
    assert ExportJob.model_validate(job(tomorrow=[1])) == ExportJob.model_validate(job())


@pytest.mark.parametrize("many", [-1, 10**13, 10**400, True, 1.0], ids=lambda many: str(many)[:8])
def test_a_count_that_nothing_can_have_is_not_known(many: object) -> None:
    job = {"id": ENTRY_ID, "companyId": COMPANY_ID, "status": "pending", "numberOfItems": many, "expiresIn": many}
    read = ExportJob.model_validate(job)
    assert (read.number_of_items, read.expires_in) == (None, None)


@pytest.mark.parametrize("name", ["accountingEntryLines", "files"])
def test_a_list_longer_than_an_expense_can_have_fails_its_item_before_its_elements_are_read(name: str) -> None:
    read = parse_item({**ITEM, name: [{}] * 10_001})
    assert isinstance(read, BrokenItem)
    assert read.problem == f"{name}: 10001 of them are more than an expense can have"


def test_of_many_odd_elements_the_first_one_is_named() -> None:
    read = parse_item({**ITEM, "accountingEntryLines": [5] * 10_000})
    assert isinstance(read, BrokenItem)
    assert read.problem.startswith("accountingEntryLines.0: ")
    assert read.problem.count("accountingEntryLines") == 1
