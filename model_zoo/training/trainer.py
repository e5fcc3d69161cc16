"""Training of click models: iterative clicks, normalised focal loss, mixed precision, EMA, several processes.

Iterative clicks: RITM (2102.06583, section 3.3): predict without gradient, click the largest error, again, and learn
from the last answer only. Under torchrun each process trains on its own batches and gradients are averaged.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.errors import BadInput
from model_zoo.training.batches import Batch, BatchMaker
from model_zoo.training.checkpoint import check_settings, load_checkpoint, save_checkpoint
from model_zoo.training.click_model import Answer, ClickModel
from model_zoo.training.click_simulation import ClickPolicy
from model_zoo.training.losses import answer_loss, mean_iou, shrink
from model_zoo.training.policy import Progress, TrainPolicy
from model_zoo.training.processes import agree, data_parallel, processes
from model_zoo.training.prompts import Prompts, correct, first_prompts
from model_zoo.training.smoothness import smoothness_loss


class ClickTrainer:
    """Trains one network on one device; ``network`` holds the latest weights, ``averaged`` their moving average."""

    def __init__(
        self,
        network: Any,
        maker: BatchMaker,
        policy: TrainPolicy,
        device: str = "cpu",
        *,
        clicks: ClickPolicy | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """network: a module that is a ClickModel; its part ``encoder`` learns at a rate of its own. settings: plain
        values that a checkpoint must agree with, so that no training goes on with another's data."""
        if policy.steps is None and policy.minutes is None:
            raise ValueError("neither steps nor minutes is given; training would never end")
        self.device = torch.device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self._model = cast("ClickModel", self.network)
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.policy = policy
        self.clicks = clicks or ClickPolicy()
        self.settings = dict(settings or {})
        self._maker = maker
        self.step = 0
        self.seconds = 0.0
        self._loss = self._iou = math.nan
        self.network.train()
        self._parallel = data_parallel(self.network, self.device)
        self._optimiser = torch.optim.AdamW(self._groups(), weight_decay=policy.weight_decay)

    def _groups(self) -> list[dict[str, Any]]:
        """Encoder and the rest have rates of their own; vectors (biases, norms) do not decay."""
        groups: list[dict[str, Any]] = []
        for is_encoder, rate in ((True, self.policy.encoder_rate), (False, self.policy.rate)):
            chosen = [
                p
                for name, p in self.network.named_parameters()
                if name.startswith("encoder.") == is_encoder and p.requires_grad
            ]
            groups.append({"params": [p for p in chosen if p.ndim > 1], "base": rate})
            groups.append({"params": [p for p in chosen if p.ndim <= 1], "base": rate, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]

    @property
    def done(self) -> float:
        """Share of the training behind us, 1 at its end."""
        shares = [
            progress / whole
            for progress, whole in (
                (self.step, self.policy.steps),
                (self.seconds, None if self.policy.minutes is None else 60 * self.policy.minutes),
            )
            if whole is not None
        ]
        return min(1.0, max(shares))

    @property
    def progress(self) -> Progress:
        """Where the training stands; NaN for loss and IoU before the first step."""
        return Progress(self.step, self.done, self._loss, self._iou, self.seconds)

    def run(
        self, checkpoint: Path | None = None, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Progress]:
        """Train to the end, one step an iteration, or until ``stopped`` says so after a step.

        Resumes from the checkpoint, renews it every minute and at the end. Raises BadInput, see ``resume``.
        """
        if checkpoint is not None and self.step == 0:
            self.resume(checkpoint)
        world, rank = processes()
        saved, ended = time.monotonic(), self.done >= 1.0
        with closing(self._maker.stream(self.step * world + rank, stride=world)) as batches:
            while not ended:
                started = time.monotonic()
                loss, iou = self.learn(next(batches))
                self._loss = loss if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * loss
                self._iou = iou if math.isnan(self._iou) else 0.98 * self._iou + 0.02 * iou
                # Each process has its clock; one that stopped alone would leave the others waiting for it.
                self.seconds, told = agree(self.seconds + time.monotonic() - started, stopped())
                ended = told or self.done >= 1.0
                due = ended or time.monotonic() - saved > self.policy.checkpoint_seconds
                if checkpoint is not None and due and rank == 0:
                    save_checkpoint(checkpoint, self._state())
                    saved = time.monotonic()
                yield self.progress

    def resume(self, checkpoint: Path) -> bool:
        """Go on where the checkpoint stands; False when there is none. Raises BadInput for another training's."""
        if not checkpoint.is_file():
            return False
        state = load_checkpoint(checkpoint)
        check_settings(checkpoint, state.get("settings", {}), self.settings)
        try:
            self._restore(state)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise BadInput(
                f"checkpoint {checkpoint} belongs to another network: {error}; delete it to start afresh"
            ) from error
        return True

    def learn(self, batch: Batch) -> tuple[float, float]:
        """One step on one batch; returns loss and mean IoU of the last answers."""
        rng = np.random.default_rng([self.policy.seed, self.step, processes()[1]])
        for group in self._optimiser.param_groups:
            group["lr"] = group["base"] * self._schedule()
        prompts = first_prompts(batch, self.clicks, rng)
        images = torch.from_numpy(batch.images).to(self.device).permute(0, 3, 1, 2).float() / 255.0
        images = images.contiguous(memory_format=torch.channels_last)
        index = torch.arange(len(batch.images), device=self.device)
        index = index.repeat_interleave(len(prompts.maps) // len(batch.images))
        self._correct(images, prompts, index, batch, rng)
        self._optimiser.zero_grad(set_to_none=True)
        with self._chance(), self._autocast():
            maps = torch.from_numpy(prompts.maps).to(self.device)
            output = self._parallel(images, maps, index, clicks=prompts.clicks)
        loss, iou = self._loss_of(output, batch, images, index)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), 5.0))  # the same in all processes
        if not math.isfinite(norm):
            raise BadInput(
                f"the gradient became {norm} at step {self.step}, with a loss of {float(loss.detach())}; expected "
                "numbers; the weights were not changed; start afresh with another --seed and --out"
            )
        self._optimiser.step()
        self.step += 1
        self._average()
        return float(loss.detach()), iou

    @torch.no_grad()
    def _correct(
        self,
        images: Tensor,
        prompts: Prompts,
        index: Tensor,
        batch: Batch,
        rng: np.random.Generator,
    ) -> None:
        """Predict with the present weights in eval mode and click the errors, of each sample as often as drawn."""
        chances = np.asarray(self.policy.corrections, dtype=np.float64)
        rounds = rng.choice(len(chances), size=len(prompts.maps), p=chances / chances.sum())
        if not rounds.any():
            return
        self.network.eval()
        with self._autocast():
            embedding = self._model.embed(images)
            for done in range(int(rounds.max())):
                chosen = np.flatnonzero(rounds > done)
                maps = torch.from_numpy(prompts.maps[chosen]).to(self.device)
                clicks = [prompts.clicks[sample] for sample in chosen]
                places = index[torch.from_numpy(chosen).to(index.device)]
                logits = self._model.decode(embedding, maps, places, clicks=clicks).answer
                full = functional.interpolate(logits.float(), size=maps.shape[-2:], mode="bilinear")
                correct(prompts, torch.sigmoid(full)[:, 0].cpu().numpy(), batch, rng, chosen.tolist())
        self.network.train()

    def _loss_of(self, output: Answer, batch: Batch, images: Tensor, index: Tensor) -> tuple[Tensor, float]:
        truth, valid = (
            torch.from_numpy(masks).to(self.device).float()[:, None] for masks in (batch.truth, batch.valid)
        )
        answer = output.answer.float()
        total = answer_loss(answer, truth, valid, self.policy.dice) + output.penalty
        for logits in output.auxiliary:
            total = total + self.policy.coarse * answer_loss(logits.float(), truth, valid, self.policy.dice)
        if self.policy.smoothness > 0:
            seen = shrink(images, answer)[index]  # shrunk once for all prompts of an image
            total = total + self.policy.smoothness * smoothness_loss(torch.sigmoid(answer), seen)
        return total, mean_iou(answer, truth, valid)

    def _schedule(self) -> float:
        """Factor of the rates: linear warm-up, then a cosine."""
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.done))
        low = self.policy.last_rate
        return min(1.0, (self.step + 1) / self.policy.warm_up) * (low + (1.0 - low) * cosine)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights; early on the window is as short as the training so far."""
        decay = min(self.policy.average, (1.0 + self.step) / (10.0 + self.step))
        for kept, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)
        for kept, new in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            kept.copy_(new) if not kept.is_floating_point() else kept.lerp_(new, 1.0 - decay)

    @contextmanager
    def _chance(self) -> Iterator[None]:
        """What a network draws itself follows from seed, step and process: a resumed training draws the same."""
        seed = np.random.SeedSequence([self.policy.seed, self.step, processes()[1], 1])
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(seed.generate_state(1)[0]))
            yield

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.policy.mixed_precision)

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "loss": self._loss,
            "iou": self._iou,
            "settings": self.settings,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._loss, self._iou = state["loss"], state["iou"]
