"""The picture of the page in README.md, taken of results that were really run.

    make demo
    python -m docs.picture [results/quickstart]

writes docs/report.png: the page as a browser shows it, from its top to the end of "What mattered".
Needs chromium, chromedriver and selenium (`make test` installs the last). Take it again when the
page changes.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tuner.ledger.folder import RunFolder
from tuner.report.page import write_page

TARGET = Path(__file__).parent / "report.png"
MAX_BYTES = 400_000  # everybody who opens the project's page loads it
WIDTH = 1280
_COLOURS = 256  # of its palette: a third of the size, and nobody sees it
# Where the section begins that follows "What mattered".
_END = """
const heads = [...document.querySelectorAll("h2")];
const last = heads.findIndex((head) => head.textContent === "What mattered");
return Math.floor(heads[last + 1].getBoundingClientRect().top + window.scrollY);
"""


def main() -> None:
    """Take the picture of the folder that was named, or of the quickstart's."""
    folder = RunFolder.open(*sys.argv[1:2] or ["results/quickstart"], Path("results"))
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "report.html"
        write_page([folder], page)
        data = _compressed(_photograph(page))
    if len(data) > MAX_BYTES:
        sys.exit(f"{len(data):,} bytes are more than {MAX_BYTES:,}: name a smaller run")
    TARGET.write_bytes(data)
    sys.stdout.write(f"{TARGET}: {len(data):,} bytes\n")


def _photograph(page: Path) -> bytes:
    browser = _open()
    try:
        _resize(browser, 900)
        browser.get(page.as_uri())
        _wait(browser, "return document.documentElement.dataset.ready === 'yes'")
        _resize(browser, browser.execute_script(_END))
        _wait(browser, "return document.fonts.status === 'loaded'")
        browser.execute_script("window.scrollTo(0, 0)")
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        return base64.b64decode(shot["data"])
    finally:
        browser.quit()


def _open() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
    )
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def _resize(browser: Any, height: int) -> None:
    size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def _wait(browser: Any, script: str) -> None:
    WebDriverWait(browser, 60, 0.1).until(lambda b: b.execute_script(script))


def _compressed(png: bytes) -> bytes:
    file = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    main()
