"""The pictures of the page (README.md) and of the terminal (docs/results.md), of a real run.

    make demo
    python -m docs.picture [results/quickstart]

writes docs/report.png: the page as a browser shows it, from its top to the end of "What mattered";
and docs/terminal.svg: what `tuner report` says at a terminal. Needs chromium, chromedriver and
selenium (`make test` installs the last). Take them again when the page or the report changes.
"""

from __future__ import annotations

import base64
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tuner.ledger.folder import RunFolder
from tuner.report.page import write_page

TARGET = Path(__file__).parent / "report.png"
TERMINAL = Path(__file__).parent / "terminal.svg"
MAX_BYTES = 400_000  # everybody who opens the project's page loads it
WIDTH = 1280
COLUMNS = 100
_LETTERS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_COLOURS = 256  # of its palette: a third of the size, and nobody sees it
# Where the section begins that follows "What mattered".
_END = """
const heads = [...document.querySelectorAll("h2")];
const last = heads.findIndex((head) => head.textContent === "What mattered");
return Math.floor(heads[last + 1].getBoundingClientRect().top + window.scrollY);
"""


def main() -> None:
    """Take the pictures of the folder that was named, or of the quickstart's."""
    folder = RunFolder.open(*sys.argv[1:2] or ["results/quickstart"], Path("results"))
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "report.html"
        write_page([folder], page)
        data = _compressed(_photograph(page))
    if len(data) > MAX_BYTES:
        sys.exit(f"{len(data):,} bytes are more than {MAX_BYTES:,}: name a smaller run")
    TARGET.write_bytes(data)
    TERMINAL.write_text(_drawn(["tuner", "report", folder.name], folder.results_dir), "utf-8")
    for path in (TARGET, TERMINAL):
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


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


def _drawn(command: list[str], results: Path) -> str:
    """What a command says at a terminal, with its colours, as a drawing."""
    from rich.console import Console
    from rich.text import Text

    said = f"$ {' '.join(command)}\n{_typed([*command, '--results', str(results)])}"
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(said), soft_wrap=True)
    drawing = console.export_svg(title=" ".join(command), unique_id="tuner")
    # The reader's own letters: a drawing in a page may not load any, and none are to be loaded.
    drawing = re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("Fira Code, monospace", _LETTERS)
    return "".join(f"{line.rstrip()}\n" for line in drawing.splitlines() if line.strip())


def _typed(command: list[str]) -> str:
    """At a terminal of its own, because a pipe gets no colours."""
    main_end, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    program = [sys.executable, "-m", *command]
    with subprocess.Popen(program, stdout=other_end, stderr=other_end, env=environ) as process:
        os.close(other_end)
        said = b"".join(iter(lambda: _read(main_end), b""))
    os.close(main_end)
    if process.returncode:
        sys.exit(said.decode())
    return said.decode().replace("\r\n", "\n")


def _read(end: int) -> bytes:
    try:
        return os.read(end, 65536)
    except OSError:  # what Linux says when the other end is closed
        return b""


if __name__ == "__main__":
    main()
