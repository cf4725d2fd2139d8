"""Signals as people send them: Ctrl-C once and twice, SIGTERM, a terminal that is gone.

python -m benchmarks.reliability.signals [--quick] [-o FILE.md]

The run is in a terminal of its own (a pty), where a person would be. Each row is one run that is
disturbed while it trains, and what is left of it: no epoch that was recorded may be lost, and the
same command must finish the search.
"""

from __future__ import annotations

import argparse
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.preload import preloaded
from benchmarks.reliability.report import publish, verdict
from benchmarks.reliability.search import Search, environment, is_alive, write_data
from benchmarks.reliability.witness import Witness

EXPERIMENT = """
name: experiment
data: {{dataset: {data}, validation: 40}}
model: {{family: mlp, hidden_units: 16}}
training: {{epochs: 40, batch_size: 8, learning_rate: {{choice: [0.001, 0.002]}}}}
"""


class Terminal(Search):
    """`tuner run` in a pty, as its session's leader, so that closing the master is a hangup."""

    master = -1

    def start(self, **settings: Any) -> None:
        self.said = bytearray()
        self.master, slave = pty.openpty()
        command = [sys.executable, "-m", "tuner", "run", "experiment.yaml", *self.options]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environ, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: _control(0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        try:
            while piece := os.read(self.master, 65536):
                self.said += piece
        except OSError:
            return

    def hang_up(self) -> None:
        """As a terminal that is closed, or a connection that is lost."""
        os.close(self.master)

    def type(self, text: bytes) -> None:
        os.write(self.master, text)


def _control(descriptor: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


# ---------------------------------------------------------------------- what people do


def ctrl_c(search: Terminal) -> None:
    search.type(b"\x03")


def ctrl_c_twice(search: Terminal) -> None:
    search.type(b"\x03")
    time.sleep(0.1)
    search.type(b"\x03")


def terminate(search: Terminal) -> None:
    assert search.process is not None
    search.process.send_signal(signal.SIGTERM)


def hang_up(search: Terminal) -> None:
    search.hang_up()


DEEDS: dict[str, tuple[Callable[[Terminal], None], int | None, float]] = {
    "Ctrl-C": (ctrl_c, 130, 10.0),
    "Ctrl-C twice": (ctrl_c_twice, 130, 3.0),
    "SIGTERM": (terminate, 130, 10.0),
    "terminal closed": (hang_up, None, 10.0),
}


def done_to(folder: Path, environ: dict[str, str], name: str) -> list[Any]:
    """One row: disturb, wait, look, and type the command again."""
    deed, expected, limit = DEEDS[name]
    search = Terminal(folder, environ)
    witness = Witness(search.results)
    try:
        search.start()
        wait_for_epochs(witness, 5)
        workers = [pid for pair in search.workers().values() for pid in pair]
        begun = time.monotonic()
        deed(search)
        status, seconds = ended(search, begun)
        view = witness.look()
        said = search.text
        time.sleep(1)
        orphans = sum(map(is_alive, workers)) if status != "still running" else 0
        if status == "still running":
            search.close()
        plain = Search(folder, environ)
        again = plain.run()
        witness.check_files(witness.look())
    finally:
        search.close()
    hint = "to continue: tuner run" in said.replace("\r", "")
    if expected is None:  # nobody is there to read a hint; to end and to go on are both right
        good = status in ("still running", 129, 130, -signal.SIGHUP)
    else:
        good = status == expected and seconds < limit and hint
    return [
        name,
        status,
        seconds,
        verdict(hint),
        sum(1 for row in view.trials.values() if row["state"] == "running"),
        orphans,
        "; ".join(witness.broken) or "nothing",
        again,
        verdict(good and not witness.broken and again == 0 and not orphans),
    ]


def wait_for_epochs(witness: Witness, epochs: int) -> None:
    deadline = time.monotonic() + 120
    while len(witness.look().epochs) < epochs:
        if time.monotonic() > deadline:
            raise SystemExit("no epoch in two minutes")
        time.sleep(0.05)


def ended(search: Search, begun: float) -> tuple[int | str, float]:
    """How and when; a run may well go on without its terminal."""
    assert search.process is not None
    try:
        status: int | str = search.process.wait(20)
    except subprocess.TimeoutExpired:
        return "still running", time.monotonic() - begun
    seconds = time.monotonic() - begun
    time.sleep(0.2)
    return status, seconds


HEAD = [
    *("", "exit status", "s", "says how to go on", "left RUNNING", "orphans"),
    *("lost", "status of the next run", "as it should be"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    rows = []
    with preloaded("tensorflow", environment()) as environ:
        for name in list(DEEDS)[:2] if options.quick else DEEDS:
            with tempfile.TemporaryDirectory(prefix="signals-") as folder:
                data = write_data(Path(folder), 1640)
                (Path(folder) / "experiment.yaml").write_text(EXPERIMENT.format(data=data))
                rows.append(done_to(Path(folder), environ, name))
                print(rows[-1], flush=True)
    publish([common.table("Signals to a run in a terminal", HEAD, rows)], options.output)
    raise SystemExit(any(row[-1] == "NO" for row in rows))


if __name__ == "__main__":
    main()
