"""The files of one image, and the record of what they are and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import ImageProblem
from backend.export.coco import coco_object
from backend.export.entries import ImageEntry
from backend.export.files import colour_png, grey_png, indexed_png, npz
from backend.export.folder import ExportFolder
from backend.export.human import human_facts, human_mask, human_objects
from backend.export.plan import VOID, ExportFormat, ExportPlan
from backend.learning.pseudo_labels import PseudoLabels
from label_config import TaskLabels

Load = Callable[[ImageEntry], NDArray[np.uint8]]
Predict = Callable[[NDArray[np.uint8]], PseudoLabels]
Facts = dict[str, Any]


class ImageExport:
    """Writes images of one export. load: the upright image; may raise ImageProblem."""

    def __init__(self, plan: ExportPlan, folder: ExportFolder, load: Load, predict: Predict | None) -> None:
        self._plan = plan
        self._folder = folder
        self._load = load
        self._predict = predict

    def make(self, entry: ImageEntry, digest: str) -> tuple[Facts | None, str]:
        """(record, problem). No record where nothing is said about the image; a problem keeps it from being reused."""
        labels = entry.labels if self._plan.people else None
        image, problem = self._image(entry, labels)
        human = None if labels is None else human_mask(labels, self._plan.classes)
        pseudo = None if image is None or self._predict is None else self._predict(image)
        said = human if pseudo is None else pseudo.classes
        if said is None:
            return None, problem
        record = _record(entry, said.shape, "" if problem else digest)
        if labels is not None and human is not None:
            record["human"] = {**human_facts(labels), "labelled": _share(human)}
            self._write_human(entry, record, human)
        if pseudo is not None:
            mean = round(float(pseudo.confidence.mean()), 4)
            record["model"] = {
                "version": self._plan.version,
                "confidence": mean,
                "labelled": _share(pseudo.classes),
            }
            self._write_model(entry, record, pseudo)
        if self._plan.format is ExportFormat.NPZ:
            self._write(record, f"arrays/{entry.name}.npz", npz(self._arrays(record, human, pseudo)))
        if self._plan.images and image is not None:
            record["image"] = f"images/{entry.name}.png"
            self._write(record, record["image"], colour_png(image))
        self._folder.record(entry.name, record)
        return record, problem

    def _image(self, entry: ImageEntry, labels: TaskLabels | None) -> tuple[NDArray[np.uint8] | None, str]:
        """(image, problem), where it is needed and there; else None."""
        if self._predict is None and not (self._plan.images and labels is not None):
            return None, ""
        try:
            image = self._load(entry)
        except ImageProblem as error:
            return None, str(error)
        height, width = image.shape[:2]
        if labels is None or (height, width) == (labels.height, labels.width):
            return image, ""
        return None, (
            f"its labels belong to an image of {labels.width}x{labels.height} and the image is now {width}x{height}; "
            "label it anew"
        )

    def _write_human(self, entry: ImageEntry, record: Facts, mask: NDArray[np.uint8]) -> None:
        if self._plan.format is ExportFormat.PNG:
            self._write(record, f"human/{entry.name}.png", indexed_png(mask, self._plan))
        elif self._plan.format is ExportFormat.COCO:
            record["human"]["objects"] = human_objects(entry, self._plan.classes, merge=self._plan.merge)

    def _write_model(self, entry: ImageEntry, record: Facts, pseudo: PseudoLabels) -> None:
        if self._plan.format is ExportFormat.PNG:
            self._write(record, f"model/{entry.name}.png", indexed_png(pseudo.classes, self._plan))
            self._write(record, f"confidence/{entry.name}.png", grey_png(pseudo.confidence))
        elif self._plan.format is ExportFormat.COCO:
            record["model"]["objects"] = self._model_objects(pseudo)

    def _model_objects(self, pseudo: PseudoLabels) -> list[Facts]:
        """What the version says of one class in an image is one object."""
        found = []
        for index in range(len(self._plan.classes)):
            mask = pseudo.classes == index
            if mask.any():
                score = round(float(pseudo.confidence[mask].mean()), 4)
                found.append(coco_object(mask, index, score=score, version=self._plan.version))
        return found

    def _arrays(
        self, record: Facts, human: NDArray[np.uint8] | None, pseudo: PseudoLabels | None
    ) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"classes": np.array(self._plan.classes)}
        if human is not None:
            index = {name: number for number, name in enumerate(self._plan.classes)}
            pixels = [(row, col, index.get(label, VOID)) for row, col, label in record["human"]["pixels"]]
            arrays |= {"human": human, "pixels": np.array(pixels, np.int32).reshape(-1, 3)}
        if pseudo is not None:
            arrays |= {"model": pseudo.classes, "confidence": pseudo.confidence.astype(np.float16)}
        return arrays

    def _write(self, record: Facts, file: str, content: bytes) -> None:
        self._folder.write(file, content)
        record["files"].append(file)


def _record(entry: ImageEntry, size: tuple[int, ...], digest: str) -> Facts:
    return {
        "name": entry.name, "task": entry.task.id, "page": entry.page, "url": entry.url,
        "width": size[1], "height": size[0], "image": "", "files": [], "digest": digest,
    }  # fmt: skip


def _share(mask: NDArray[np.uint8]) -> float:
    return round(float((mask != VOID).mean()), 6)
