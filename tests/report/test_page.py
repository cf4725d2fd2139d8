"""The page as a file: complete, self-contained, and not to be broken by what stands in it."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tests.report import page_ledgers
from tests.report.page_ledgers import HOSTILE, Plan
from tuner.cli import main
from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import RunProfile, WorkerProfile
from tuner.ledger.workers import WorkerRecord
from tuner.report.page import write_page
from tuner.report.page.page import render_page
from tuner.report.page.source import read_source
from tuner.report.page.trials import trial_columns

ODD = {
    "one": page_ledgers.mixed()[:1],
    "mixed": page_ledgers.mixed(),
    "failures": page_ledgers.failures(),
    "waiting": page_ledgers.waiting(),
    "nothing": [],
    "nothing-searched": [Plan({}, [0.1, 0.2], replicate=seed) for seed in range(3)],
    "equal": [Plan({"training.l2": i}, [0.5]) for i in range(20)],
    "no-epochs": [Plan({"training.l2": 0.1}, [], TrialState.COMPLETED)],
}


class Elements(HTMLParser):
    """What a browser would make of the page: its elements, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[str] = []
        self._in_data = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_data = dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag):
        self._in_data = False

    def handle_data(self, data):
        if self._in_data:
            self.data.append(data)


def page_of(folder: RunFolder) -> str:
    return render_page([read_source(folder)])


def test_a_profiled_run_says_where_the_time_went(tmp_path, capsys):
    folder = page_ledgers.write(tmp_path, "mixed", page_ledgers.mixed())
    worker = WorkerProfile(1, {"import": 4.0, "train": 6.0}, training_flop=12e9, matrix_flops=8e9)
    profile = RunProfile("2026-01-02T03:04:05+00:00", "mixed_bfloat16", {"wait": 9.0}, (worker,))
    assert "e0-profile" not in page_of(folder)
    with Ledger.create_or_open(folder.ledger, "mixed") as ledger:
        ledger.keep_workers([], profile)
    page = page_of(folder)
    assert page.count("e0-profile") == 2  # and a way there from the top
    assert '<td class="n"><bdi>60 %</bdi></td><td class="share"><bdi>█' in page
    assert "a product of bfloat16 matrices reached 8 GFLOP/s there (25 % of it)" in page
    assert "40 % of the time went into starting workers" in page
    for form in ("table", "markdown"):
        assert main.run(["report", str(folder.path), "-f", form]) == 0
        assert capsys.readouterr().out.count("Where the time went") == 1
    for command in ("report", "status"):
        assert main.run([command, str(folder.path), "--json"]) == 0
        (entry,) = json.loads(capsys.readouterr().out)["experiments"]
        assert entry["profile"]["workers"][0]["training_flops"] == 2e9


@pytest.mark.parametrize("name", ODD)
def test_odd_experiments_have_a_page(tmp_path, name):
    page = page_of(page_ledgers.write(tmp_path, name, ODD[name]))
    data = json.loads(Elements(page).data[0])
    assert len(data["columns"][0]["texts"]) == len(ODD[name])


def test_several_workers_have_a_table_and_one_has_none(tmp_path):
    folder = page_ledgers.write(tmp_path, "mixed", page_ledgers.mixed())
    with Ledger.create_or_open(folder.ledger, "mixed") as ledger:
        ledger.keep_workers([WorkerRecord(1, trials=3)])
    assert "e0-workers" not in page_of(folder)
    with Ledger.create_or_open(folder.ledger, "mixed") as ledger:
        ledger.keep_workers([WorkerRecord(n, "<b>", ready_seconds=4) for n in (1, 2)])
    page = page_of(folder)
    assert page.count("e0-workers") == 2
    assert page.count("<td><bdi>&lt;b&gt;</bdi></td>") == 2
    check_has_no_foreign_elements(Elements(page))


def test_where_lower_is_better_the_first_row_has_the_lowest_score(tmp_path):
    folder = page_ledgers.write(
        tmp_path, "min", page_ledgers.random_search(9, 3), objective=("val_loss", "min")
    )
    scores = next(c for c in trial_columns(read_source(folder)) if c.kind == "score").sort or ()
    known = [score for score in scores if score is not None]
    assert known == sorted(known)


def check_is_one_file(elements: Elements) -> None:
    """It asks for nothing, and only its own scripts may run."""
    for tag, attributes in elements.tags:
        assert "src" not in attributes, tag
        address = attributes.get("href") or "#"
        assert address.startswith(("#", "data:")), address
    policy = next(a["content"] for _, a in elements.tags if a.get("http-equiv")) or ""
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "connect-src" not in policy and "script-src 'sha256-" in policy


def check_has_no_foreign_elements(elements: Elements) -> None:
    """Nothing that a text brought along."""
    assert {"img", "b"} & {tag for tag, _ in elements.tags} == set()
    assert sum(tag == "script" for tag, _ in elements.tags) == 3
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)


def test_the_same_ledger_gives_the_same_page_in_one_file_that_asks_for_nothing(folder):
    page = page_of(folder)
    assert page == page_of(folder)
    check_is_one_file(Elements(page))


def test_hostile_texts_make_no_elements(tmp_path):
    yaml_text = f"name: x\ndescription: {HOSTILE[1]!r}\n# {HOSTILE[0]}\n"
    folder = page_ledgers.write(tmp_path, "hostile", page_ledgers.hostile(), yaml=yaml_text)
    elements = Elements(page_of(folder))
    check_has_no_foreign_elements(elements)
    assert HOSTILE[0] in elements.data[0] or "\\u003cscript" in elements.data[0]


def test_an_old_page_stays_when_a_ledger_cannot_be_read(tmp_path, folder):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(InputError):
        write_page([folder, RunFolder(tmp_path, "nowhere")], path)
    assert path.read_text() == "old"


def test_rendering_imports_no_framework_and_help_imports_no_renderer():
    heavy = "{'keras', 'tensorflow', 'jax', 'pandas', 'jinja2', 'plotly'}"
    modules = "tuner.report.page.page, tuner.report.page.compare_page, tuner.cli.main"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
