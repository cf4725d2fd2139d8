"""The folder of a run: which files lie in it, who may write to it, and how it is found."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import shlex
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from tuner.errors import InputError, Problem, TunerError, nearest
from tuner.ledger.reader import LedgerReader

CONFIRMATION = "confirm"
"""Name of the experiment that confirms a search, and of its folder inside the search's."""

_MAX_NAME_BYTES = 255  # of a file, on every common file system
# Kinds of file systems on which locks and what is on the disk cannot be relied on.
_ON_NETWORKS = (
    "afs beegfs ceph cifs coda davfs gcsfuse glusterfs gpfs lustre ncpfs nfs nfs4 orangefs panfs "
    "pvfs2 rclone s3fs smb3 smbfs sshfs wekafs"
)
_LOCK_PATIENCE_SECONDS = 0.5  # `status` looks at the lock for a moment; that must refuse no run


@dataclass(frozen=True)
class RunFolder:
    """results/NAME: everything about one experiment's runs.

    Raises:
        InputError: the name would lead out of the results folder.
    """

    results_dir: Path
    name: str

    def __post_init__(self) -> None:
        parts = {os.sep, os.altsep or os.sep, "\0"}
        if self.name in ("", ".", "..") or any(part in self.name for part in parts):
            raise InputError(
                Problem(
                    "this name would lead out of the results folder",
                    where="name",
                    received=repr(self.name),
                    expected="letters, digits and . _ -",
                )
            )
        if not _can_be_a_file(self.name):
            received = repr(self.name[:100])
            what = "no folder can have this name"
            raise InputError(Problem(what, "name", received, f"at most {_MAX_NAME_BYTES} bytes"))

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.results_dir / self.name

    @property
    def typed(self) -> str:
        """What names it in a command that is typed here: a path, where its name would not do."""
        path, here = self.path.resolve(), Path.cwd()
        if path.parent == (here / "results").resolve():
            return self.name
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    @property
    def experiment(self) -> Path:
        """The experiment as it was resolved."""
        return self.path / "experiment.yaml"

    @property
    def environment(self) -> Path:
        """Versions, hardware, hashes."""
        return self.path / "environment.json"

    @property
    def ledger(self) -> Path:
        """The truth."""
        return self.path / "ledger.sqlite"

    @property
    def trials_csv(self) -> Path:
        """One row a trial, derived from the ledger."""
        return self.path / "trials.csv"

    @property
    def report(self) -> Path:
        """The HTML page, derived from the ledger."""
        return self.path / "report.html"

    @property
    def logs(self) -> Path:
        """What workers print."""
        return self.path / "logs"

    @property
    def checkpoints(self) -> Path:
        """Newest and best state of the trials that need them."""
        return self.path / "checkpoints"

    @property
    def lock_file(self) -> Path:
        """Held by the running process."""
        return self.path / "lock"

    @classmethod
    def open(cls, name_or_path: str, results_dir: Path) -> RunFolder:
        """The folder that a reader means: a name under the results folder, or a path.

        Raises:
            InputError: nothing of that name has a ledger.
        """
        for candidate in (results_dir / name_or_path, Path(name_or_path)):
            folder = candidate.parent if candidate.name == "ledger.sqlite" else candidate
            if os.path.isfile(folder / "ledger.sqlite"):
                resolved = folder.resolve()
                return cls(resolved.parent, resolved.name)
        raise InputError(_not_found(name_or_path, results_dir))

    def prepare(self, source: str = "") -> None:
        """Makes the folder and checks that it can be written.

        Raises:
            InputError: it cannot be, or the experiment at `source` would be written over by the
                resolved one; nothing was written.
        """
        self._check_links()
        self._check_source(source)
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / ".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise InputError(
                Problem(
                    "cannot write to the results folder",
                    where=str(self.path),
                    received=_reason(self.results_dir, error),
                    mend="give another folder with --results DIR",
                )
            ) from error

    def _check_links(self) -> None:
        """What is written must lie where the person has said, whoever else may write there."""
        for path in (self.path, self.logs, self.lock_file, self.checkpoints):
            if not os.path.islink(path):
                continue
            target = os.path.realpath(path)
            mend = "remove the link, or give the folder that it leads to with --results DIR"
            what = "this is a link; nothing was written"
            raise InputError(Problem(what, str(path), f"a link to {target}", "", mend))

    def _check_source(self, source: str) -> None:
        """Of a run, experiment.yaml is its own; where there was none, it is the person's."""
        there = os.path.exists(source) and os.path.exists(self.experiment)
        if there and os.path.samefile(source, self.experiment) and not os.path.exists(self.ledger):
            what = "the results would be in the experiment's own folder and replace it"
            mend = "another name:, or --results DIR"
            raise InputError(Problem(what, source, f"results in {self.path}", "", mend))

    def experiment_file(self) -> Path:
        """The path of experiment.yaml, which is there afterwards, from the ledger if need be.

        Raises:
            InputError: neither the file nor the ledger has it.
        """
        if self.experiment.is_file():
            return self.experiment
        with LedgerReader.open_read_only(self.ledger) as ledger:
            text = ledger.experiment_yaml
        if not text:
            what = "the experiment of these results is missing"
            mend = "tuner run EXPERIMENT continues them"
            raise InputError(Problem(what, str(self.experiment), mend=mend))
        write_atomically(self.experiment, text)
        return self.experiment

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process; the system lets go when the process dies.

        Raises:
            TunerError: another process holds it; the message names that process.
        """
        with self.lock_file.open("a+", encoding="utf-8") as file:
            if not _acquired(file):
                raise TunerError(self._held_message())
            file.truncate(0)
            started_at = datetime.now(UTC).isoformat(timespec="seconds")
            who = {"pid": os.getpid(), "host": socket.gethostname(), "started_at": started_at}
            file.write(json.dumps(who))
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)
                fcntl.flock(file, fcntl.LOCK_UN)

    def holder(self) -> int | None:
        """The process that runs this experiment now; None when none does; 0 when unknown."""
        try:
            with self.lock_file.open("r", encoding="utf-8", errors="replace") as file:
                if _try_lock(file, fcntl.LOCK_SH):
                    return None
                pid = _parsed(file.read()).get("pid")
                return pid if isinstance(pid, int) else 0
        except OSError:
            return None

    def _held_message(self) -> str:
        who = _parsed(self.lock_file.read_text(encoding="utf-8", errors="replace"))
        process = f"process {who['pid']}" if "pid" in who else "another process"
        host = who.get("host", "")
        where = f" on {host}" if host and host != socket.gethostname() else ""
        since = f" since {who['started_at']}" if "started_at" in who else ""
        return (
            f"{self.path}: {process}{where} has been running this experiment{since}\n"
            f"    fix:      wait for it, watch it with `tuner status {shlex.quote(self.typed)}`, "
            "or stop it with Ctrl-C there"
        )


_KEPT = {"experiment.yaml", "environment.json", "confirmation.json", "lock", "checkpoints", "logs"}


def run_of(path: Path) -> Path | None:
    """The folder whose run needs the file at `path`; None for all else, and what can be derived."""
    path = Path(os.path.realpath(path))
    for folder in path.parents:
        if os.path.isfile(folder / "ledger.sqlite"):
            name = path.relative_to(folder).parts[0]
            return folder if name in _KEPT or name.startswith("ledger.") else None
    return None


def run_folders(results_dir: Path) -> list[RunFolder]:
    """Every folder with a ledger under the results folder, by name."""
    if not os.path.isdir(results_dir):
        return []
    try:
        names = sorted(os.listdir(results_dir))
    except OSError as error:
        problem = Problem(
            "cannot read the results folder",
            where=str(results_dir),
            received=error.strerror or str(error),
            mend="give another folder with --results DIR",
        )
        raise InputError(problem) from error
    found = (name for name in names if os.path.isfile(results_dir / name / "ledger.sqlite"))
    return [RunFolder(results_dir, name) for name in found]


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of the file system that holds a path, such as `nfs4`; empty on a machine's own.

    `mounts` is what /proc/self/mounts holds.
    """
    if mounts is None:
        with suppress(OSError):
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    whole = path.resolve()
    rows = [line.split() for line in (mounts or "").splitlines()]
    places = [(r[1].replace("\\040", " "), r[2].removeprefix("fuse.")) for r in rows if r[2:]]
    above = [(len(p), n, kind) for n, (p, kind) in enumerate(places) if whole.is_relative_to(p)]
    kind = max(above)[2] if above else ""
    return kind if kind in _ON_NETWORKS.split() else ""


