"""What the training commands share: processes, progress bars, the log, Ctrl-C, and the files they leave."""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import distributed

from backend.commands.failures import torch_device
from model_zoo.encoders import create_encoder
from model_zoo.errors import BadInput
from model_zoo.segmenters.base import Segmenter
from model_zoo.segmenters.trainable import find_trainable
from model_zoo.training.pictures import Picture
from model_zoo.training.processes import processes
from model_zoo.training.self_labels import SelfLabeller, SelfRegions, label_all, network_digest
from model_zoo.training.trainer import ClickTrainer
from model_zoo.training.tree_cache import Grown, TreeCache, grow_trees

AGAIN = "run the same command again to go on"
LOG_EVERY = 20  # steps
LONGEST_WAIT = timedelta(days=1)
"""Of a process for the others: the first one measures and saves while they wait."""


@dataclass(frozen=True)
class Outputs:
    """The files of one training."""

    folder: Path
    name: str

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        return self.folder / f"{self.name}.safetensors"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def trees(self) -> Path:
        return self.folder / "trees"

    @property
    def answers(self) -> Path:
        return self.folder / "self"

    def make(self) -> None:
        """BadInput where the folder cannot be had: before hours of work, not after."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--out {self.folder} cannot be a folder: {error}; choose another") from error


def console() -> Console:
    """Standard error, of the first process only."""
    return Console(stderr=True, emoji=False, quiet=processes()[1] != 0)


@contextmanager
def joined(device: str) -> Iterator[str]:
    """The device of this process ("auto" resolved); under torchrun it belongs to the others' group meanwhile."""
    chosen = torch_device(device)
    if "WORLD_SIZE" not in os.environ:  # torchrun sets it, and LOCAL_RANK, for whom it starts
        yield chosen
        return
    on_gpu = chosen.startswith("cuda")
    if on_gpu:
        chosen = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=LONGEST_WAIT)
    try:
        yield chosen
    finally:
        distributed.destroy_process_group()


def grown_trees(pictures: Sequence[Picture], outputs: Outputs, device: str) -> list[Grown]:
    """Region trees of the photographs, from the folder or built; several processes share the work."""
    cache = TreeCache(outputs.trees, create_encoder("efficientnet-lite0", device))
    world, rank = processes()
    if world > 1:
        for _ in grow_trees(pictures[rank::world], cache):
            pass
        distributed.barrier()
    with bars("region trees") as (progress, bar):
        grown = []
        for one in grow_trees(pictures, cache):
            grown.append(one)
            progress.update(bar, total=len(pictures), completed=len(grown))
    return grown


def copied(name: str, network: Any, device: str) -> Segmenter:
    """A copy of the network, as it is now, that answers clicks."""
    return find_trainable(name).wrap(name, copy.deepcopy(network), network_digest(network), device)


def own_answers(
    learnt: Sequence[Grown], segmenter: Segmenter, outputs: Outputs, seed: int
) -> dict[str, SelfRegions]:
    """By image path, for photographs that have any: answers kept, from the folder or made; processes share the work."""
    labeller = SelfLabeller(outputs.answers, segmenter, seed)
    world, rank = processes()
    if world > 1:
        for _ in label_all(learnt[rank::world], labeller):
            pass
        distributed.barrier()
    found: dict[str, SelfRegions] = {}
    with bars("own answers") as (progress, bar):
        for done, (one, regions) in enumerate(label_all(learnt, labeller), start=1):
            if len(regions):
                found[str(one.picture.image)] = regions
            progress.update(bar, total=len(learnt), completed=done)
    return found


def resume(trainer: ClickTrainer, outputs: Outputs) -> int:
    """Go on from the checkpoint where there is one, and say so; the step reached."""
    if trainer.resume(outputs.checkpoint):
        text = f"going on from step {trainer.step} of {outputs.checkpoint}"
        console().print(text, highlight=False, markup=False, soft_wrap=True)
    if processes()[1] == 0:
        _cut_log(outputs.log, trainer.step)
    return trainer.step


def train(trainer: ClickTrainer, outputs: Outputs) -> bool:
    """Train to the end; False when it was told to stop before."""
    say, first = console(), processes()[1] == 0
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(elapsed_when_finished=True)
    with _stop_requests() as stop, Progress(*columns, console=say, transient=True) as progress:
        bar = progress.add_task("training", total=1.0)
        for now in trainer.run(outputs.checkpoint, stop.is_set):
            text = f"step {now.step}: loss {now.loss:.3f}, IoU {now.iou:.3f}"
            progress.update(bar, completed=now.done, description=text)
            if first and (now.step % LOG_EVERY == 0 or now.done >= 1.0):
                with outputs.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(now)) + "\n")
    if trainer.done < 1.0:
        say.print(
            f"stopped after step {trainer.step}, which {outputs.checkpoint} holds: {AGAIN}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return trainer.done >= 1.0


def report(trainer: ClickTrainer, outputs: Outputs, resumed_at: int) -> dict[str, Any]:
    """Write the averaged weights; what is known of the training, as JSON values."""
    from backend.machine import machine, versions  # noqa: PLC0415 - needed at the end only
    from model_zoo.weights import file_digest  # noqa: PLC0415

    find_trainable(outputs.name).save(trainer.averaged, outputs.weights)
    now = trainer.progress
    return {
        "segmenter": outputs.name,
        "steps": now.step,
        "minutes": round(now.seconds / 60, 2),
        "loss": round(now.loss, 4),
        "iou": round(now.iou, 4),
        "resumed_at": resumed_at,
        "weights": str(outputs.weights.absolute()),
        "sha256": file_digest(outputs.weights),
        "machine": machine(),
        "versions": versions(),
    }


@contextmanager
def bars(description: str) -> Iterator[tuple[Progress, Any]]:
    """A progress bar of things that are counted."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(), transient=True) as progress:
        yield progress, progress.add_task(description, total=None)


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or by SIGTERM (torchrun's): the step under way is finished and saved.

    A second Ctrl-C interrupts at once.
    """
    stop = threading.Event()

    def ask(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    earlier = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _cut_log(path: Path, step: int) -> None:
    """Drop lines after the step that a training goes on from: they will be written again."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    path.write_text("".join(kept), encoding="utf-8")
