"""What is installed is what was tested: pyproject and the lock agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tuner.version import __version__

ROOT = Path(__file__).parents[1]


def locked() -> dict[str, Version]:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = [line.split(";")[0].strip() for line in lines if line and not line.startswith("#")]
    return {name: Version(version) for name, version in (pin.split("==") for pin in pins)}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in texts if not text.startswith(project["name"])]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_direct_dependency_is_locked_within_its_bounds(requirement: Requirement) -> None:
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()
    assert name in locked(), "run `make lock`"
    assert requirement.specifier.contains(locked()[name]), "run `make lock`"
    assert requirement.specifier, "a lower bound that was tested"


def test_a_package_has_one_version_for_every_python() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    names = [line.split("==")[0] for line in lines if "==" in line]
    assert len(names) == len(set(names))
    assert not any("python_full_version" in line for line in lines)


def test_who_cites_it_names_this_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
