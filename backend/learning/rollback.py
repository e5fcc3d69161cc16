"""Makes an earlier version live again, as part of a round, because rounds alone publish versions of a project.

The earlier version is published once more, by a new number: so the newest version that was not kept aside is always
the live one, names in Label Studio go up, and its predictions are pushed and older ones removed as after any round.
The copy counts as made from today's labels. A round with the same labels therefore leaves it live; the next change of
a label has the learner fitted again, and its result must pass the gate as always.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from backend.errors import ModelUnavailable
from backend.learning.gate import Gate, is_deep
from backend.learning.labelled import TaskImage, count_labels, digest_labels
from backend.learning.versions import Versions
from backend.store import Store, Version
from model_zoo.errors import ModelZooError

LOG = logging.getLogger(__name__)
ROLLBACK_OF = "rollback_of"
"""Metric of a version that is another one published again: that one's name."""


@dataclass(frozen=True)
class RolledBack:
    """The version that is live now, None where none was wanted or it could not be; and a sentence for people."""

    version: Version | None
    message: str = ""


class Rollback:
    """Carries out what `Store.want_version` noted."""

    def __init__(self, store: Store, versions: Versions, gate: Gate) -> None:
        self._store = store
        self._versions = versions
        self._gate = gate

    def carry_out(
        self,
        project: int,
        images: Sequence[TaskImage],
        classes: tuple[str, ...],
        learner_name: str,
        config_digest: str,
    ) -> RolledBack:
        """Publish the wanted version again; one that cannot be is wanted no more."""
        wanted = self._store.wanted_version(project)
        if wanted is None:
            return RolledBack(None)
        if wanted.classes != classes:
            known, now = ", ".join(wanted.classes), ", ".join(classes)
            return self._give_up(wanted, f"it knows the classes {known}, and the labelling config has {now}")
        try:
            learner = self._versions.load(wanted)
        except (ModelUnavailable, ModelZooError) as problem:
            return self._give_up(wanted, str(problem))
        maker = wanted.learner if is_deep(wanted) else learner_name
        metrics = {name: value for name, value in wanted.metrics.items() if name != "aside"}
        version = self._versions.publish(
            project,
            learner,
            digest=digest_labels(images, classes, maker, config_digest),
            labels=count_labels(images),
            metrics={**metrics, ROLLBACK_OF: wanted.name, "config": config_digest},
            fulfils_wish=True,
            also=self._gate.champion(wanted).write,
        )
        return RolledBack(version, f"rolled back to {wanted.name}, published again as {version.name}")

    def _give_up(self, wanted: Version, why: str) -> RolledBack:
        self._store.want_version(wanted.project, None)
        message = f"no rollback to {wanted.name}: {why}"
        LOG.error("project %d: %s", wanted.project, message)
        return RolledBack(None, message)
