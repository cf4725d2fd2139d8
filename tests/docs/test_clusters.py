"""The files of docs/clusters: they are in the guide as they are, and do what it says.

What a machine without Slurm and Kubernetes cannot try is stood in for: `srun`, `scontrol`, `ray`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tuner.cli.main import COMMANDS
from tuner.cli.main import command as tuner
from tuner.experiment.experiment import parse_experiment

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "clusters"
GUIDE = (DOCS / "clusters.md").read_text("utf-8")
FILES = sorted(path.name for path in FOLDER.iterdir())


def text_of(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def test_the_guide_holds_every_file_as_it_is() -> None:
    shown = re.findall(r"\[`?([\w.-]+)`?\]\(clusters/\1\)[^\n]*\n\n```\w*\n(.*?)```", GUIDE, re.S)
    assert sorted(name for name, _ in shown) == FILES
    for name, block in shown:
        assert block == text_of(name), f"docs/clusters.md differs from docs/clusters/{name}"


def tuner_commands() -> Iterator[tuple[str, list[str]]]:
    texts = [GUIDE, *map(text_of, FILES)]
    for text in texts:
        joined = text.replace("\\\n", " ")
        for line in re.findall(rf"^ *(tuner (?:{'|'.join(COMMANDS)}) .*)$", joined, re.M):
            words = shlex.split(line.partition("#")[0].removesuffix("&"))
            yield words[1], words[2:]


def test_every_command_in_it_is_one() -> None:
    commands = list(tuner_commands())
    assert len(commands) > 5
    for name, arguments in commands:
        command = tuner.get_command(click.Context(tuner), name)
        assert command is not None
        context = click.Context(command, **tuner.context_settings)
        command.make_parser(context).parse_args(arguments)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".sh")])
def test_scripts_are_ones_that_bash_understands(name) -> None:
    subprocess.run(["bash", "-n", FOLDER / name], check=True)


def test_one_version_of_ray_everywhere() -> None:
    lock = (DOCS.parent / "requirements.lock").read_text("utf-8")
    locked = re.search(r"^ray==(\S+)", lock, re.M)[1]
    named = re.findall(r"(?:rayproject/ray:|rayVersion: \")([\d.]+)", GUIDE)
    assert set(named) == {locked}


# ---------------------------------------------------------------------- Slurm

STAND_INS = {
    "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": 'echo "$@" >> "$CALLS"',
    "ray": """echo "ray $@ token=${#RAY_AUTH_TOKEN}" >> "$CALLS"
case $* in *--block) exec sleep 60;; esac""",
    "python": f'exec {shlex.quote(sys.executable)} "$@"',
    "tuner": f'exec {shlex.quote(sys.executable)} "$(dirname "$0")/run.py" "$@"',
}
RUN = """\
import os, pathlib, signal, sqlite3, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--results") + 1], "mine")
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
ledger = sqlite3.connect(folder / "ledger.sqlite")
ledger.execute("CREATE TABLE IF NOT EXISTS starts (command)")
ledger.execute("INSERT INTO starts VALUES (?)", [" ".join(sys.argv[1:])])
ledger.commit()
(number,) = ledger.execute("SELECT count(*) FROM starts").fetchone()
(folder / "checkpoints" / f"{number}.npz").write_text("state")
for one in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(one, lambda *_: sys.exit(130))
print("training", flush=True)
if os.environ["ENDS"] == "when told":
    time.sleep(60)
