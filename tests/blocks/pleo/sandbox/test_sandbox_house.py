"""The sandbox's own house rules: apart from what it checks, no circle of imports, a README that tells its paths."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import blocks.pleo.sandbox
from blocks.pleo.sandbox import Sandbox
from blocks.pleo.sandbox.api import Api
from blocks.pleo.sandbox.companies import Companies
from blocks.pleo.sandbox.control_api import ControlApi
from blocks.pleo.sandbox.subscription_api import SubscriptionApi

ROOM = Path(blocks.pleo.sandbox.__file__).parent
PACKAGE = "blocks.pleo.sandbox"
MODULES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in ROOM.glob("*.py")}


def imported(module):
    """What a module imports, for the type checker alone too; `from package import module` as that module."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (f"{PACKAGE}.{name.name if name.name in MODULES else '__init__'}" for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_it_shares_nothing_with_what_it_is_a_check_of():
    names = {name for module in MODULES for name in imported(module)}
    assert {name for name in names if name.startswith(("blocks", "flows")) and not name.startswith(PACKAGE)} == set()
    assert {name.split(".")[0] for name in names}.isdisjoint({"prefect", "httpx", "pydantic"})


def test_imports_go_one_way_as_the_drawing_has_them():
    uses = {
        module: {name.removeprefix(f"{PACKAGE}.") for name in imported(module) if name.startswith(f"{PACKAGE}.")}
        for module in MODULES
    }
    drawing = ast.get_docstring(MODULES["__init__"]).rsplit(":\n\n", 1)[1]
    drawn = [module for line in drawing.splitlines() for module in re.split(r"  +", line.strip())[0].split(", ")]
    assert sorted([*drawn, "__init__"]) == sorted(MODULES)
    after = {module: set(drawn[number + 1 :]) | {"__init__"} for number, module in enumerate(drawn)}
    assert {(module, used) for module in drawn for used in uses[module] - after[module]} == set()
    assert [module for module in MODULES if "__init__" in uses[module]] == ["__main__"], "else it would be a circle"


def test_the_readme_names_every_path_of_the_control_api_and_only_paths_there_are():
    text = (ROOM / "README.md").read_text(encoding="utf-8")
    with Sandbox() as sandbox:
        parts = (ControlApi(sandbox), Api(sandbox), SubscriptionApi(sandbox), Companies(sandbox))
        routes = [route for part in parts for route in part.routes()]
    calls = {f"{method} {route.path_format}" for route in routes for method in route.methods - {"HEAD"}}
    told = set(re.findall(r"^\| `([A-Z]+ /sandbox/\S+)` \|", text, re.MULTILINE))
    assert told == {call for call in calls if " /sandbox/" in call}
    assert set(re.findall(r"`([A-Z]+ /v[13]/\S+)`", text)) <= calls


def test_what_the_readme_types_for_curl_is_taken_as_curl_sends_it(sandbox, anyone):
    """`curl -d` calls a form what is JSON."""
    shell = "\n".join(re.findall(r"```sh\n(.+?)```", (ROOM / "README.md").read_text(encoding="utf-8"), re.DOTALL))
    calls = [shlex.split(call) for call in re.findall(r"^curl (.+(?:\n  .+)*)", shell, re.MULTILINE)]
    answers = []
    for words in calls:
        (url,) = [word for word in words if word.startswith("http")]
        options = dict(zip(*[iter(word for word in words if word != url)] * 2, strict=True))
        assert set(options) <= {"-u", "-d"}
        answer = anyone.request(
            "POST" if "-d" in options else "GET",
            url.removeprefix("http://127.0.0.1:8765"),
            content=options.get("-d"),
            headers={"Content-Type": "application/x-www-form-urlencoded"} if "-d" in options else {},
            auth=tuple(options["-u"].split(":")) if "-u" in options else None,
        )
        answers.append((answer.status_code, bool(answer.content)))
    assert answers == [(200, True), (201, True), (204, False), (204, False)]
    assert (len(sandbox.credentials.all()), len(sandbox.faults.waiting())) == (1, 2)
