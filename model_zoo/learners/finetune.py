"""Learners that train a whole segmentation network, encoder included, on labelled pixels.

A fit takes minutes on a GPU and hours without: such learners are for the background. What is minimised is the
cross-entropy at labelled pixels, see ``sparse_loss``.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray

from model_zoo.encoders import check_image
from model_zoo.errors import BadInput
from model_zoo.learners.base import FitReport, LabelledImage, Learner, Progress
from model_zoo.learners.finetune_policy import DEFAULT, FinetunePolicy
from model_zoo.learners.labels import examples
from model_zoo.learners.samples import Sample, batches, crop_size, read_samples, steps_of
from model_zoo.learners.state import Description, read_state, write_state
from model_zoo.learners.tiles import predict_tiled
from model_zoo.learners.trainer import Trainer
from model_zoo.learners.trunk import SegmentationNetwork, initialise
from model_zoo.precision import quick_precision

NETWORK = "network.safetensors"
READING_SHARE = 0.05
"""Share of the progress bar that reading the images takes."""

NetworkBuilder = Callable[[int], SegmentationNetwork]
"""From the number of classes to a network on the CPU, its encoder pre-trained."""
OnEpoch = Callable[[int, "Finetune"], None]


class Finetune(Learner):
    """A segmentation network trained end to end.

    ``policy`` may be replaced before a fit. ``on_epoch``, if set, is called after every epoch of a fit with its number,
    from 0, and this learner, which then predicts as if the fit had ended there; ``latest`` gives the learner without
    the moving average. The time it takes counts as time of the fit.
    """

    on_epoch: OnEpoch | None

    def __init__(
        self,
        name: str,
        recipe: str,
        build: NetworkBuilder,
        device: str = "cpu",
        *,
        policy: FinetunePolicy = DEFAULT,
    ) -> None:
        """recipe: names the network; a saved state is loaded by learners of the same one only."""
        self.name = name
        self.classes: tuple[str, ...] = ()
        self.policy = policy
        self.on_epoch = None
        self._recipe = recipe
        self._build = build
        self._device = torch.device(device)
        self._network: SegmentationNetwork | None = None
        self._trained: SegmentationNetwork | None = None

    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> FitReport:
        """As every learner's. ``warm_start``: its weights are the start, and fewer epochs follow, where it is the same
        network for the same classes and the policy allows it; else the fit starts from the published encoder."""
        started = time.perf_counter()
        tell = progress or _silent
        pairs = examples(labelled, classes)
        held_share = self._held_share(sum(len(chosen.labels) for _, chosen in pairs))
        samples = read_samples(
            pairs, len(classes), held_share, lambda share: tell(READING_SHARE * share, "reading images")
        )
        warm = self._warm(warm_start, tuple(classes))
        network = self._new(len(classes), seed) if warm is None else copy.deepcopy(warm)
        epochs = self.policy.epochs if warm is None else self.policy.warm_epochs
        trainer = Trainer(network, self.policy, self._device, seed)
        self.classes = tuple(classes)
        loss = self._train(trainer, samples, epochs, seed, tell)
        self._trained = None
        count = sum(sample.labels for sample in samples)
        return FitReport(len(samples), count, time.perf_counter() - started, 0.0, loss)

    def _train(
        self, trainer: Trainer, samples: Sequence[Sample], epochs: int, seed: int, tell: Progress
    ) -> float:
        """All epochs, or fewer with an early stop; leaves the network that answers and returns its last loss."""
        crop = crop_size(samples, self.policy.crop, trainer.network.trunk.multiple)
        fill = np.round(trainer.network.trunk.mean).astype(np.uint8)
        steps = steps_of(samples, self.policy)
        best = _Best(self.policy.patience)
        loss = math.nan
        for epoch in range(epochs):
            losses = []
            for step, batch in enumerate(batches(samples, self.policy, crop, fill, (seed, epoch))):
                done = (epoch + step / steps) / epochs
                tell(READING_SHARE + (1 - READING_SHARE) * done, f"epoch {epoch + 1} of {epochs}")
                losses.append(trainer.step(batch, epoch, done))
            loss = float(np.mean(losses))
            if not math.isfinite(loss):
                raise BadInput(
                    f"the loss became {loss} in epoch {epoch + 1}; expected a number; lower the rates"
                )
            self._network, self._trained = trainer.averaged.eval(), trainer.network
            if self.on_epoch is not None:
                self.on_epoch(epoch, self)
            if best.stops(self._held_loss(samples), self._network):
                break
        best.restore(trainer.averaged)
        self._network = trainer.averaged.eval().requires_grad_(False)
        return loss

    def latest(self) -> Finetune:
        """For ``on_epoch``: a learner with the weights of the last step instead of their moving average."""
        if self._trained is None:
            raise BadInput(f"{self.name} is not being trained; ask for its latest weights in on_epoch")
        other = Finetune(self.name, self._recipe, self._build, str(self._device), policy=self.policy)
        other.classes, other._network = self.classes, self._trained.eval()
        return other

    def predict_proba(self, image: NDArray[np.uint8], samples: int = 1) -> NDArray[np.float32]:
        """As every learner's; large images go in overlapping tiles. Stochastic passes differ by dropout alone and are
        the same at every call."""
        network = self._fitted()
        check_image(image)
        if samples < 1:
            raise BadInput(f"{samples} samples asked for; expected 1 or more")
        passes = predict_tiled(
            lambda part: self._passes(network, part, samples),
            image,
            network.trunk.multiple,
            self.policy.tiling,
        )
        return passes[0] if samples == 1 else passes

    def save(self, directory: Path) -> None:
        tensors = self._fitted().state_dict()
        write_state(directory, Description(self.name, self._recipe, self.classes), tensors, NETWORK)

    def load(self, directory: Path) -> None:
        classes, tensors = read_state(directory, self.name, self._recipe, NETWORK)
        network = self._build(len(classes))
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise BadInput(
                f"{directory / NETWORK} holds another network: {error}; train a new version"
            ) from error
        network = network.to(self._device).to(memory_format=torch.channels_last)
        self._network, self.classes = network.eval().requires_grad_(False), classes

    def _fitted(self) -> SegmentationNetwork:
        if self._network is None:
            raise BadInput(f"{self.name} has not been trained; call fit or load first")
        return self._network

    def _new(self, classes: int, seed: int) -> SegmentationNetwork:
        with torch.random.fork_rng(devices=[]):  # constructors draw first weights that are replaced at once
            network = self._build(classes)
        initialise(network, seed)
        return network

    def _warm(self, start: Learner | None, classes: tuple[str, ...]) -> SegmentationNetwork | None:
        if not isinstance(start, Finetune) or not self.policy.warm_epochs:
            return None
        same = (start._recipe, start.classes) == (self._recipe, classes)
        return start._network if same else None

    def _held_share(self, labels: int) -> float:
        return self.policy.held_out if labels >= self.policy.held_out_from else 0.0

    def _held_loss(self, samples: Sequence[Sample]) -> float | None:
        """Mean cross-entropy at the held-out pixels, on whole images; None where there are none."""
        losses: list[float] = []
        for sample in samples:
            if len(sample.held.labels):
                rows, cols = sample.held.pixels.T
                found = self.predict_proba(sample.image())[sample.held.labels, rows, cols]
                losses.extend(-np.log(np.maximum(found.astype(np.float64), 1e-12)))
        return float(np.mean(losses)) if losses else None

    @torch.inference_mode()
    def _passes(
        self, network: SegmentationNetwork, image: NDArray[np.uint8], samples: int
    ) -> NDArray[np.float32]:
        """Probabilities (T, C, H, W) of an image that the network takes in one piece."""
        height, width = image.shape[:2]
        multiple = network.trunk.multiple
        padded = cv2.copyMakeBorder(image, 0, -height % multiple, 0, -width % multiple, cv2.BORDER_REPLICATE)
        pixels = torch.from_numpy(padded).to(self._device).permute(2, 0, 1)[None].float()
        with quick_precision(self._device):
            parts = network.encode(pixels.contiguous(memory_format=torch.channels_last))
        answers = np.empty((samples, len(self.classes), height, width), dtype=np.float32)
        for place in range(samples):
            rng = None if samples == 1 else torch.Generator(self._device).manual_seed(place)
            with quick_precision(self._device):
                logits = network.decode(parts, rng).float()
            full = nnf.interpolate(logits, size=padded.shape[:2], mode="bilinear", align_corners=False)
            answers[place] = full[0, :, :height, :width].softmax(dim=0).cpu().numpy()
        return answers


class _Best:
    """Remembers the weights with the least held-out loss, and when too many epochs passed without a better one."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._loss = math.inf
        self._waited = 0
        self._weights: dict[str, torch.Tensor] = {}

    def stops(self, loss: float | None, network: SegmentationNetwork) -> bool:
        """Whether to stop; never where nothing is held out (None)."""
        if loss is None:
            return False
        self._waited += 1
        if loss < self._loss:
            self._loss, self._waited = loss, 0
            self._weights = {name: part.clone() for name, part in network.state_dict().items()}
        return self._waited >= self._patience

    def restore(self, network: SegmentationNetwork) -> None:
        if self._weights:
            network.load_state_dict(self._weights)


def _silent(share: float, what: str) -> None:
    """No progress bar."""
