"""The pictures of the page and of the terminal."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from docs import picture

README = Path(__file__).parents[2] / "README.md"


def test_the_picture_of_the_readme_is_there_and_small():
    assert "](docs/report.png)" in README.read_text("utf-8")
    assert picture.TARGET.stat().st_size <= picture.MAX_BYTES
    with Image.open(picture.TARGET) as image:
        assert image.width == picture.WIDTH


def test_the_terminal_is_drawn_and_loads_nothing():
    assert "](terminal.svg)" in (picture.TERMINAL.parent / "results.md").read_text("utf-8")
    drawing = picture.TERMINAL.read_text("utf-8")
    assert "report" in drawing
    assert "url(http" not in drawing and "@font-face" not in drawing
