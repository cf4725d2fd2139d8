from __future__ import annotations

import json
import subprocess
import sys

from tuner.ledger.environment import environment_record


def test_the_record_is_json_and_says_where_a_run_happened() -> None:
    record = environment_record(backend="jax", precision="float32", data={"split": "ab"})
    assert json.loads(json.dumps(record)) == record
    assert record["backend"] == "jax"
    assert record["data"] == {"split": "ab"}
    assert record["cpu"]["cores"] >= 1
    assert record["packages"]["numpy"]


def test_no_framework_is_imported_to_find_versions() -> None:
    script = (
        "import sys; from tuner.ledger.environment import versions\n"
        "versions(); import tuner.ledger.table, tuner.report.results\n"
        "bad = {'keras', 'tensorflow', 'jax', 'pandas', 'numpy'} & set(sys.modules)\n"
        "print(sorted(bad)); sys.exit(bool(bad))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stdout
