"""Whether what the server needs is installed; imports none of it."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version

from backend.errors import ConfigProblem
from backend.settings import Settings

UPGRADE = "pip install --upgrade 'Flask>=3,<4' 'Werkzeug>=3,<4' 'Jinja2>=3.1,<4' 'itsdangerous>=2.2,<3'"


def check_flask() -> None:
    """ConfigProblem where label-studio-ml's pins were followed, which name a Flask of 2020."""
    found = version("flask")
    if int(found.split(".", 1)[0]) < 3:
        raise ConfigProblem(
            f"Flask {found} is installed, which label-studio-ml asks pip for; ClickPick needs Flask 3, and it "
            f"runs with that as well. Run: {UPGRADE}"
        )


def check_engine(settings: Settings) -> None:
    """ConfigProblem where the settings name an engine whose extra is not installed."""
    if settings.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigProblem(
            "the engine ray needs Ray, which is not installed; install clickpick[ray], or set CLICKPICK_ENGINE=local"
        )
