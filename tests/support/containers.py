"""`deployments/Dockerfile` and `deployments/compose.yaml` without containers: the same commands, on this machine.

The image's steps are run into a folder that stands for the image's root: the wheel is made of the sources that git has,
and pip installs it into an environment of its own, whose other packages are those of the tests' environment. Services
are processes with the image's and their own environment variables and nothing of ours, who run as the image's user: not
root, if we are, and without a root's rights but one, to read, as the interpreter may lie in root's home.

What differs: names of hosts and ports, as all is on loopback; PostgreSQL and Redis are Debian's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import yaml

from tests.support.processes import ROOT, running

UID = 10001
DOCKERFILE, COMPOSE = ROOT / "deployments" / "Dockerfile", ROOT / "deployments" / "compose.yaml"
OURS = "pleo-export"
_SETPRIV = (  # access(2) leaves the right to read out of account without the securebit
    "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--securebits=+no_setuid_fixup",
    *(f"--{name}=-all,+dac_read_search" for name in ("inh-caps", "ambient-caps", "bounding-set")),
)  # fmt: skip


def may_run_as_another() -> bool:
    """Whether we are not root, or can be somebody else who may read."""
    return os.geteuid() != 0 or subprocess.run([*_SETPRIV, "true"], capture_output=True).returncode == 0


def instructions(dockerfile: Path = DOCKERFILE) -> list[list[tuple[str, str]]]:
    """Each stage's instructions: the word and what follows it."""
    stages: list[list[tuple[str, str]]] = []
    for line in dockerfile.read_text().replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


@dataclass
class Image:
    """What the Dockerfile makes, in the folder `root`; `environment` is what its processes are given."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    work: str = "/"
    command: list[str] = field(default_factory=list)

    @property
    def python(self) -> Path:
        """The image's Python."""
        return self.root / "environment" / "bin" / "python"

    def at(self, text: str) -> str:
        """With the image's own folders where they lie here."""
        return re.sub(r"(?<![\w.:/])/(?=(?:data|home/export|source|wheels)\b)", f"{self.root}/", text)


def build(root: Path) -> Image:
    """Carry out the Dockerfile."""
    image = Image(root)
    _environment(image)
    first, last = instructions()
    work = root
    for word, rest in first:
        if word == "WORKDIR":
            (work := Path(image.at(rest))).mkdir()
        elif (word, rest) == ("COPY", ". ."):
            _sources(work)
        elif word == "RUN":
            _step(image, work, rest)
        else:
            assert word == "FROM", f"{word} {rest}"
    for word, rest in last:
        if word == "ENV":
            image.environment |= dict(part.split("=", 1) for part in shlex.split(image.at(rest)))
        elif word == "COPY":
            _copy(image, rest)
        elif word == "RUN" and "useradd" in rest:
            _folders(image, rest)
        elif word == "RUN":
            _step(image, root, rest)
        elif word == "WORKDIR":
            image.work = rest
        elif word == "CMD":
            image.command = yaml.safe_load(rest)
        else:
            assert (word, rest) in {("USER", "export"), ("VOLUME", "/data")} or word == "FROM", f"{word} {rest}"
    return image


def _environment(image: Image) -> None:
    """A Python of its own that finds what ours has installed, but for the project."""
    folder, packages = image.root / "environment", image.root / "packages"
    run = [sys.executable, "-m", "venv", "--without-pip", "--copies", str(folder)]
    subprocess.run(run, check=True, capture_output=True)
    packages.mkdir()
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if not one.name.lower().replace("-", "_").lstrip("_").startswith(("pleo_export", "editable__")):
            (packages / one.name).symlink_to(one)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(f"{packages}\n")
    prefect = folder / "bin" / "prefect"
    prefect.write_text(f"#!{folder}/bin/python\nimport sys\nfrom prefect.cli import app\nsys.exit(app())\n")
    prefect.chmod(0o755)
    image.environment |= {
        "PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": f"{image.root}/home/export", "LANG": "C.UTF-8",
    }  # fmt: skip


