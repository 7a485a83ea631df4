"""Odoo 19 Community for the tests: Debian's package, taken from its archive without touching the machine's own apt.

Neither PyPI nor npm has a usable Odoo; Debian's unstable suite has. A private apt folder reads that suite from the
mirror that the machine itself uses, and the files that are needed are taken out of the package.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tests.support.erp.tryton.environment import TrytonUnavailable

NAME = "odoo-19"
BESIDE = ("libjs-jquery", "libjs-underscore", "libjs-jquery-form")
"""What the package leaves to others: its web client has links to their files."""
SUITE = "sid"
SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAM = "usr/bin/odoo"
LIBRARY = "usr/lib/python3/dist-packages"
LEFT_OUT = {"i18n", "i18n_extra", "tests", "doc"}
TOLD_BY = (["__manifest__.py"], ["static", "description", "icon.png"])
"""What Odoo reads of modules that are not installed: of one or the other the data of those that are has the icon."""
ACCOUNTING = """
    account account_add_gln account_edi_proxy_client account_edi_ubl_cii account_payment account_qr_code_sepa analytic
    api_doc auth_passkey auth_passkey_portal auth_signup auth_totp auth_totp_mail auth_totp_portal base base_iban
    base_import base_import_module base_install_request base_setup base_vat bus certificate digest google_gmail
    html_editor http_routing iap iap_mail l10n_dk l10n_dk_nemhandel l10n_dk_oioubl mail mail_bot microsoft_outlook
    onboarding partner_autocomplete payment phone_validation portal privacy_lookup product resource resource_mail rpc
    sms snailmail snailmail_account spreadsheet spreadsheet_account spreadsheet_dashboard spreadsheet_dashboard_account
    uom web web_tour web_unsplash
"""
"""Accounting with Denmark's chart, and what these modules pull in: a tenth of the package."""
MODULES = frozenset(ACCOUNTING.split())


def fetch(folder: Path) -> None:
    """Take Odoo's package from Debian's archive, and its files out of it, all into `folder`.

    Raises TrytonUnavailable where this machine has no Debian, or no way to its archive.
    """
    apt = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial", "none"):
        (apt / name).mkdir(parents=True)
    (apt / "status").write_text("")
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n")
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": apt / "none",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    _run(["apt-get", "-q", *given, "update"], apt)
    _run(["apt-get", "-q", *given, "download", NAME, *BESIDE], apt)
    (package,) = apt.glob(f"{NAME}_*.deb")
    for name in BESIDE:
        (beside,) = apt.glob(f"{name}_*.deb")
        _run(["dpkg-deb", "-x", str(beside), str(folder)], apt)
    unpack(package, folder)
    package.rename(folder / f"{NAME}.deb")
    shutil.rmtree(apt)


def mirror(sources: Path = SOURCES) -> str:
    """The mirror of Debian that the machine itself uses. Raises TrytonUnavailable where it uses none."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None or not KEYRING.is_file():
        raise TrytonUnavailable("Odoo comes from Debian's archive, and this machine has no Debian")
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*.sources"))]
    for file in [*files, *sorted((sources / "sources.list.d").glob("*.list"))]:
        text = file.read_text() if file.is_file() else ""
        found = re.search(r"^(?:URIs:|deb (?:\[[^]]*\] )?)\s*(\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
        if found is not None:
            return found[1]
    raise TrytonUnavailable("Odoo comes from Debian's archive, and apt is not told where that is")


def unpack(package: Path, folder: Path) -> None:
    """Take the files that are needed out of the package."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as files:
            files.extractall(folder, members=_wanted(files), filter="tar")
    if unpacking.returncode or not (folder / PROGRAM).is_file():
        raise TrytonUnavailable(f"{package.name} is not what it was: there is no {PROGRAM} in it")


def _wanted(files: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in files:
        path = PurePosixPath(member.name)
        if (member.isfile() or (member.issym() and not member.linkname.startswith("/"))) and _is_needed(path):
            yield member


def _is_needed(path: PurePosixPath) -> bool:
    """Odoo's own code; of the modules above all but translations and tests, of the others what tells of them alone."""
    if path == PurePosixPath(PROGRAM):
        return True
    try:
        inside = path.relative_to(LIBRARY).parts
    except ValueError:
        return False
    if inside[0] != "addons" and inside[:2] != ("odoo", "addons"):
        return inside[0] == "odoo" and "i18n" not in inside
    _, module, *rest = inside if inside[0] == "addons" else inside[1:]
    told_of = not rest or rest in TOLD_BY
    return told_of or (module in MODULES and not LEFT_OUT & set(rest[:-1]))


def _run(command: list[str], folder: Path, **more: Any) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more
    )
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "Err:"))]
        raise TrytonUnavailable(f"apt cannot get Odoo: {said[-1] if said else f'exit status {done.returncode}'}")
