"""The page in a real browser: what a person sees, and what nobody must be able to do to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.report import inside_ledger, page_ledgers
from tests.report.browser import messages, open_browser, requests, resize, show, wait
from tests.report.page_ledgers import HOSTILE
from tests.report.predicted import random_predictions, write_confirming
from tests.report.test_compare_page import hostile_sides, page_of
from tuner.report.page import write_page
from tuner.report.page.html import clean
from tuner.report.prediction_document import keep_document
from tuner.report.predictions import document_of, read_predictions

# Three pages, each opened once in one browser: about ten seconds in all, most of it its start.
DRAWN = """
const figures = [...document.querySelectorAll("figure[data-figure]")].filter((f) => f.offsetParent);
return figures.length > 0 && figures.every((f) => f.dataset.drawn === "yes");
"""
COUNT = "return document.querySelector('.trials .count').textContent"
SCORES = ".trials tr[data-row] td.score"
FOREIGN = "main img, main b, main a[href^=javascript], main script:not(.data), figure a"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as driver:
        yield driver


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def search(browser: Any, results: Path) -> Any:
    """The page of one experiment, opened once: a test undoes what it does."""
    yaml = page_ledgers.SEARCH_YAML.format(name="search", epochs=6, trials=60)
    folder = page_ledgers.write(results, "search", page_ledgers.random_search(60, 6), yaml=yaml)
    write_page([folder], results / "search.html")
    show(browser, results / "search.html")
    return browser


@pytest.fixture(scope="module")
def hostile(search: Any, results: Path) -> Any:
    """Two experiments, one of them full of texts that would like to be more; opened after it."""
    yaml = f"name: x\ndescription: {HOSTILE[1]!r}\n# {HOSTILE[0]}\n"
    folders = [
        page_ledgers.write(results, "hostile", page_ledgers.hostile(), yaml=yaml),
        inside_ledger.write(results, "inside"),
    ]
    inside_ledger.confirm(folders[1])
    names = {"data": {}, "images": {"class_names": list(HOSTILE)}}
    said = {seed: random_predictions(300, len(HOSTILE), seed) for seed in range(2)}
    own = write_confirming(folders[1], [said, said, said], environment=names)
    keep_document(document_of(read_predictions(own)), own)
    write_page(folders, results / "hostile.html")
    show(search, results / "hostile.html")
    return search


@pytest.fixture(scope="module")
def compared(hostile: Any, results: Path) -> Any:
    """A comparison whose sides have hostile names; opened last."""
    folder = page_ledgers.write(results, "sides", hostile_sides())
    path = results / "compared.html"
    path.write_text(page_of([folder], by="note"), encoding="utf-8")
    show(hostile, path)
    return hostile


def texts(browser: Any, selector: str) -> list[str]:
    """What stands in all elements of a kind."""
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    return list(browser.execute_script(script, selector))


def check_quiet(browser: Any) -> None:
    """No script of a text has run, nothing was logged, nothing was asked for."""
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements("css selector", FOREIGN) == []
    assert messages(browser) == [] and requests(browser) == []


def see(browser: Any, figure: str) -> None:
    """Scrolls to a figure and waits for it."""
    found = f"document.querySelector('[data-figure={figure}]')"
    browser.execute_script(f"{found}.scrollIntoView({{behavior: 'instant'}})")
    wait(browser, f"return {found}.dataset.drawn === 'yes'")


def test_the_table_sorts_by_numbers_both_ways_and_then_as_it_was(search):
    ranked = texts(search, SCORES)
    click = "document.querySelector('.trials th button[title=score]').click();"
    known = [float(score) for score in ranked if score != "–"]
    assert known == sorted(known, reverse=True) and len(known) > 20
    search.execute_script(click * 2)
    rising = [float(score) for score in texts(search, SCORES) if score != "–"]
    assert rising == sorted(rising) and rising[0] < known[-1]
    head = "return document.querySelector('.trials th[aria-sort]')?.getAttribute('aria-sort')"
    assert search.execute_script(head) == "ascending"
    search.execute_script(click)
    assert search.execute_script(head) is None and texts(search, SCORES) == ranked


def test_the_table_is_filtered_by_words_and_comparisons(search):
    assert search.execute_script(COUNT) == "60 of 60 trials"
    field = search.find_element("css selector", ".trials input[type=search]")
    field.send_keys("adam depth=100 learning_rate<0.01")
    shown = texts(search, ".trials tr[data-row]")
    assert 0 < len(shown) < 30 and all("adam" in row and "100" in row for row in shown)
    assert search.execute_script(COUNT) == f"{len(shown)} of 60 trials"
    clear = "arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))"
    search.execute_script(clear, field)
    assert search.execute_script(COUNT) == "60 of 60 trials"


def test_the_table_is_filtered_by_states(search):
    click = (
        "[...document.querySelectorAll('.state-filter button')]"
        ".find((b) => b.textContent.startsWith('stopped')).click();"
    )
    search.execute_script(click)
    states = texts(search, ".trials tr[data-row] td:nth-child(2)")
    assert states and set(states) == {"stopped"}
    search.execute_script(click)
    assert search.execute_script(COUNT) == "60 of 60 trials"


def test_a_row_opens_its_trial(search):
    search.execute_script("document.querySelector('.trials tr[data-row]').click()")
    dialog = search.execute_script("return document.getElementById('trial').textContent")
    assert "training.learning_rate" in dialog and "completed" in dialog
    assert search.execute_script("return document.querySelectorAll('#trial svg.spark').length")
    search.execute_script("document.getElementById('trial').close()")


def test_brushing_an_axis_filters_the_table_and_can_be_undone(search):
    from selenium.webdriver import ActionChains

    see(search, "parallel")
    axis = search.find_elements("css selector", ".parallel-axes .reach")[-1]
    mouse = ActionChains(search, duration=20).move_to_element_with_offset(axis, 0, -150)
    mouse.click_and_hold().move_by_offset(0, 60).release().perform()
    assert not search.execute_script(COUNT).startswith("60")
    search.execute_script("document.querySelector('.clear-brush').click()")
    assert search.execute_script(COUNT) == "60 of 60 trials"


def test_pointing_at_a_figure_tells_of_the_trial(search):
    from selenium.webdriver import ActionChains

    see(search, "progress")
    point = search.find_elements("css selector", "[data-figure=progress] .point")[5]
    ActionChains(search, duration=20).move_to_element(point).perform()
    tip = "return document.getElementById('tooltip')"
    wait(search, f"{tip}.hidden === false")
    text = search.execute_script(f"{tip}.textContent")
    assert text.startswith("Trial ") and "learning_rate" in text


def test_a_choice_of_metric_changes_the_curves(search):
    see(search, "curves")
    title = "return document.querySelector('[data-figure=curves] .ytitle').textContent"
    assert search.execute_script(title) == "val_accuracy"
    search.execute_script(
        "document.querySelectorAll('[data-figure=curves] [data-view]')[1].click()"
    )
    assert search.execute_script(title) == "loss"


def test_light_and_dark_change_page_and_figures(search):
    see(search, "curves")
    colors = """
    const tick = document.querySelector("[data-figure=curves] .xtick text");
    return [getComputedStyle(document.body).backgroundColor, getComputedStyle(tick).fill];
    """
    before = search.execute_script(colors)
    search.execute_script("document.getElementById('theme').click()")
    after = search.execute_script(colors)
    search.execute_script("document.getElementById('theme').click()")
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert search.execute_script(colors) == before


def test_figures_are_saved_as_svg_of_this_page_alone(search):
    """One that plotly draws, and one that the page draws itself."""
    search.execute_script(
        "window.saved = {}; window.saveSvg = (text, panel) => "
        "{ window.saved[panel.dataset.figure] = text; };"
    )
    (name, *_) = texts(search, "[data-figure=slice-0] h3")
    for figure in ("slice-0", "parallel"):
        see(search, figure)
        search.execute_script(f"document.querySelector('[data-figure={figure}] .save').click()")
        text = wait(search, f"return window.saved['{figure}']")
        drawing = ElementTree.fromstring(text)
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert name in {part.text for part in drawing.iter()}
        assert len([part for part in drawing.iter() if part.tag.endswith("path")]) > 5


def test_the_name_of_the_median_stands_under_its_line(search):
    line, text = search.execute_script(
        "return ['.histogram line', '.middle span'].map((s) => {"
        "const r = document.querySelector(s).getBoundingClientRect(); return r.x + r.width / 2; });"
    )
    assert abs(line - text) < 3


def test_a_phone_reaches_every_axis_and_sees_what_colours_mean(search):
    resize(search, 390, 844)
    for figure in ("parallel", "pairs"):
        see(search, figure)
    seen = wait(
        search,
        "const box = document.querySelector('[data-figure=parallel] .plot-box');"
        "const hint = document.querySelector('.sideways');"
        "box.scrollLeft = 9999;"
        "return box.scrollWidth > box.clientWidth && "
        "[box.scrollLeft + box.clientWidth - box.scrollWidth, getComputedStyle(hint).display, "
        "document.querySelectorAll('[data-figure=pairs] .colorbar').length];",
    )
    assert abs(seen[0]) <= 1 and seen[1:] == ["block", 1]
    resize(search, 1280, 900)


def test_all_figures_are_drawn_on_a_phone_and_nothing_sticks_out(search):
    resize(search, 390, 9000)
    wait(search, DRAWN)
    assert search.execute_script("return document.documentElement.scrollWidth") <= 390
    assert search.execute_script("return document.querySelectorAll('.js-plotly-plot').length") > 8


def test_after_all_that_there_was_no_error_and_no_request(search):
    check_quiet(search)


def test_hostile_texts_stay_texts(hostile):
    hostile.execute_script("document.getElementById('tab-e0').click()")
    resize(hostile, 1280, 7000)
    wait(hostile, DRAWN)
    assert {clean(text).split("\n")[0] for text in HOSTILE} <= {*texts(hostile, "#e0 .trials td")}
    ticks = texts(hostile, "#e0 .xtick text")
    assert {"<script>window.hacked…", "&lt;b&gt; &amp; <b>bo…"} <= {*ticks}
    check_quiet(hostile)


def test_what_few_runs_keep_is_drawn(hostile):
    resize(hostile, 1280, 900)
    hostile.execute_script("document.getElementById('tab-e1').click()")
    resize(hostile, 1280, 9000)
    wait(hostile, DRAWN)
    drawn = hostile.execute_script(
        "return [...document.querySelectorAll('#e1 [data-drawn]')].map((f) => f.dataset.figure)"
    )
    assert {"confirmed", "reuse-0", "reuse-1", "reuse-2", "gradients"} <= set(drawn)
    assert {"classes", "confusion", "calibration"} <= set(drawn)
    assert hostile.find_elements("css selector", "#e1 [data-figure=reuse-0] .heatmaplayer image")
    check_quiet(hostile)


def test_a_comparison_is_drawn_and_its_hostile_sides_stay_texts(compared):
    resize(compared, 1280, 7000)
    wait(compared, DRAWN)
    assert len(compared.find_elements("css selector", ".js-plotly-plot")) == 5
    assert "&lt;b&gt; &amp; <b>bo…" in texts(compared, ".ytick text")


def test_a_point_of_a_comparison_leads_to_its_trial(compared):
    from selenium.webdriver import ActionChains

    see(compared, "spread")
    points = compared.find_elements("css selector", "[data-figure=spread] .point")
    ActionChains(compared, duration=20).move_to_element(points[0]).click().perform()
    wait(compared, "return document.getElementById('trial').open")
    title = compared.execute_script("return document.getElementById('trial-title').textContent")
    assert title in ("Trial 1", "Trial 2")
    compared.execute_script("document.getElementById('trial').close()")


def test_a_comparison_fits_a_phone_and_asks_for_nothing(compared):
    resize(compared, 390, 9000)
    wait(compared, DRAWN)
    assert compared.execute_script("return document.documentElement.scrollWidth") <= 390
    check_quiet(compared)
