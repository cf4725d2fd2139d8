"""`python -m tuner` is `tuner`."""

import os
import sys

# Python puts the present folder first. A `logging.py` there must not hide Python's own.
if not sys.flags.safe_path and sys.path[0] == os.getcwd():
    del sys.path[0]

from tuner.cli.main import main

if __name__ == "__main__":
    main()
