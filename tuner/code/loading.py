"""From `package.module:name` to what a person has written there, or to what is wrong with it."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.code.files import hash_of, is_own_file, own_folders, place_of
from tuner.code.process import prints_aside, search_present_folder
from tuner.errors import InputError, Problem, nearest, reason_of


def load_function(name: str, *, where: str, call: str) -> Any:
    """What the module has under that name: something that can be called, or that has a `build`.

    What the module prints goes to standard error.

    Args:
        name: `package.module:name`.
        where: the value of an experiment that says so, `model.family`.
        call: how it is called, for messages: `build(hp)`, `load()`.

    Raises:
        InputError: there is none, its module raises an error, or another module has its name.
    """
    reference = _Reference(name, where, call)
    reference.check_form()
    search_present_folder()
    reference.check_taken()
    with prints_aside():
        module = reference.imported()
    value = reference.value_in(module)
    if not callable(value) and not callable(getattr(value, "build", None)):
        raise reference.refused(f"{reference.attribute} is no function", type(value).__name__)
    return value


def check_found(name: str, *, where: str, call: str) -> None:
    """Answer a slip of the pen at once: nothing is imported.

    Raises:
        InputError: there is no such module, or another one has its name.
    """
    reference = _Reference(name, where, call)
    reference.check_form()
    search_present_folder()
    reference.check_taken()
    if _spec_of(reference.top) is None:
        raise reference.missing_module(reference.top)


def raised(error: BaseException) -> str:
    """An error of a person's code with the line of theirs where it came from."""
    if isinstance(error, SystemExit):
        told = f"it ended Python: sys.exit({error.code!r})"
    elif isinstance(error, SyntaxError):
        told = f"{type(error).__name__}: {error.msg}"
    else:
        told = reason_of(error)
    place = place_of(error)
    if not place:
        return told
    path, _, line = place.rpartition(":")
    linecache.checkcache(path)
    code = linecache.getline(path, int(line)).strip()
    return f"{told}, at {place}" + (f": {code}" if code else "")


@dataclass(frozen=True)
class _Reference:
    """`package.module:name` in an experiment."""

    name: str
    where: str
    call: str

    @property
    def module(self) -> str:
        return self.name.partition(":")[0]

    @property
    def attribute(self) -> str:
        return self.name.partition(":")[2]

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def refused(self, what: str, received: str = "", mend: str = "") -> InputError:
        expected = f"a module {self.module} that can be imported, with a function {self.call}"
        received = received or self.name
        return InputError(Problem(what, self.where, received, expected, mend))

    def check_form(self) -> None:
        """A path is what people write who have not read of modules."""
        if all(self.module.split(".")) and all(self.attribute.split(".")) and not self._is_path():
            return
        path = self.module.removesuffix(".py").replace("\\", "/").strip("./")
        function = self.attribute or self.call.partition("(")[0]
        mend = f"{path.replace('/', '.') or 'module'}:{function}"
        what, expected = "this names no function of a module", "package.module:function"
        raise InputError(Problem(what, self.where, self.name, expected, mend))

    def _is_path(self) -> bool:
        return self.module.endswith(".py") or not {"/", "\\"}.isdisjoint(self.module)

    def check_taken(self) -> None:
        """A person's file of this name must be what is imported."""
        if (path := taken_file(self.module)) is not None:
            raise self.refused(f"{self.top} is the name of {owner(self.top)}", mend=_rename(path))

    def imported(self) -> ModuleType:
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name and f"{self.module}.".startswith(f"{error.name}."):
                raise self.missing_module(error.name) from error
            raise self._raises(error) from error
        except (Exception, SystemExit) as error:  # whatever stands in the person's file
            raise self._raises(error) from error

    def missing_module(self, missing: str) -> InputError:
        """`missing` is the first part of the name that is not there."""
        parent, _, last = missing.rpartition(".")
        paths = getattr(sys.modules.get(parent), "__path__", ()) if parent else own_folders()
        near = nearest(last, (found.name for found in pkgutil.iter_modules(list(paths))))
        guess = f"did you mean {parent + '.' if parent else ''}{near}? " if near else ""
        mend = f"{guess}Is its folder the present one, or in $PYTHONPATH?"
        return self.refused(f"no such module: {missing}", mend=mend)

    def _raises(self, error: BaseException) -> InputError:
        mend = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            mend = f"install {error.name.partition('.')[0]}, or put its folder into $PYTHONPATH"
        if (path := _taken_in(error)) is not None:
            mend = f"{Path(path).stem} is the name of {owner(Path(path).stem)}: {_rename(path)}"
        what = f"{self.module} cannot be imported"
        return InputError(Problem(what, self.where, raised(error), mend=mend))

    def value_in(self, module: ModuleType) -> Any:
        try:
            return reduce(getattr, self.attribute.split("."), module)
        except AttributeError as error:
            names, below = _functions(module), _modules_in(module)
            near = nearest(self.attribute, names)
            mend = f"{self.module}:{near}?" if near else ""
            if below and not mend:
                mend = f"{self.module}.{nearest(self.attribute, below) or below[0]}:FUNCTION?"
            has = f"has {', '.join(names) or 'no functions'}"
            has += f"; modules in it: {', '.join(below)}" if below else ""
            raise self.refused(f"no such function: {self.module} {has}", mend=mend) from error


def taken_file(module: str) -> str | None:
    """A person's own file that cannot be imported, because its name is another module's."""
    top = module.partition(".")[0]
    spec = _spec_of(top)
    if spec is None:
        return None
    for folder in own_folders():
        if path := _file_in(folder, module):
            start = os.path.join(folder, top)
            places = {spec.origin, *(spec.submodule_search_locations or ())}
            is_found = not places.isdisjoint({start, f"{start}.py", f"{start}/__init__.py"})
            if is_own_file(path):
                return None if is_found or _is_same(spec, path) else path
    return None


def _file_in(folder: str, module: str) -> str | None:
    """The file of a module that would be found in this folder."""
    start = os.path.join(folder, *module.split("."))
    files = (path for path in (f"{start}.py", f"{start}/__init__.py") if os.path.isfile(path))
    return next(files, None)


def _is_same(spec: ModuleSpec, path: str) -> bool:
    """A copy that was installed does as well as the original."""
    return spec.origin is not None and hash_of(spec.origin) == hash_of(path)


def _spec_of(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def owner(top: str) -> str:
    """Whose the name of a module is."""
    if top in sys.stdlib_module_names:
        return "a module of Python itself"
    spec = _spec_of(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return f"the package {next((place for place in places if place), top)}"


def _taken_in(error: BaseException) -> str | None:
    """A person's own file that an error is about: something else was imported in its place."""
    module = getattr(error, "obj", None)  # of an AttributeError
    name = module.__name__ if isinstance(module, ModuleType) else None
    if isinstance(error, ImportError):
        name = error.name
    return taken_file(name.partition(".")[0]) if name else None


def _rename(path: str) -> str:
    return f"give {path} another name"


def _modules_in(module: ModuleType) -> list[str]:
    """Of a package."""
    return [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]


def _functions(module: ModuleType) -> list[str]:
    """What a person may have meant: what is defined there and can be called."""
    values: Iterable[tuple[str, Any]] = vars(module).items()
    return [
        name
        for name, value in values
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]
