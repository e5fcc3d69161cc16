"""The data set of ``clickpick evaluate pixels``: found, read once and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.commands.evaluate_output import progress_bar
from model_zoo.errors import BadInput

if TYPE_CHECKING:
    from backend.learning.budgets import Over
    from backend.learning.simulated_queries import SimulatedImage


@dataclass(frozen=True)
class Sources:
    """Where a data set lies. ``void``: ids of no class."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path
    classes: Path
    void: tuple[int, ...]


@dataclass(frozen=True)
class DataSet:
    """Checked images, and the names of their classes."""

    classes: tuple[str, ...]
    train: list[SimulatedImage]
    test: list[SimulatedImage]


def read_data_set(
    sources: Sources, budget: int, max_pixels: int, *, ask_void: bool, over: Over = "image"
) -> DataSet:
    """The data set; nothing is wrong with any image of it when the first learner is trained.

    budget: the largest, for which every image to train on must have pixels enough; over: what it goes over.
    Raises BadInput.
    """
    from backend.learning.simulate import check_candidates  # noqa: PLC0415 - each command imports what it needs
    from backend.learning.simulated_data import list_pairs, open_pair, read_classes  # noqa: PLC0415

    classes = read_classes(sources.classes, sources.void)
    train = list_pairs(sources.train_images, sources.train_labels)
    test = list_pairs(sources.test_images, sources.test_labels)
    opened: list[SimulatedImage] = []
    with progress_bar() as progress:
        for pair in progress.track([*train, *test], description="checking the images"):
            opened.append(open_pair(pair, classes, max_pixels))
            if len(opened) <= len(train):
                check_candidates(opened[-1], budget, ask_void, over)
    data = DataSet(classes.names, opened[: len(train)], opened[len(train) :])
    if not any(image.class_pixels for image in data.test):
        raise BadInput(
            f"{sources.test_labels} has no pixel of a class; expected label images with ids of the class file"
        )
    return data
