"""What the server refuses to start with, and what it says to run."""

from __future__ import annotations

import pytest

from backend.engines import installed
from backend.engines.installed import check_flask
from backend.errors import ConfigProblem

pytestmark = pytest.mark.unit


def test_the_flask_that_is_installed_will_do() -> None:
    check_flask()


def test_the_flask_that_label_studio_ml_asks_for_is_refused_with_what_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installed, "version", lambda _: "1.1.2")
    with pytest.raises(
        ConfigProblem, match=r"Flask 1\.1\.2 is installed.*pip install --upgrade 'Flask>=3,<4'"
    ):
        check_flask()
