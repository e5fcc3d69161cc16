"""``clickpick weights``, called as the command line calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from backend import cli
from backend.commands import weights as weights_command
from model_zoo.errors import WeightsMissing
from tests.fakes.fake_network import PUBLISHED, SPEC, registered, save_official
from tests.fakes.http_server import Answer, Call, serve

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKPICK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fake_official.pth"
    save_official(path)
    return path


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def url(file: Path, calls: list[Call]) -> Iterator[str]:
    def answer(call: Call) -> Answer:
        calls.append(call)
        return Answer(file.read_bytes())

    with serve(answer) as address:
        yield f"{address}/fake_official.pth"


@pytest.fixture
def fetched(url: str) -> Iterator[None]:
    """``fake-net`` is published for download, under a licence that restricts nothing."""
    with registered(replace(PUBLISHED, urls=(url,), page="", terms="learnt from COCO")):
        yield


def weights(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["weights", *map(str, arguments)])


def test_fetch_shows_the_licence_downloads_and_converts(fetched: None, data: Path, calls: list[Call]) -> None:
    result = weights("fetch", "fake-net")
    assert result.exit_code == 0, result.output
    first, second, last = result.stdout.splitlines()
    assert first == "fake-net: fake_official.pth, 0.0 MB, licence: MIT"
    assert second.strip() == "learnt from COCO"
    assert last.strip().startswith("at hand; sha256 of fake_official.pth: ")
    assert sorted(path.name for path in (data / "weights").rglob("*")) == [
        "downloads", "fake-net.json", "fake-net.safetensors",
    ]  # fmt: skip
    assert "at hand" in weights("fetch", "fake-*").stdout
    assert len(calls) == 1, "what is at hand is not fetched again"
    assert weights("fetch", "fake-net", "--force", "--keep").exit_code == 0
    assert (data / "weights/downloads/fake-net/fake_official.pth").is_file()
    assert len(calls) == 2


@pytest.mark.parametrize("way", ["flag", "setting"])
def test_offline_nothing_is_downloaded(
    fetched: None, url: str, calls: list[Call], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "setting":
        monkeypatch.setenv("CLICKPICK_OFFLINE", "true")
    result = weights("fetch", "fake-net", *(["--offline"] if way == "flag" else []))
    assert result.exit_code == 1
    assert "offline (--offline or CLICKPICK_OFFLINE): nothing is downloaded" in result.stderr
    assert f"bring fake_official.pth from {url}" in result.stderr
    assert "clickpick weights import fake-net FILE" in result.stderr
    assert calls == []


def test_a_restricted_licence_has_to_be_accepted(url: str, calls: list[Call]) -> None:
    with registered(replace(PUBLISHED, urls=(url,))):
        result = weights("fetch", "fake-net")
        assert (result.exit_code, calls) == (1, [])
        assert "licence: MIT (restricted)" in result.stdout
        assert "non-commercial data" in result.stdout
        assert "add --accept-licence" in result.stderr
        assert weights("fetch", "fake-net", "--accept-licence").exit_code == 0


def test_a_file_to_be_had_by_hand_is_told_with_the_command_for_after(file: Path, data: Path) -> None:
    with registered():
        result = weights("fetch", "fake-net", "--accept-licence")
        assert result.exit_code == 1
        assert (
            "open https://example.org/fake in a browser, download fake_official.pth, then run"
            in result.stderr
        )
        assert "clickpick weights import fake-net FILE" in result.stderr
        done = weights("import", "fake-net", file)
        assert done.exit_code == 0, done.output
        assert "fake-net can be used" in done.stdout
        assert (data / "weights/fake-net.safetensors").is_file()


def test_one_failure_does_not_stop_the_others(
    fetched: None, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:100])
    result = weights("fetch", "fake-net")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    file.write_bytes(content)
    assert weights("fetch", "fake-net").exit_code == 0


def test_another_folder(fetched: None, file: Path, tmp_path: Path, data: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert weights("import", "fake-net", file, "--folder", elsewhere).exit_code == 0
    assert (elsewhere / "fake-net.safetensors").is_file()
    assert not data.exists()
    assert weights("verify", "fake-net", "--folder", elsewhere).exit_code == 0
    assert weights("verify", "fake-net").exit_code == 1


def test_verify(fetched: None, file: Path, data: Path) -> None:
    assert "fake-net" not in weights("verify").stdout, "what is not at hand is not asked for"
    missing = weights("verify", "fake-net")
    assert missing.exit_code == 1
    assert "problem  fake-net: weights 'fake-net' (fake-net.safetensors) not found" in missing.stdout
    weights("import", "fake-net", file)
    good = weights("verify", "fake-net", "clicknet")
    assert good.exit_code == 0
    assert "ok       fake-net: as imported on" in good.stdout
    assert "ok       clicknet: as published" in good.stdout
    path = data / "weights/fake-net.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    bad = weights("verify", "fake-net")
    assert bad.exit_code == 1
    assert "changed or damaged" in bad.stdout


def test_list_as_a_table_and_as_json(
    fetched: None, url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_command, "OUT", Console(width=300))
    table = weights("list", "fake-*").stdout
    assert "GrabCut NoC@85/90 9.99/9.99" in table
    assert "clicknet" not in table
    (before,) = json.loads(weights("list", "fake-*", "--json").stdout)
    assert before == {
        "name": "fake-net",
        "parameters": 8,
        "licence": "MIT",
        "restricted": False,
        "paper": "none",
        "expected": SPEC.expected,
        "at_hand": False,
        "to_do": "run: clickpick weights fetch fake-net (0 MB)",
        "file": "fake_official.pth",
        "size": 2000,
        "sha256": None,
        "urls": [url],
        "page": "",
        "terms": "learnt from COCO",
    }
    weights("import", "fake-net", file)
    (after,) = json.loads(weights("list", "fake-*", "--json").stdout)
    assert (after["at_hand"], after["to_do"]) == (True, "")
    assert "clicknet" in {row["name"] for row in json.loads(weights("list", "--json").stdout)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "no-such-*"], "there are no weights 'no-such-*'"),
        (["fetch", "fake-ent"], "did you mean fake-net"),
        (["fetch", "clicknet"], "the weights 'clicknet' are not fetched: install ClickPick again"),
        (["import", "clicknet", "x.pth"], "'clicknet' has no published weights"),
        (["verify", "fake-ent"], "did you mean fake-net"),
    ],
)
def test_wrong_names_are_one_line_and_exit_code_2(fetched: None, arguments: list[str], words: str) -> None:
    result = weights(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_a_wrong_file_is_an_expected_failure(fetched: None, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<!doctype html>")
    result = weights("import", "fake-net", tmp_path / "page.pth")
    assert isinstance(result.exception, WeightsMissing), "main prints it and exits with 1"
    assert "web page" in str(result.exception)


def test_paths_and_contents_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli._fail("a:x:b [bold] /data/:smile:/")
    assert "a:x:b [bold] /data/:smile:/" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(fetched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model_zoo.downloads.download", press)
    result = weights("fetch", "fake-net")
    assert result.exit_code == 130
    assert "interrupted: run the command again to go on" in result.stderr


def test_models_says_what_is_at_hand_and_what_to_fetch(
    fetched: None, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "OUT", Console(width=300))

    def models() -> str:
        return CliRunner().invoke(cli.app, ["models", "fake-*"]).stdout

    before = models()
    assert "to fetch, 0.0 MB" in before
    assert "to fetch: run `clickpick weights fetch NAME`" in before
    weights("import", "fake-net", file)
    assert "at hand" in models()
    assert "0.0 M" in models()
