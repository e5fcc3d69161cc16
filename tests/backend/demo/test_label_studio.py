from __future__ import annotations

import re
from pathlib import Path

import pytest

from backend.demo.label_studio import LabelStudioServer
from backend.demo.process import ServerFailed

pytestmark = pytest.mark.unit


@pytest.fixture
def server(tmp_path: Path) -> LabelStudioServer:
    return LabelStudioServer(tmp_path / "label-studio", tmp_path / "data")


def test_a_missing_executable_says_how_to_get_it(server: LabelStudioServer) -> None:
    with pytest.raises(ServerFailed, match="pip install label-studio"):
        server.start()


def test_a_server_that_was_not_started_says_so(server: LabelStudioServer) -> None:
    server.stop()
    with pytest.raises(ServerFailed, match="call start"):
        _ = server.process


def test_settings_of_another_installation_do_not_reach_it(server: LabelStudioServer, tmp_path: Path) -> None:
    stray = {
        "DJANGO_DB": "default",
        "LABEL_STUDIO_HOST": "http://elsewhere",
        "HEARTEX_DATABASE_NAME": "/elsewhere",
        "LABEL_STUDIO_API_KEY": "secret",
        "HOST": "shell",
        "PATH": "/bin",
    }
    env = server._environment(stray)
    assert env["DJANGO_DB"] == "sqlite"
    assert env["LABEL_STUDIO_HOST"] == "", "wins over the shell's HOST"
    assert env["LABEL_STUDIO_BASE_DATA_DIR"] == str(tmp_path / "data")
    assert env["LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS"] == "false"
    assert env["PATH"] == "/bin"
    assert not {"HEARTEX_DATABASE_NAME", "LABEL_STUDIO_API_KEY"} & env.keys()


def test_its_secret_key_is_one_that_it_can_read_again_and_an_old_one_stays(
    server: LabelStudioServer, tmp_path: Path
) -> None:
    file = tmp_path / "data" / ".env"
    file.parent.mkdir()
    server._choose_secret_key()
    key = file.read_text()
    assert re.fullmatch(r"SECRET_KEY=[\w-]{64}\n", key), "nothing that is special in such a file"
    assert file.stat().st_mode & 0o077 == 0
    server._choose_secret_key()
    assert file.read_text() == key
