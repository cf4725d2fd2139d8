"""What `pip install convtuner` brings: `make wheel-test` builds it and tries it outside of here.

The environment is new, and holds exactly what the wheel asks for, in the locked versions: its
packages are links to those of this environment, so that nothing is downloaded twice. It shows that
no file is missing from the wheel and no package from its requirements. It does not show what a
package index would answer; `make test-latest` asks one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NAME = "convtuner"
# All that is learnt is whether it runs.
SMALL = ("-S", "training.epochs=1", "-S", "data.train_images=200", "-S", "data.validation=100")
FEW = ("-S", "training.learning_rate={choice: [0.1, 0.01]}", "-S", "training.momentum=0")


pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git knows what belongs to it")


def sources() -> list[str]:
    """What git would commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    named = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in named.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, of a copy: nothing that an earlier build left here gets into it."""
    copy = tmp_path_factory.mktemp("sources")
    for name in sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the sdist, as an installer builds it that finds no wheel."""
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


def build(kind: str, sources: Path, target: Path) -> Path:
    """By the locked setuptools, without a network; the last line is the name of the file."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(target)!r}))"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=sources, check=True, capture_output=True, text=True)
    return target / done.stdout.splitlines()[-1]


def test_the_archive_holds_every_file(unpacked: Path) -> None:
    missing = [name for name in sources() if not (unpacked / name).exists()]
    assert [name for name in missing if name != ".gitignore"] == []


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        licence = next(name for name in file.namelist() if name.endswith("licenses/LICENSE"))
        assert file.read(licence) == (ROOT / "LICENSE").read_bytes()
        for name in names:
            assert file.read(name) == (ROOT / name).read_bytes(), name
    assert names == {name for name in sources() if name.startswith("tuner/")}


def test_the_archive_builds_the_wheel_of_the_sources(wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sources"
    shutil.copytree(ROOT / "tuner", copy / "tuner", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    assert hashes(build("wheel", copy, tmp_path)) == hashes(wheel)


def hashes(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as file:
        return {n: hashlib.sha256(file.read(n)).hexdigest() for n in file.namelist()}


# ---------------------------------------------------------------------- installed


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    python = str(folder / "bin" / "python")
    install = ["--python", python, "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    for part in parts_of(required([NAME])):
        (packages / part.name).symlink_to(part)
    subprocess.run([*pip, "--python", python, "check"], check=True)
    return folder / "bin"


def required(names: list[str]) -> set[str]:
    """The distributions that these ask for, and those that they ask for, without extras."""
    found: set[str] = set()
    while names:
        for text in metadata.requires(names.pop()) or ():
            requirement = Requirement(text)
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and name not in found:
                found.add(name)
                names.append(name)
    return found


def parts_of(distributions: set[str]) -> Iterator[Path]:
    """Folders and files that lie directly in site-packages."""
    parts = set()
    for name in distributions:
        files = metadata.files(name)
        assert files, f"{name} does not say what it has installed"
        for file in files:
            if file.parts[0] not in ("..", "__pycache__"):
                parts.add(Path(str(metadata.distribution(name).locate_file(file.parts[0]))))
    return iter(sorted(parts))


@pytest.fixture
def tuner(installed: Path, tmp_path: Path):
    """Runs a command as a person types it, in a folder of their own."""
    environ = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}
    environ |= {"PATH": f"{installed}:{os.defpath}", "COLUMNS": "100"}

    def call(*arguments: str) -> str:
        command = [str(installed / "tuner"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_it_runs_from_a_starter_to_a_report_where_it_is_installed(
    tuner, tmp_path: Path, installed: Path
) -> None:
    where = "import tuner; print(tuner.__file__)"
    command = [installed / "python", "-I", "-c", where]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert Path(path).is_relative_to(installed.parent)

    assert tuner("--version").strip() == f"tuner {metadata.version(NAME)}"
    assert "mine.yaml" in tuner("init", "mine.yaml")
    assert (tmp_path / "tuner.schema.json").exists()
    assert "2 trials to run" in tuner("plan", "mine.yaml", *SMALL, *FEW)
    tuner("run", "mine.yaml", *SMALL, *FEW)
    assert "2 trials" in tuner("report", "mine")
    page = tmp_path / "results" / "mine" / "report.html"
    assert "</html>" in page.read_text("utf-8")