def _sources(folder: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def _copy(image: Image, rest: str) -> None:
    """COPY, from the first stage or from the sources."""
    *options, last = rest.split()
    flags = [option for option in options if option.startswith("--")]
    target = Path(image.at(last))
    target.mkdir(parents=True, exist_ok=True)
    if "--from=wheel" in flags:
        assert options[-1] == last == "/wheels", "the stages share their folder here"
        return
    for source in options[len(flags) :]:
        shutil.copy(ROOT / source, target)


def _folders(image: Image, command: str) -> None:
    """What `useradd` and `install` make: the user's home, and a folder that nobody else may enter."""
    made = re.search(
        r"useradd --uid (\d+) --create-home export && install -d -o export -g export -m 700 (/\S+)", command
    )
    assert made is not None, command
    assert made.group(1) == str(UID)
    image.root.chmod(0o755)
    for folder, mode in ((image.root / "home" / "export", 0o755), (image.root / "tmp", 0o700)):
        folder.mkdir(parents=True)
        owned(folder, mode)


def owned(folder: Path, mode: int) -> None:
    """Make it the image's user's."""
    folder.chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder, UID, UID)


def _step(image: Image, work: Path, command: str) -> None:
    """A RUN of the Dockerfile, which is root's there and ours here."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    environment = {**proxies, **pip, **image.environment, "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        ["/bin/sh", "-c", image.at(command)], cwd=work, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@dataclass
class Compose:
    """The services of `compose.yaml`, started one by one; `given` are the variables of its env file, and `here` says
    what is called differently on this machine: names of hosts, ports, the database."""

    image: Image
    folder: Path
    given: Mapping[str, str]
    here: Mapping[str, str]
    stack: ExitStack
    services: dict[str, dict[str, Any]] = field(default_factory=lambda: yaml.safe_load(COMPOSE.read_text())["services"])

    def environment(self, name: str) -> dict[str, str]:
        """What a service's processes are given, and nothing else."""
        own = {key: self._text(value) for key, value in self.services[name].get("environment", {}).items()}
        temporary = {"TMPDIR": str(self.image.root / "tmp")}  # a container has its own
        data = {key: self._data(name, value) for key, value in self.image.environment.items()}
        return {**data, **own, **temporary}

    def start(self, name: str) -> Popen[bytes]:
        """Start a service of the image."""
        service = self.services[name]
        assert service["image"] == OURS
        command = self._command(name, service.get("command", self.image.command))
        return self.stack.enter_context(
            running(command, environment=self.environment(name), log=self.log(name), cwd=self.data(name))
        )

    def run(self, name: str, command: Sequence[str] | None = None, **more: str) -> CompletedProcess[str]:
        """Run a service's command to its end, or another one in its container."""
        wanted = self._command(name, command or self.services[name]["command"])
        environment = {**self.environment(name), **more}
        return subprocess.run(
            wanted, env=environment, cwd=self.data(name), capture_output=True, text=True, timeout=180,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, command).returncode == 0

    def log(self, name: str) -> Path:
        """Where its output goes."""
        return self.folder / f"{name}.log"

    def data(self, name: str) -> Path:
        """Where `/data` of a service is: a volume that it shares, or one of its own."""
        volumes = dict(volume.split(":") for volume in self.services[name].get("volumes", []))
        shared = {target: volume for volume, target in volumes.items()}
        folder = self.folder / shared.get("/data", f"data-of-{name}")
        if not folder.exists():
            folder.mkdir()
            owned(folder, 0o700)
        return folder

    def _command(self, name: str, command: Sequence[str]) -> list[str]:
        assert self.image.work == "/data"
        words = [self._data(name, self.image.at(self._text(word))) for word in command]
        return [*_SETPRIV, *words] if os.geteuid() == 0 else words

    def _data(self, name: str, text: str) -> str:
        return text.replace(f"{self.image.root}/data", str(self.data(name)))

    def _text(self, text: str) -> str:
        """With the variables of the env file, and what is called differently here."""

        def value(found: re.Match[str]) -> str:
            name, _, default = found.group(1).partition(":-")
            return self.given.get(name, default) if ":-" in found.group(1) else self.given[name]

        said = re.sub(r"\$\{([^}]+)\}", value, text)
        for there, here in self.here.items():
            said = re.sub(there, here, said)
        return said
