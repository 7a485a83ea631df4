"""What the READMEs of the accounting systems say of their folders is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from blocks.erp.base import Erp
from tests.support.erp.acme.adapter import AcmeErp
from tests.support.erp.contract.subscribers import SUBSCRIBED
from tests.support.erp.ledger_samples import opened, rows

ERP = Path(__file__).parents[3] / "blocks" / "erp"


@pytest.mark.parametrize(
    "folder", [ERP, ERP / "ledger", ERP / "tryton", ERP / "remote"], ids=lambda folder: folder.name
)
def test_every_module_is_told_once_and_every_told_module_is_there(folder: Path) -> None:
    rows = re.findall(r"^\| ((?:`\w+\.py`(?:, )?)+) \|", (folder / "README.md").read_text(), re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+\.py)`", row)]
    assert sorted(told) == sorted(path.name for path in folder.glob("*.py") if path.name != "__init__.py")


def test_the_contract_names_every_call_once() -> None:
    rows = re.findall(r"^\| ((?:`\w+\([\w, ]*\)`(?:, )?)+) \|", (ERP / "README.md").read_text(), re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)\(", row)]
    calls = [name for name, _ in inspect.getmembers(Erp, inspect.isfunction) if not name.startswith("_")]
    assert sorted(told) == sorted(calls)


def test_a_subscription_has_the_form_that_is_told() -> None:
    (told,) = re.findall(r"```python\n\s*(.*?)\n", (ERP / "README.md").read_text())
    form = re.compile(r"[\w.]+:\w+Harness")
    assert form.fullmatch(told.split('"')[3])
    assert all(form.fullmatch(path) for path in SUBSCRIBED.values())


def test_the_example_of_an_adapter_answers_every_call_as_the_contract_says() -> None:
    calls = {name: call for name, call in inspect.getmembers(Erp, inspect.isfunction) if not name.startswith("_")}
    answers = {name: inspect.signature(call).return_annotation for name, call in calls.items()}
    assert {name: inspect.signature(getattr(AcmeErp, name)).return_annotation for name in calls} == answers


def test_the_example_of_an_adapter_is_the_one_that_the_tests_run() -> None:
    shown = re.findall(r"```python\n(.*?)```", (ERP / "remote" / "README.md").read_text(), re.DOTALL)
    code = (ERP.parents[1] / "tests" / "support" / "erp" / "acme" / "adapter.py").read_text()
    assert len(shown) >= 4
    assert [part for part in shown if part not in code] == []


async def test_the_tables_and_views_of_the_file_are_those_that_are_told(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path):
        pass
    found = rows(path, "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')")
    text = (ERP / "ledger" / "README.md").read_text()
    told_rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \| [^|]+ \|$", text.split("## Accounts")[0], re.MULTILINE)
    told = [name for row in told_rows for name in re.findall(r"`(\w+)`", row)]
    assert {name for name, kind in found if kind == "view"} == {"journal", "open_item"}
    assert sorted(told) == sorted(name for name, kind in found if kind == "table" and name != "company")
