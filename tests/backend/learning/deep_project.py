"""A project whose deep learner, as its instant one, is a fake."""

from __future__ import annotations

import numpy as np

from backend.engines.worker import Worker
from backend.round_queue import DEEP, Round
from backend.settings import Settings
from backend.store import Store, Version
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answer
from tests.fakes.label_studio import FakeLabelStudio


class Project:
    """A pixel project, the two workers around it, and what the two learners do."""

    def __init__(
        self,
        fake: FakeLabelStudio,
        project: int,
        tasks: list[int],
        settings: Settings,
        trainer: Settings | None = None,
    ) -> None:
        """trainer: settings of the deep learner's process where it is on another machine."""
        self.fake, self.id, self.tasks, self.settings = fake, project, tasks, settings
        self.store = Store(settings.store_url)
        self._instant = Worker(settings)
        self._trainer = Worker(trainer or settings, DEEP)

    def label(self, count: int = 40) -> None:
        """Answer so many pixels of the next task."""
        task = self.tasks.pop(0)
        places = np.random.default_rng(task).permutation(HEIGHT * WIDTH)[:count]
        rows = (places // WIDTH).tolist()
        cols = (places % WIDTH).tolist()
        found = [answer(row, col, CLASSES[row >= HEIGHT // 2]) for row, col in zip(rows, cols, strict=True)]
        self.fake.annotate(task, found)

    def round(self, reason: str = "labels") -> Round:
        self.store.rounds.request(self.id, reason)
        return self.waiting_round()

    def waiting_round(self) -> Round:
        done = self._instant.run_one()
        assert done is not None
        assert done.state == "done", done.message
        return done

    def try_round(self) -> Round:
        """Run the queued round now, or one more, however it ends."""
        self.store.rounds.request(self.id, "labels")
        ended = self._instant.run_one()
        assert ended is not None
        return ended

    def train_after_round(self) -> None:
        self.round()
        assert self.train() is not None

    def train(self) -> Round | None:
        return self._trainer.run_one()

    def is_asked_for(self) -> bool:
        return self.store.rounds.is_claimable(DEEP)

    def expect_asked_for_at(self, labels: int) -> None:
        """The last of so many new labels asks for a training, and none before it."""
        self.label(labels - 1)
        self.round()
        assert not self.is_asked_for()
        self.label(1)
        self.round()
        assert self.is_asked_for()

    @property
    def live(self) -> Version:
        found = self.store.live_version(self.id)
        assert found is not None
        return found
