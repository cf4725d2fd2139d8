"""From `package.module:name` to a function, or to a message that mends."""

from __future__ import annotations

import os
import sys

import pytest

from tuner.code.loading import load_function, raised
from tuner.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A present folder with modules of a person's; what is imported from it is forgotten."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in sys.modules.keys() - before:
        del sys.modules[name]


def load(name):
    return load_function(name, where="model.family", call="build(hp)")


def refused(name):
    with pytest.raises(InputError) as caught:
        load(name)
    (problem,) = caught.value.problems
    assert problem.where == "model.family"
    return problem


def test_what_is_named_is_found_in_the_present_folder(folder):
    (folder / "ours.py").write_text("def build(hp): return hp\nclass Nested:\n    build = build\n")
    (folder / "below").mkdir()
    (folder / "below" / "my-nets.py").write_text("def build(hp): return 3\n")
    assert load("ours:build")(4) == 4
    assert load("ours:Nested.build")(5) == 5
    assert load("below.my-nets:build")(None) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ny = {}['b']\n", "KeyError: 'b', at ours.py:2: y = {}['b']"),
        (
            "def build(hp:\n    pass\n",
            "SyntaxError: '(' was never closed, at ours.py:1: def",
        ),
        ("import sys\nsys.exit(2)\n", "it ended Python: sys.exit(2), at ours.py:2: sys.exit(2)"),
        ("import helper\n", "ZeroDivisionError: division by zero, at helper.py:1: 1 / 0"),
        ("import no_such_thing\n", "No module named 'no_such_thing', at ours.py:1"),
        ("from helper2 import other\n", "cannot import name 'other' from 'helper2'"),
    ],
)
def test_a_module_that_raises_is_told_with_its_line(folder, text, told):
    (folder / "ours.py").write_text(text)
    (folder / "helper.py").write_text("1 / 0\n")
    (folder / "helper2.py").write_text("")
    problem = refused("ours:build")
    assert problem.what == "ours cannot be imported"
    assert told in problem.received


def test_a_library_that_raises_is_told_with_the_line_that_called_it(folder):
    (folder / "ours.py").write_text("import json\ndef build(hp):\n    return json.loads('no')\n")
    with pytest.raises(ValueError) as caught:
        load("ours:build")(None)
    assert raised(caught.value).endswith("at ours.py:3: return json.loads('no')")


@pytest.mark.parametrize(
    ("name", "what", "mend"),
    [
        ("ours:biuld", "no such function: ours has build, make", "ours:build?"),
        ("ours:value", "value is no function", ""),
        ("oers:build", "no such module: oers", "did you mean ours?"),
        ("below.nest:build", "no such module: below.nest", "did you mean below.nets?"),
        ("below:nets", "no such function: below has no functions; mod", "below.nets:FUNCTION?"),
        ("ours.build:fn", "no such module: ours.build", "present one, or in $PYTHONPATH?"),
        ("ours.py:build", "this names no function of a module", "ours:build"),
        ("./below/nets.py:make", "this names no function of a module", "below.nets:make"),
        ("ours:", "this names no function of a module", "ours:build"),
        ("below..nets:build", "this names no function of a module", ""),
    ],
)
def test_a_slip_of_the_pen_is_mended(folder, name, what, mend):
    (folder / "ours.py").write_text("def build(hp): pass\ndef make(hp): pass\nvalue = 3\n")
    (folder / "below").mkdir()
    (folder / "below" / "nets.py").write_text("def build(hp): pass\n")
    problem = refused(name)
    assert problem.what.startswith(what)
    assert mend in problem.mend


@pytest.mark.parametrize(
    ("name", "owner"),
    [("random", "a module of Python itself"), ("click", "the package"), ("tuner", "the package")],
)
def test_a_file_whose_name_is_taken_is_never_run_and_named(folder, name, owner):
    (folder / f"{name}.py").write_text("raise SystemExit('it was run')\n")
    problem = refused(f"{name}:build")
    assert problem.what.startswith(f"{name} is the name of {owner}")
    assert problem.mend == f"give {folder / name}.py another name"


@pytest.mark.parametrize(
    "text",
    ["from random import mine\n", "import random\nrandom.mine()\n", "import random.mine\n"],
)
def test_a_file_that_is_wanted_by_another_and_taken_is_named(folder, text):
    (folder / "random.py").write_text("def mine(): pass\n")
    (folder / "ours.py").write_text(text)
    problem = refused("ours:build")
    assert f"give {folder / 'random.py'} another name" in problem.mend


def test_a_copy_that_was_installed_will_do(folder, monkeypatch):
    installed = folder / "site-packages"
    installed.mkdir()
    for place in (folder, installed):
        (place / "twice.py").write_text("def build(hp): pass\n")
    monkeypatch.setattr(sys, "path", [str(installed), *sys.path])
    assert load("twice:build").__code__.co_filename == str(installed / "twice.py")
    del sys.modules["twice"]
    (folder / "twice.py").write_text("def build(hp): return 'edited'\n")
    assert refused("twice:build").what.startswith(f"twice is the name of the package {installed}")


def test_what_a_module_prints_is_no_answer_of_a_command(folder, capfd):
    (folder / "ours.py").write_text(
        "import os\nprint('from Python')\nos.write(1, b'past it\\n')\ndef build(hp): pass\n"
    )
    load("ours:build")
    os.write(1, b"the answer\n")
    out, err = capfd.readouterr()
    assert out == "the answer\n"
    assert "past it" in err
