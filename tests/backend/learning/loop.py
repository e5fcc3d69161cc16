"""The parts of a training process around one store, against the fake Label Studio."""

from __future__ import annotations

from collections.abc import Callable

from backend.learning.rounds import Outcome, RoundRunner
from backend.learning.versions import Versions
from backend.services import open_images, open_studio
from backend.settings import Settings
from backend.store import Store


class Loop:
    """The parts of a training process around one store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.store_url)
        self._studio = open_studio(settings)
        self._images = open_images(settings, self._studio)
        versions = Versions(self.store, settings.versions_folder)
        self.runner = RoundRunner(settings, self.store, self._studio, self._images, versions)

    def close(self) -> None:
        self._images.close()
        self._studio.close()
        self.store.close()

    def run(
        self, project: int, reason: str = "labels", superseded: Callable[[], bool] = lambda: False
    ) -> Outcome:
        return self.runner.run(project, reason, lambda _stage, _share: None, superseded)
