"""Starts a module of tuner in a process of its own: `python -P start.py FOLDERS MODULE ...`.

FOLDERS, as JSON, are where a person's modules lie. They are searched last, so that a `random.py`
of theirs hides neither Python's own module nor a package. This package is found where it lies, and
not by name: a `tuner.py` of theirs is no package.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path

PACKAGE = Path(__file__).absolute().parents[1]


def find_package() -> None:
    """Import `tuner` from the folder of this very file."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE.name, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE.name] = module
    spec.loader.exec_module(module)


def main() -> None:
    """Run the `main` of the module, which finds its own arguments in `sys.argv`."""
    _, folders, module, *arguments = sys.argv
    sys.path += [
        folder for folder in [*json.loads(folders), str(PACKAGE.parent)] if folder not in sys.path
    ]
    sys.argv = [module, *arguments]
    find_package()
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
