"""What scripts that take pictures work in: a Label Studio, a ClickPick and a browser of their own."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from tests.e2e.conftest import BROWSER_FLAGS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stage:
    """``home``: a folder for what the script needs besides."""

    home: Path
    studio: LabelStudioServer
    backend: ClickPickServer
    browser: Browser


def read_options(description: str | None) -> argparse.Namespace:
    """``out``: folder of the pictures. ``data``: folder that is kept, or None."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--data", type=Path, help="folder that is kept; without it all is made anew")
    return parser.parse_args()


@contextmanager
def stage(data: Path | None, port: int) -> Iterator[Stage]:
    """Start all three; ClickPick has the port after Label Studio's."""
    command = os.environ.get("CLICKPICK_LABEL_STUDIO", ROOT / ".venv-labelstudio" / "bin" / "label-studio")
    names = (os.environ.get("CLICKPICK_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    chromium = next((found for name in names if name and (found := shutil.which(name))), None)
    with ExitStack() as stack:
        home = data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        studio = stack.enter_context(LabelStudioServer(Path(command), home / "label-studio", port=port))
        backend = ClickPickServer(
            home / "clickpick", studio_url=studio.url, token=studio.token(), port=port + 1
        )
        stack.enter_context(backend)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        stack.callback(browser.close)
        yield Stage(home, studio, backend, browser)