def write_atomically(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Replaces a file: a reader, or the next run after a crash, sees the old or the new one.

    A long text may come in parts.
    """
    draft = Draft(path)
    try:
        draft.write([content] if isinstance(content, str | bytes) else content)
        draft.publish()
    except BaseException:
        draft.discard()
        raise


class Draft:
    """A file that is written beside another, in as many parts as one likes, and then replaces it.

    Whoever has one publishes or discards it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._draft.unlink(missing_ok=True)
        self._file = self._draft.open("xb")  # never through a link

    def write(self, parts: Iterable[str | bytes]) -> None:
        """Adds to its end."""
        self._file.writelines(p.encode() if isinstance(p, str) else p for p in parts)

    def publish(self) -> None:
        """It is on the disk, and in the other's place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.replace(self._path)

    def discard(self) -> None:
        """Nothing is left of it."""
        with suppress(OSError):  # what could not be written cannot be written now
            self._file.close()
        self._draft.unlink(missing_ok=True)


def free_path(path: Path, stem: str) -> Path:
    """The path with another stem, numbered where that is taken: `STEM.csv`, `STEM-2.csv`."""
    paths = (path.with_name(f"{stem}-{n}{path.suffix}") for n in itertools.count(2))
    candidates = itertools.chain([path.with_name(stem + path.suffix)], paths)
    return next(path for path in candidates if not os.path.lexists(path))


def _can_be_a_file(name: str) -> bool:
    try:
        return len(os.fsencode(name)) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _reason(results_dir: Path, error: OSError) -> str:
    if results_dir.is_symlink() and not os.path.exists(results_dir):
        return f"{results_dir} is a link to {os.readlink(results_dir)}, which does not exist"
    if os.path.exists(results_dir) and not os.path.isdir(results_dir):
        return f"{results_dir} is no folder"
    return error.strerror or str(error)


def _acquired(file: IO[str]) -> bool:
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while not _try_lock(file, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            what = "this file system has no locks, which keep two runs apart"
            mend = "--results on a disk of this machine (docs/clusters.md says how to keep a copy)"
            raise InputError(Problem(what, file.name, error.strerror or "", "", mend)) from error
        raise
    return True


def _parsed(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _not_found(name: str, results_dir: Path) -> Problem:
    known = [folder.name for folder in run_folders(results_dir)]
    wanted = Path(name).stem if name.endswith((".yaml", ".yml")) else Path(name).name
    guess = wanted if wanted in known else nearest(wanted, known)
    parent = Path(name).parent.name
    if (wanted == "best" or wanted.isdigit()) and parent in known:
        what = "this names a trial, and an experiment is wanted"
        return Problem(what, name, mend=f"{parent}, or tuner show {name}")
    listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return Problem(
        "there are no results of this name",
        where=name,
        expected=f"one of {listed}, or a path"
        if known
        else f"a folder with a ledger; {results_dir} holds none",
        mend=f"did you mean {guess}?" if guess else "tuner run EXPERIMENT, or --results DIR",
    )
