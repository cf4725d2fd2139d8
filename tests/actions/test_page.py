"""The page of a run, while it is on."""

from __future__ import annotations

import time

from tests.report import fixed_ledger
from tuner.actions.page import LivePage, write_run_page
from tuner.execution.events import Notice, TrialProgress

BANNER, REFRESH = "This run is on: 8 of", 'data-refresh="30"'


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_page_is_written_while_the_run_is_on_and_says_so(tmp_path):
    folder = fixed_ledger.make(tmp_path)
    with folder.lock(), LivePage(folder, pause_seconds=0.01) as page:
        page.listen(TrialProgress(1, 0, 1, 2, 5, 10, 0.5))
        time.sleep(0.1)
        assert not folder.report.exists()  # nothing has changed
        page.listen(Notice("something has"))
        wait_for(folder.report.exists)
        told = folder.report.read_text("utf-8")
    assert BANNER in told and REFRESH in told
    assert "location.reload()" in told
    assert write_run_page(folder) == ""
    ended = folder.report.read_text("utf-8")
    assert BANNER not in ended and REFRESH not in ended


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path):
    folder = fixed_ledger.make(tmp_path)
    folder.report.mkdir()
    with LivePage(folder, pause_seconds=0.01) as page:
        page.listen(Notice("something has"))
        time.sleep(0.2)
    assert "report.html could not be written" in write_run_page(folder)
