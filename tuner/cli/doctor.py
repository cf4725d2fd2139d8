"""`tuner doctor`: is this machine or cluster ready, and is an experiment's folder whole?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import (
    data_option,
    engine_option,
    engine_problems,
    json_option,
    ray_address_option,
    results_option,
)
from tuner.errors import InputError
from tuner.ledger.folder import RunFolder
from tuner.ledger.repair import Finding, Repair, examine, mend
from tuner.report import format
from tuner.report.render import grid_lines
from tuner.report.table import text_table

if TYPE_CHECKING:
    from tuner.actions.cluster import ClusterExamination, NodeExamination

PROBLEMS = 3


@click.command("doctor")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--repair", is_flag=True, help="Repair what can be repaired; copies are kept.")
@engine_option
@ray_address_option
@json_option
@results_option
@data_option
def command(
    name: str | None,
    repair: bool,
    engine: str,
    ray_address: str | None,
    as_json: bool,
    results_dir: Path,
    data_dir: Path | None,
) -> int:
    """Is this machine ready? With NAME: is everything in that experiment's folder whole?

    Without NAME: versions, devices, data sets found, free disk; with --engine ray of every node of
    a cluster, and what keeps it from training. With NAME, every row, checkpoint and file is read,
    and each problem is told with what it means and how to fix it; --repair makes a copy and fixes
    it. Exit status: 0 no problem, 3 problems found or left, 2 not found.
    """
    if problems := list(engine_problems(engine, ray_address)):
        raise InputError(problems)
    if name is not None and engine == "ray":
        raise click.UsageError(
            "NAME is a folder, and --engine ray a cluster: leave one of them out"
        )
    if name is not None:
        return checkup(name, results_dir, repair=repair, as_json=as_json)
    if repair:
        raise click.UsageError("--repair needs the NAME of an experiment")
    if engine == "ray":
        return cluster_checkup(ray_address, results_dir, data_dir, as_json=as_json)
    from tuner.execution.machine import examination

    found = {**examination(results_dir, data_dir), "results": str(results_dir)}
    if as_json:
        terminal.echo_json(found)
    else:
        click.echo("\n".join(_lines(found)))
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    style = terminal.style_for()
    packages = found["packages"]
    lines = [style("Versions", "head"), f"  python {found['python']} on {found['platform']}"]
    lines += [f"  {name} {version}" for name, version in packages.items()]
    if not {"tensorflow", "jax"} & set(packages):
        lines.append(style("  neither tensorflow nor jax is installed", "bad"))
    memory = format.bytes_text(found["memory_bytes"])
    cores = format.counted(found["cpu"]["cores"], "core")
    lines += ["", style("Devices", "head"), f"  {found['cpu']['model']}, {cores}, {memory}"]
    lines += [
        f"  GPU {gpu['index']}: {gpu['name']}, {format.bytes_text(gpu['memory_bytes'])}"
        for gpu in found["gpus"]
    ] or ["  no GPU (nvidia-smi reports none)"]
    lines += ["", style("Data sets", "head")]
    width = max((len(entry["name"]) for entry in found["datasets"]), default=0)
    for entry in found["datasets"]:
        where = f"  {entry['path']}" if entry["path"] else ""
        lines.append(f"  {entry['name']:<{width}}  {entry['state']}{where}")
    free = format.bytes_text(found["free_bytes"])
    lines += ["", style("Disk", "head"), f"  {free} free for {found['results']}"]
    if kind := found["network_file_system"]:
        warning = f"it is on a network file system ({kind}), where a ledger may be damaged"
        lines.append(style(f"  {warning}: use --results on a disk of this machine", "bad"))
    return lines


# ---------------------------------------------------------------------- an experiment's folder


def checkup(name: str, results_dir: Path, *, repair: bool, as_json: bool) -> int:
    """Examines, repairs if asked to, and prints; the exit status.

    Raises:
        InputError: there is no such experiment.
        TunerError: it is to be repaired while it runs, or there is no room.
    """
    folder = RunFolder.open(name, results_dir)
    result = mend(folder, datetime.now()) if repair else Repair(left=examine(folder))
    problems = [finding for finding in result.left if not finding.is_note]
    if as_json:
        terminal.echo_json(
            {
                "experiment": folder.name,
                "sound": not problems,
                "repaired": result.done,
                "findings": [asdict(finding) for finding in result.left],
            }
        )
    else:
        click.echo("\n".join(_checkup_lines(folder, result, len(problems))))
    return PROBLEMS if problems else 0


def _checkup_lines(folder: RunFolder, result: Repair, problems: int) -> list[str]:
    style = terminal.style_for()
    verdict = format.counted(problems, "problem") if problems else "sound"
    lines = [style(f"{folder.path}: {verdict}", "bad" if problems else "good")]
    lines += [f"  {format.printable(line)}" for line in result.done]
    return lines + _finding_lines(result.left)


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Problems first, each with what it means and what to do."""
    lines = []
    for finding in sorted(findings, key=lambda finding: finding.is_note):
        label = " (note)" if finding.is_note else ""
        lines.append(format.printable(f"  {finding.where}{label}: {finding.what}"))
        for title, text in (("means", finding.means), ("mend", finding.mend)):
            if text:
                lines.append(format.printable(f"      {title + ':':<6} {text}"))
    return lines