sys.exit(int(os.environ["ENDS"]))
"""


class Allocation:
    """What Slurm gives a job, as far as the script looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        bin_folder = folder / "venv" / "bin"
        bin_folder.mkdir(parents=True)
        for name, text in STAND_INS.items():
            (bin_folder / name).write_text(f"#!/bin/bash\n{text}\n")
            (bin_folder / name).chmod(0o755)
        (bin_folder / "run.py").write_text(RUN)
        (bin_folder / "activate").write_text(f"PATH={bin_folder}:$PATH\n")
        self.environ = {
            "PATH": os.environ["PATH"],
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NUM_NODES": "3",
            "SLURM_CPUS_PER_TASK": "16",
            "VENV": str(folder / "venv"),
            "CALLS": str(self.calls),
            "TMPDIR": str(folder),
            "EXPERIMENT": "mine.yaml",
            "RESULTS": str(folder / "shared"),
        }

    def run(self, ends: str, send: int | None = None) -> int:
        """The script's status; a signal comes, as --signal=B: says, to the script alone."""
        process = subprocess.Popen(
            ["bash", FOLDER / "slurm.sh"],
            env={**self.environ, "ENDS": ends},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        if send is not None:
            process.send_signal(send)
        process.stdout.close()
        return process.wait(30)

    def starts(self) -> list[str]:
        path = self.folder / "shared" / "mine" / "ledger.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as ledger:
            return [row[0] for row in ledger.execute("SELECT command FROM starts")]

    def told(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def allocation(tmp_path: Path) -> Allocation:
    return Allocation(tmp_path)


def test_when_the_time_is_up_the_job_is_put_back_and_goes_on_where_it_stopped(allocation) -> None:
    assert allocation.run("when told", send=signal.SIGUSR1) == 130
    assert allocation.told()[-1] == "requeue 4711"
    assert len(allocation.starts()) == 1
    assert not (allocation.folder / "tuner-4711").exists()

    assert allocation.run("0") == 0
    assert allocation.told().count("requeue 4711") == 1
    assert len(allocation.starts()) == 2  # in one ledger: the second run found what the first left
    kept = allocation.folder / "shared" / "mine" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["1.npz", "2.npz"]


def test_ray_starts_on_every_node_with_a_token_of_the_job(allocation) -> None:
    assert allocation.run("0") == 0
    deadline = time.monotonic() + 10
    while len(allocation.told()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    head, other = sorted(allocation.told(), reverse=True)
    port = 20000 + 4711
    assert f"start --head --port={port} --num-cpus=16" in head
    assert f":{port} --num-cpus=16 --block" in other
    assert head.endswith("token=64")
    assert other.endswith("token=64")
    (command,) = allocation.starts()
    assert re.fullmatch(
        rf"run mine.yaml --engine ray --ray-address \S+:{port} --results \S+", command
    )


@pytest.mark.parametrize(
    ("ends", "send", "status"), [("when told", signal.SIGTERM, 130), ("3", None, 3), ("2", None, 2)]
)
def test_what_was_cancelled_or_is_over_is_kept_and_not_put_back(
    allocation, ends, send, status
) -> None:
    assert allocation.run(ends, send) == status
    assert len(allocation.starts()) == 1
    assert not any("requeue" in call for call in allocation.told())


def test_the_options_for_sbatch_stand_before_the_first_command() -> None:
    """Slurm reads no others."""
    lines = text_of("slurm.sh").splitlines()
    options = [n for n, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert lines[0] == "#!/bin/bash"
    assert options == list(range(1, len(options) + 1))


# ---------------------------------------------------------------------- KubeRay

# The fields of ray.io/v1, as far as the file has any; a pod's own are Kubernetes'.
RAY_JOB = {
    "entrypoint": str,
    "shutdownAfterJobFinishes": bool,
    "backoffLimit": int,
    "rayClusterSpec": {
        "rayVersion": str,
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": {"idleTimeoutSeconds": int},
        "headGroupSpec": {"rayStartParams": dict, "template": dict},
        "workerGroupSpecs": [
            {
                "groupName": str,
                "replicas": int,
                "minReplicas": int,
                "maxReplicas": int,
                "rayStartParams": dict,
                "template": dict,
            }
        ],
    },
}


def check_fields(found: Any, known: Any, where: str) -> None:
    if isinstance(known, dict):
        assert found.keys() <= known.keys(), where
        for name, value in found.items():
            check_fields(value, known[name], f"{where}.{name}")
    elif isinstance(known, list):
        for value in found:
            check_fields(value, known[0], where)
    else:
        assert type(found) is known, where


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return {part["kind"]: part for part in yaml.safe_load_all(text_of("kuberay.yaml"))}


def pods(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cluster = manifest["RayJob"]["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def test_the_manifest_has_the_fields_of_a_ray_job(manifest) -> None:
    assert manifest["RayJob"]["apiVersion"] == "ray.io/v1"
    check_fields(manifest["RayJob"]["spec"], RAY_JOB, "spec")
    for group in manifest["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_all_pods_have_one_image_and_what_they_mount(manifest) -> None:
    containers = [container for pod in pods(manifest) for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    head = next(pods(manifest))
    volumes = {volume["name"]: volume for volume in head["volumes"]}
    assert {mount["name"] for mount in head["containers"][0]["volumeMounts"]} == volumes.keys()
    claim = volumes["results"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifest["PersistentVolumeClaim"]["metadata"]["name"]
    assert manifest["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert volumes["experiment"]["configMap"]["name"] == manifest["ConfigMap"]["metadata"]["name"]


def test_its_experiment_is_one_and_its_script_runs_it(manifest, tmp_path) -> None:
    data = manifest["ConfigMap"]["data"]
    experiment = parse_experiment(data["experiment.yaml"], "experiment.yaml")
    assert experiment.search.max_trials == 200
    assert manifest["RayJob"]["spec"]["entrypoint"] == "bash /experiment/run.sh"
    for status, expected in ((0, 0), (3, 0), (2, 2), (130, 130)):
        (tmp_path / "tuner").write_text(f"#!/bin/bash\nexit {status}\n")
        (tmp_path / "tuner").chmod(0o755)
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", data["run.sh"]], env=environ, check=False)
        assert done.returncode == expected
