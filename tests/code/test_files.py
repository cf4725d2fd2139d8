"""What identifies a person's own code: every file of theirs that was imported."""

from __future__ import annotations

import hashlib
import importlib
import site
import sys

import numpy as np
import pytest

import tuner
from tuner.code.files import CodeFile, code_of, fingerprint, is_own_file


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Writes modules, imports one of them, and gives what is known of the code then."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write_and_import(name, **texts):
        for module, text in texts.items():
            path = tmp_path / f"{module.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        importlib.import_module(name)
        files = code_of(before, name)
        for module in sys.modules.keys() - before:
            del sys.modules[module]
        return files

    return write_and_import


def test_one_file_is_known_by_its_content_alone(imported):
    text = "import json, wave\n"
    (file,) = imported("alone", alone=text)
    assert fingerprint([file]) == file.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_all_that_a_module_imports_belongs_to_it(imported):
    texts = {"pack__init": "", "pack__nets": "from .blocks import x\nfrom other import y\n"}
    texts |= {"pack__blocks": "x = 1\n", "other": "y = 2\n", "unused": "z = 3\n"}
    files = imported("pack.nets", **texts)
    assert {file.module for file in files} == {"pack.nets", "pack.blocks", "other"}
    assert all(file.is_current for file in files)
    known = fingerprint(files)
    assert fingerprint(files[::-1]) == known
    edited = imported("pack.nets", **texts | {"other": "y = 3\n"})
    assert fingerprint(edited) != known


def test_the_same_code_in_another_folder_has_the_same_fingerprint():
    here, there = (
        [CodeFile("a", f"{folder}/a.py", "12"), CodeFile("b", f"{folder}/b.py", "34")]
        for folder in ("/here", "/there")
    )
    assert fingerprint(here) == fingerprint(there)
    assert fingerprint([]) == ""


def test_a_file_that_was_edited_or_is_gone_is_not_current(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text("x = 1\n")
    file = CodeFile("edited", str(path), hashlib.sha256(b"x = 1\n").hexdigest())
    assert file.is_current
    path.write_text("x = 2\n")
    assert not file.is_current
    path.unlink()
    assert not file.is_current


def test_python_packages_and_tuner_are_not_a_persons_own(tmp_path):
    assert is_own_file(str(tmp_path / "nets.py"))
    for module in (hashlib, site, np, tuner):
        assert not is_own_file(module.__file__)
    assert not is_own_file(str(tmp_path / ".venv/lib/python3.11/site-packages/nets.py"))
