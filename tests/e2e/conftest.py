"""One Label Studio, one ClickPick and one browser for all tests of this folder.

``CLICKPICK_LABEL_STUDIO`` names the label-studio command, ``CLICKPICK_CHROMIUM`` the browser, ``CLICKPICK_TEST_ENGINE``
the engine: local, or ray on a cluster of two nodes that is started here. Screenshots go to artifacts/e2e.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from backend.connect import connect
from backend.demo.clickpick import ClickPickServer
from backend.demo.label_studio import LabelStudioServer
from backend.round_queue import Round
from backend.store import Store
from backend.studio import Studio
from tests.e2e.studio_api import Api
from tests.e2e.studio_page import StudioPage
from tests.fakes.ray_cluster import LocalCluster

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "artifacts" / "e2e"
STUDIO_PORT = 8130
BACKEND_PORT = 8131
ROUND_SECONDS = 90.0
ENGINE = os.environ.get("CLICKPICK_TEST_ENGINE", "local")
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAILED = pytest.StashKey[bool]()


@dataclass(frozen=True)
class Project:
    """A connected project and its tasks, in the order of the images that were given."""

    id: int
    tasks: tuple[int, ...]


class Backend:
    """The ClickPick server, and what a test wants to know of its rounds."""

    def __init__(self, server: ClickPickServer) -> None:
        self.server = server

    def rounds(self, project: int) -> list[Round]:
        """Newest first."""
        with closing(Store(store_url(self.server))) as store:
            return store.rounds.history(project)

    def wait_for_rest(self, project: int, after: int = 0) -> Round:
        """The last round of the project, once a round later than number ``after`` is over and none waits."""
        limit = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < limit:
            rounds = self.rounds(project)
            over = rounds and all(each.state in ("done", "failed") for each in rounds)
            if over and rounds[0].id > after:
                assert rounds[0].state == "done", rounds[0]
                return rounds[0]
            time.sleep(0.25)
        raise AssertionError(f"no round after {after} was over in {ROUND_SECONDS} s: {self.rounds(project)}")

    def requests(self) -> list[str]:
        """Paths that were asked for since the server was started, oldest first."""
        pattern = re.compile(r'"(?:GET|POST) (/\w*)')
        return pattern.findall(self.server.process.log.read_text(errors="replace"))


@pytest.fixture(scope="session")
def studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    named = os.environ.get("CLICKPICK_LABEL_STUDIO")
    executable = Path(named or ROOT / ".venv-labelstudio" / "bin" / "label-studio")
    if named is None and not executable.exists():
        pytest.skip("needs Label Studio: run `make setup`, or name its command in CLICKPICK_LABEL_STUDIO")
    log = SCREENSHOTS / "label-studio.log"
    data = tmp_path_factory.mktemp("label-studio")
    with LabelStudioServer(executable, data, port=STUDIO_PORT, log=log) as server:
        yield server


@pytest.fixture(scope="session")
def api(studio_server: LabelStudioServer) -> Iterator[Api]:
    with studio_server.session() as session:
        yield Api(studio_server.url, session)


@pytest.fixture(scope="session")
def studio(studio_server: LabelStudioServer) -> Iterator[Studio]:
    with closing(Studio(studio_server.url, studio_server.token())) as client:
        yield client


def store_url(server: ClickPickServer) -> str:
    """Where a server keeps its tables."""
    data = Path(server.environment["CLICKPICK_DATA"])
    return server.environment["CLICKPICK_DATABASE_URL"] or f"sqlite:///{data / 'clickpick.db'}"


@contextmanager
def nodes_of_engine() -> Iterator[LocalCluster | None]:
    """A cluster for one server's engine ray; none for the local engine."""
    if ENGINE == "ray":
        with LocalCluster(nodes=2) as cluster:
            yield cluster
    else:
        yield None


def choice_of(cluster: LocalCluster | None) -> dict[str, str]:
    """The environment that chooses the engine. Replicas, a round and shards of its queue share the nodes' two cores."""
    if cluster is None:
        return {}
    return {
        "CLICKPICK_ENGINE": "ray",
        "CLICKPICK_RAY_ADDRESS": cluster.address,
        "CLICKPICK_RAY_MIN_REPLICAS": "2",
        "CLICKPICK_RAY_MAX_REPLICAS": "2",
        "CLICKPICK_RAY_CPUS": "0.25",
        "CLICKPICK_RAY_ROUND_CPUS": "0.25",
    }


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment of the server of most tests: on a cluster, its tables are in PostgreSQL."""
    with nodes_of_engine() as cluster:
        database = request.getfixturevalue("postgres").new_database() if cluster else ""
        yield {**choice_of(cluster), "CLICKPICK_DATABASE_URL": database}


@pytest.fixture(scope="session")
def backend(
    studio_server: LabelStudioServer, engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    server = ClickPickServer(
        tmp_path_factory.mktemp("clickpick"),
        studio_url=studio_server.url,
        token=studio_server.token(),
        port=BACKEND_PORT,
        log=SCREENSHOTS / "clickpick.log",
        settings={"GUNICORN_CMD_ARGS": "--access-logfile -", **engine},
    )
    with server:
        yield Backend(server)


@pytest.fixture
def new_project(
    api: Api, studio: Studio, backend: Backend
) -> Callable[[str, str, Mapping[str, bytes]], Project]:
    """(title, labelling config, file name -> image) -> the project, connected to ClickPick."""

    def create(title: str, config: str, images: Mapping[str, bytes]) -> Project:
        number = api.create_project(title, config)
        tasks = tuple(api.upload(number, images))
        connect(studio, number, backend.server.url)
        return Project(number, tasks)

    return create


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = (os.environ.get("CLICKPICK_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, (shutil.which(name) for name in names if name)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def login_state(browser: Browser, studio_server: LabelStudioServer) -> dict[str, object]:
    """Cookies of a user who has logged in through the form."""
    page = StudioPage(browser.new_page(), studio_server.url, SCREENSHOTS)
    page.login(studio_server.username, studio_server.password)
    state = page.page.context.storage_state()
    page.page.context.close()
    return {"cookies": state["cookies"], "origins": []}


@pytest.fixture
def open_page(
    browser: Browser,
    studio_server: LabelStudioServer,
    login_state: dict[str, object],
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[], StudioPage]]:
    """Opens a browser profile of its own at each call; a failed test leaves a picture of each."""
    pages: list[StudioPage] = []

    def open_one() -> StudioPage:
        context = browser.new_context(viewport={"width": 1500, "height": 1000}, storage_state=login_state)
        pages.append(StudioPage(context.new_page(), studio_server.url, SCREENSHOTS))
        return pages[-1]

    yield open_one
    for number, page in enumerate(pages, start=1):
        if request.node.stash.get(FAILED, False):
            page.screenshot(f"failed-{request.node.name}-{number}")
        page.page.context.close()


@pytest.fixture
def editor(open_page: Callable[[], StudioPage]) -> StudioPage:
    return open_page()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
