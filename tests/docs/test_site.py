"""The documentation as a site: built without a warning, complete, linked, and readable without any other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scripts import docs_pages
from scripts.docs_troubleshooting import all_checks
from tests.docs.commands import ROOT

pytestmark = pytest.mark.unit

PICTURE_BYTES = 150 << 10
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """Ids, links and loaded addresses of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for value in (values.get("id"), values.get("name")) if value}
        address = values.get(LOADED.get(tag, "")) or ""
        if address and values.get("rel") != "canonical":
            self.loaded.append(address)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def test_the_site_is_built_without_a_warning(site: Path) -> None:
    """Strictly: pages outside the navigation, and links to what is not there, are warnings."""
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages
    assert not list(site.rglob("users.json"))


def test_no_page_needs_another_host(site: Path) -> None:
    for path in site.glob("*.html"):
        foreign = [address for address in Page(path).loaded if urlsplit(address).netloc]
        assert not foreign, f"{path.name} loads {foreign}"
    for path in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?https?:|@import", path.read_text(encoding="utf-8")), path.name


def test_links_within_the_site_lead_somewhere(site: Path) -> None:
    pages = {path.name: Page(path) for path in site.glob("*.html") if path.name != "404.html"}
    assert len(pages) > 15
    for name, page in pages.items():
        for address in [*page.links, *page.loaded]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = unquote(parts.path) or name
            assert (site / target).is_file(), f"{name}: {address}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids | {"__skip"}, f"{name}: {address}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_from_the_clone_lead_somewhere(site: Path, name: str) -> None:
    """Files of the clone; sections of pages by the ids that the site gives them."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    for link in links:
        parts = urlsplit(link)
        if parts.scheme:
            continue
        assert (ROOT / (parts.path or name)).is_file(), link
        if parts.fragment and parts.path.startswith("docs/"):
            page = Page(site / Path(parts.path).with_suffix(".html").name)
            assert parts.fragment in page.ids, link


def test_each_page_of_the_documentation_is_reached_from_the_readme() -> None:
    """By a link of its own, or through the first page, which has the navigation."""
    assert "](docs/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_pages_that_are_made_are_up_to_date(tmp_path: Path) -> None:
    outdated = docs_pages.outdated(ROOT / "docs")
    assert not outdated, f"run `python -m scripts.docs_pages`: {outdated}"
    assert docs_pages.outdated(tmp_path) == list(docs_pages.PAGES)


def test_the_doctors_findings_are_told() -> None:
    """Every name of a finding that the source has; ruder than the generator, so that it cannot miss one quietly."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sources = [*(ROOT / "backend" / "doctor").glob("*.py"), ROOT / "label_config" / "check.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    codes = set(re.findall(r'Finding\(\s*"([a-z-]+)",\s*"(?:error|warning)"', text))
    assert len(codes) > 25
    for code in codes:
        assert f"\n### {code}\n" in page or f"\n### config-{code}\n" in page, code
    assert sum(len(section) for section in all_checks(ROOT).values()) >= len(codes)


def test_pictures_are_small_and_shown() -> None:
    shown = "".join(
        path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    )
    for path in (ROOT / "docs" / "pictures").glob("*.png"):
        assert path.stat().st_size < PICTURE_BYTES, path.name
        assert f"pictures/{path.name})" in shown, f"{path.name} is on no page"
