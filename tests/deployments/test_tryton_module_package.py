"""The Tryton module as a package: what can be said of it without a Tryton. What it does is tested in `tests/erp`."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "deployments" / "tryton"
SOURCES = sorted(MODULE.glob("*.py"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((MODULE / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string((MODULE / "tryton.cfg").read_text())
    return parser


def _lines(config: configparser.ConfigParser, section: str, option: str) -> list[str]:
    return config.get(section, option).split()


def test_its_version_is_of_the_series_that_it_asks_for(
    project: dict[str, Any], config: configparser.ConfigParser
) -> None:
    version = project["project"]["version"]
    assert re.fullmatch(r"8\.0\.\d+", version)
    assert config["tryton"]["version"] == version
    asked = {re.split(r"[<>=]", one)[0]: one for one in project["project"]["dependencies"]}
    for name in ("trytond", "trytond_account", "trytond_company"):
        assert asked[name].endswith(",<8.1")
    assert project["project"]["optional-dependencies"]["invoice"] == ["trytond_account_invoice>=8.0,<8.1"]


def test_tryton_finds_it_by_its_name(project: dict[str, Any]) -> None:
    (package,) = project["tool"]["setuptools"]["packages"]
    assert project["project"]["entry-points"]["trytond.modules"] == {"pleo_export": package}
    assert project["tool"]["setuptools"]["package-dir"] == {package: "."}
    assert project["project"]["name"] == "trytond_pleo_export"


def test_every_file_that_it_needs_is_packed(project: dict[str, Any], config: configparser.ConfigParser) -> None:
    ((_, patterns),) = project["tool"]["setuptools"]["package-data"].items()
    packed = {path.relative_to(MODULE).as_posix() for pattern in patterns for path in MODULE.glob(pattern)}
    assert packed >= {"tryton.cfg", *_lines(config, "tryton", "xml")}
    assert packed >= {f"view/{name}.xml" for name in _view_names(config)}


def _view_names(config: configparser.ConfigParser) -> list[str]:
    return [
        field.text or ""
        for name in _lines(config, "tryton", "xml")
        for record in ElementTree.parse(MODULE / name).iterfind(".//record[@model='ir.ui.view']")
        for field in record.iterfind("field[@name='name']")
    ]


def test_the_account_module_is_needed_and_invoices_are_not(config: configparser.ConfigParser) -> None:
    assert "account" in _lines(config, "tryton", "depends")
    assert "account_invoice" not in _lines(config, "tryton", "depends")
    assert _lines(config, "tryton", "extras_depend") == ["account_invoice"]
    (data,) = ElementTree.parse(MODULE / "invoice.xml").getroot()
    assert data.get("depends") == "account_invoice"


def test_every_registered_class_is_there(config: configparser.ConfigParser) -> None:
    registered = {
        section: _lines(config, section, "model") for section in config.sections() if section.startswith("register")
    }
    assert registered == {"register": ["move.Move"], "register account_invoice": ["invoice.Invoice"]}
    for names in registered.values():
        for name in names:
            module, _, wanted = name.partition(".")
            tree = ast.parse((MODULE / f"{module}.py").read_text())
            assert wanted in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_views_show_the_fields_without_changing_others() -> None:
    for path in sorted((MODULE / "view").glob("*.xml")):
        tree = ElementTree.parse(path)
        shown = [field.get("name") for field in tree.iter("field")]
        assert shown == ["pleo_entry_id", "pleo_belongs_to"]
        assert {xpath.get("position") for xpath in tree.iter("xpath")} == {"after"}


def test_every_message_is_used_and_every_used_message_is_there() -> None:
    records = ElementTree.parse(MODULE / "message.xml").iterfind(".//record")
    texts = {record.get("id"): record.findtext("field") or "" for record in records}
    used: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "gettext":
                (name,) = node.args
                assert isinstance(name, ast.Constant)
                used.setdefault(str(name.value), set()).update(keyword.arg or "" for keyword in node.keywords)
    constraints = re.findall(r'"(pleo_export\.msg_\w+)"\)', (MODULE / "document.py").read_text())
    used |= {name: set() for name in constraints if name not in used}
    assert {f"pleo_export.{name}" for name in texts} == used.keys()
    for name, text in texts.items():
        assert set(re.findall(r"%\((\w+)\)s", text)) == used[f"pleo_export.{name}"]


def test_nothing_of_the_project_is_imported_by_it_nor_it_by_the_project() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] not in {"blocks", "flows", "deployments"}
            if isinstance(node, ast.Import):
                assert all(name.name.split(".")[0] not in {"blocks", "flows", "deployments"} for name in node.names)
    for folder in ("blocks", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert not re.search(r"^\s*(import|from) trytond", path.read_text(), re.MULTILINE), path


def test_its_license_is_the_project_s_and_every_file_says_so(project: dict[str, Any]) -> None:
    assert project["project"]["license"] == "MIT"
    assert (MODULE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for path in SOURCES:
        assert "License: MIT." in (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0], path.name


def test_its_readme_is_short_and_says_how_to_install_it() -> None:
    text = (MODULE / "README.md").read_text()
    assert len(text.splitlines()) <= 40
    assert "pip install ./deployments/tryton" in text
    assert "-u pleo_export --activate-dependencies" in text


def test_no_module_of_it_is_longer_than_400_lines() -> None:
    assert SOURCES
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 400