# ---------------------------------------------------------------------- a cluster


def cluster_checkup(
    ray_address: str | None, results_dir: Path, data_dir: Path | None, *, as_json: bool
) -> int:
    """Examines a Ray cluster and prints; the exit status.

    Raises:
        InputError: it does not answer, or cannot be used from here.
    """
    from tuner.actions.cluster import examine_cluster

    address = ray_address or os.environ.get("RAY_ADDRESS")
    cluster = examine_cluster(address, results_dir, data_dir)
    if as_json:
        terminal.echo_json(_cluster_document(cluster))
    else:
        click.echo("\n".join(_cluster_lines(cluster)))
    return PROBLEMS if cluster.problems else 0


def _cluster_document(cluster: ClusterExamination) -> dict[str, Any]:
    return {
        "address": None if cluster.is_own else cluster.address,
        "sound": not cluster.problems,
        "slots": cluster.slots,
        "worker": {name.lower(): amount for name, amount in cluster.needs.items()},
        "nodes": [
            {
                "id": node.node.node_id,
                "host": node.node.host,
                "cpus": node.node.cpus,
                "gpus": node.node.gpus,
                "draining": node.is_draining,
                "silent": node.silent or None,
                "tuner": node.facts.get("tuner") or None,
                "machine": dict(node.machine) or None,
            }
            for node in cluster.nodes
        ],
        "findings": [asdict(finding) for finding in cluster.findings],
    }


def _cluster_lines(cluster: ClusterExamination) -> list[str]:
    style = terminal.style_for()
    problems = len(cluster.problems)
    verdict = format.counted(problems, "problem") if problems else "sound"
    where = "on this machine, started to look at it" if cluster.is_own else f"at {cluster.address}"
    lines = [style(f"Ray {where}: {verdict}", "bad" if problems else "good")]
    takes = " and ".join(f"{amount:g} {name}" for name, amount in cluster.needs.items())
    count = format.counted(cluster.slots, "worker")
    lines += [f"  room for {count}, with {takes} for each"]
    lines += ["", style("Nodes", "head")]
    heads = ["node", "CPUs", "GPUs", "memory free", "disk free", "python", "data sets found"]
    table = text_table("", heads, map(_node_row, cluster.nodes), num_numeric=4)
    lines += grid_lines(table, width=terminal.width(), style=style, indent="  ")
    if cluster.findings:
        lines += ["", style("Found", "head"), *_finding_lines(cluster.findings)]
    return lines


def _node_row(node: NodeExamination) -> list[str]:
    counts = [node.node.host, f"{node.node.cpus:g}", f"{node.node.gpus:g}"]
    machine = node.machine
    if not machine:
        return [*counts, *[format.NOTHING] * 4]
    room = map(format.bytes_text, (machine["free_memory_bytes"], machine["free_bytes"]))
    data = [entry["name"] for entry in machine["datasets"] if entry["path"]]
    return [*counts, *room, machine["python"], ", ".join(data) or "none"]
