"""What is prepared once and kept: Tryton's environment, a cluster with a company, and one with our module activated."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.support.erp.tryton.cluster import Cluster, clean_environment
from tests.support.erp.tryton.environment import (
    HERE,
    Say,
    TrytonUnavailable,
    cache_folder,
    digest,
    environment,
    kept,
    pip_install,
    say_nothing,
    write_secret,
)
from tests.support.erp.tryton.postgres import debian_binaries, packaged_binaries, version_of

ROOT = HERE.parents[3]
DEMO = ROOT / "flows" / "demo"
MODULE = ROOT / "deployments" / "tryton"
NO_SOURCES = ("__pycache__", "build", "*.egg-info")
MODULE_NAME = "pleo_export"
TEMPLATE = "company"
MODULES = ("account", "account_invoice", "analytic_account", "analytic_invoice")
SCRIPTS = tuple(HERE / name for name in ("prepare.py", "company.py", "people.py", "postgres.py"))


@dataclass(frozen=True)
class Prepared:
    """Tryton's Python, PostgreSQL, a cluster at rest whose database `company` is the template, and what is in it.

    `company` holds keys and passwords.
    """

    python: Path
    binaries: Path
    data: Path
    company: dict[str, Any] = field(repr=False)


def has_module() -> bool:
    """Whether there is a module of ours to install."""
    return (MODULE / "pyproject.toml").exists()


def prepare(*, module: bool = False, cache: Path | None = None, say: Say = say_nothing) -> Prepared:
    """What a session starts from: taken from the cache, or made, which takes a minute or two and is told to `say`.

    With `module` the database has our module activated. Raises TrytonUnavailable where this machine lacks something.
    """
    cache = cache or cache_folder()
    binaries = debian_binaries()
    python = environment(cache, with_postgres=binaries is None, say=say)
    binaries = binaries or packaged_binaries(python)
    key = digest(str(python), version_of(binaries), *SCRIPTS, *sorted(DEMO.glob("*.csv")), DEMO / "settings.toml")
    folder = kept(cache, "company", key, lambda new: _make_company(new, python, binaries), say)
    stock = Prepared(python, binaries, folder / "data", json.loads((folder / "company.json").read_text()))
    if not module:
        return stock
    sources = sorted(path for path in MODULE.rglob("*") if path.is_file() and _is_source(path))
    names = "\n".join(str(path.relative_to(MODULE)) for path in sources)
    folder = kept(cache, "module", digest(key, names, *sources), lambda new: _make_module(new, stock), say)
    return replace(stock, python=folder / "environment" / "bin" / "python", data=folder / "data")


def write_settings(folder: Path, cluster: Cluster, **sections: dict[str, str]) -> Path:
    """A settings file of trytond for the databases of a cluster; answers its name."""
    lines = {"database": {"uri": cluster.uri, "path": str(folder / "files"), "default_name": "postgres"}, **sections}
    path = folder / "trytond.conf"
    path.write_text(
        "".join(
            f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())
            for section, options in lines.items()
        )
    )
    return path


def _is_source(path: Path) -> bool:
    parts = path.relative_to(MODULE).parts
    return not any(fnmatch(part, pattern) for part in parts for pattern in NO_SOURCES)


def _make_company(folder: Path, python: Path, binaries: Path) -> None:
    with Cluster(python, binaries) as cluster:
        settings = write_settings(cluster.folder, cluster)
        admin = secrets.token_urlsafe(16)
        password_file = cluster.folder / "admin"
        write_secret(password_file, admin)
        cluster.sql("postgres", f"create database {TEMPLATE}")
        _activate(cluster, settings, MODULES, TRYTONPASSFILE=str(password_file))
        answer = cluster.folder / "company.json"
        write_secret(answer, "")
        script = [python, "-P", "-m", "tests.support.erp.tryton.company", settings, TEMPLATE, DEMO, answer]
        _run(script, "preparing the company in Tryton", PYTHONPATH=str(ROOT))
        company = json.loads(answer.read_text())
        company["users"]["admin"] = {"login": "admin", "password": admin}
        write_secret(folder / "company.json", json.dumps(company, ensure_ascii=False, indent=1))
        _seal(cluster, folder)


def _make_module(folder: Path, stock: Prepared) -> None:
    copied = folder / "environment"  # of the same files, so that only what pip adds takes space
    shutil.copytree(stock.python.parent.parent, copied, symlinks=True, copy_function=os.link)
    python = copied / "bin" / "python"
    sources = folder / "sources"  # so that nothing is built beside the real ones
    shutil.copytree(MODULE, sources, ignore=shutil.ignore_patterns(*NO_SOURCES))
    pip_install(python, "--no-deps", "--no-compile", str(sources))
    shutil.rmtree(sources)
    with Cluster(python, stock.binaries, stock.data) as cluster:
        _open_template(cluster, allowed=True)
        _activate(cluster, write_settings(cluster.folder, cluster), (MODULE_NAME,))
        _seal(cluster, folder)


def _activate(cluster: Cluster, settings: Path, modules: tuple[str, ...], **environment: str) -> None:
    command = [
        cluster.python, "-P", "-m", "trytond.cli.admin", "-c", settings, "-d", TEMPLATE, "-u", *modules, "--all",
        "--activate-dependencies", "--email", "admin@example.com",
    ]  # fmt: skip
    with cluster.well_planned(TEMPLATE):
        _run(command, f"activating {', '.join(modules)} in Tryton", **environment)


def _seal(cluster: Cluster, folder: Path) -> None:
    """Keep the cluster's data, with the database as a template that nobody connects to."""
    cluster.sql(TEMPLATE, "vacuum full analyze")
    _open_template(cluster, allowed=False)
    shutil.copytree(cluster.rest(), folder / "data", symlinks=True)


def _open_template(cluster: Cluster, *, allowed: bool) -> None:
    allow, template = ("true", "false") if allowed else ("false", "true")
    cluster.sql("postgres", f"alter database {TEMPLATE} with allow_connections {allow} is_template {template}")


def _run(command: list[Any], doing: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stdout + done.stderr
        if "No space left on device" in said:
            raise TrytonUnavailable(f"no space is left for {doing}")
        raise RuntimeError(f"{doing} failed:\n{said[-4000:]}")
