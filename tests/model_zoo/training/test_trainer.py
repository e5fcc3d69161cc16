from __future__ import annotations

import copy
import math
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork
from model_zoo.training.policy import TrainPolicy
from model_zoo.training.trainer import ClickTrainer
from tests.model_zoo.training.toys import ToyNetwork, disk_maker, write_disks

pytestmark = pytest.mark.unit
QUICK = {"rate": 3e-2, "warm_up": 5, "mixed_precision": False}
SMALL = ClickNetShape(wide=16, middle=16, fine=8, finest=8, attention_blocks=1, heads=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks")


def trainer(folder: Path, steps: int = 4, network: Any = None, **changes: Any) -> ClickTrainer:
    settings = changes.pop("settings", None)
    policy = TrainPolicy(steps=steps, **{**QUICK, **changes})
    return ClickTrainer(network or ToyNetwork(), disk_maker(folder), policy, settings=settings)


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    theirs = two.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_eighty_steps_teach_a_toy(folder: Path) -> None:
    made = trainer(folder, steps=80, corrections=(0.5, 0.5))
    seen = list(made.run())
    assert [now.step for now in seen] == list(range(1, 81))
    assert seen[-1].done == 1.0
    batch = disk_maker(folder, seed=9).make(0)
    fresh = trainer(folder, rate=0.0)
    trained = trainer(folder, network=copy.deepcopy(made.network), rate=0.0)
    before, after = fresh.learn(batch)[1], trained.learn(batch)[1]
    assert after > 0.8
    assert after > before + 0.2


def test_a_frozen_encoder_gets_no_gradient_and_keeps_its_weights(folder: Path) -> None:
    network = ClickNetwork(SMALL)
    encoder = copy.deepcopy(network.encoder)
    neck = copy.deepcopy(network.neck)
    made = trainer(folder, network=network, steps=1)
    list(made.run())
    assert same(network.encoder, encoder)
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert not same(network.neck, neck)


def test_trained_stages_learn_and_the_others_do_not(folder: Path) -> None:
    network = ClickNetwork(SMALL, trained_stages=1)
    blocks = copy.deepcopy(network.encoder.blocks)
    list(trainer(folder, network=network, steps=1, encoder_rate=1e-2).run())
    assert all(same(network.encoder.blocks[i], blocks[i]) for i in range(len(blocks) - 1))
    assert not same(network.encoder.blocks[-1], blocks[-1])


def test_a_resumed_training_is_the_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    whole = trainer(folder, steps=6)
    list(whole.run())
    path = tmp_path / "checkpoint.pt"
    stopped = trainer(folder, steps=6)
    assert len(list(stopped.run(path, lambda: stopped.step == 2))) == 2
    resumed = trainer(folder, steps=6, network=ToyNetwork(seed=5))
    assert [now.step for now in resumed.run(path)] == [3, 4, 5, 6]
    assert same(resumed.network, whole.network)
    assert same(resumed.averaged, whole.averaged)
    assert (resumed.progress.loss, resumed.progress.iou) == (whole.progress.loss, whole.progress.iou)
    finished = trainer(folder, steps=6)
    assert list(finished.run(path)) == []
    assert same(finished.averaged, whole.averaged)


def test_checkpoints_are_renewed_in_time(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run = trainer(folder, checkpoint_seconds=0.0).run(path)
    assert not path.exists()
    list(islice(run, 1))
    run.close()
    again = trainer(folder)
    assert again.resume(path)
    assert again.step == 1
    assert not again.resume(tmp_path / "none.pt")


def test_another_trainings_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    list(trainer(folder, steps=1, settings={"seed": 0}).run(path))
    with pytest.raises(BadInput, match="seed was 0 and is 1"):
        trainer(folder, settings={"seed": 1}).resume(path)
    with pytest.raises(BadInput, match="belongs to another network"):
        trainer(folder, network=ClickNetwork(SMALL), settings={"seed": 0}).resume(path)
    torch.save({"settings": {"seed": 0}}, path)
    with pytest.raises(BadInput, match="belongs to another network"):
        trainer(folder, settings={"seed": 0}).resume(path)


def test_the_average_follows_the_weights(folder: Path) -> None:
    made = trainer(folder, average=0.5)
    start = made.network.decoder.weight.detach().clone()
    made.learn(disk_maker(folder).make(0))
    decay = 2.0 / 11.0  # early on the window is as short as the training
    expected = decay * start + (1 - decay) * made.network.decoder.weight
    assert torch.allclose(made.averaged.decoder.weight, expected, atol=1e-6)
    assert not made.averaged.training
    assert not any(parameter.requires_grad for parameter in made.averaged.parameters())


def test_the_rate_warms_up_and_falls(folder: Path) -> None:
    made = trainer(folder, steps=200, warm_up=10)
    rates = []
    for step in (0, 4, 9, 100, 200):
        made.step = step
        rates.append(made._schedule())
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert rates[1] == pytest.approx(0.5, rel=0.01)
    assert rates[2] == pytest.approx(1.0, rel=0.01)
    assert rates[3] == pytest.approx(0.505)
    assert rates[4] == pytest.approx(0.01)


def test_smoothness_changes_what_is_learnt_only_where_asked_for(folder: Path) -> None:
    batch = disk_maker(folder).make(0)
    plain, zero, smooth = (
        trainer(folder, **{"smoothness": s} if s is not None else {}) for s in (None, 0.0, 5.0)
    )
    losses = [made.learn(batch)[0] for made in (plain, zero, smooth)]
    assert losses[0] == losses[1]
    assert losses[2] > losses[0]
    assert same(plain.network, zero.network)
    assert not same(plain.network, smooth.network)


def test_minutes_end_a_training(folder: Path) -> None:
    made = ClickTrainer(ToyNetwork(), disk_maker(folder), TrainPolicy(minutes=1e-9, **QUICK))
    assert math.isnan(made.progress.loss)
    assert len(list(made.run())) == 1
    with pytest.raises(ValueError, match="neither steps nor minutes"):
        ClickTrainer(ToyNetwork(), disk_maker(folder), TrainPolicy())


def _one_of_two(rank: int, port: int, folder: str, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    # Other first weights and another end in each process: the first process's weights, and the first end, count.
    policy = TrainPolicy(steps=50, **QUICK)
    made = ClickTrainer(ToyNetwork(seed=rank), disk_maker(Path(folder)), policy)
    list(made.run(stopped=lambda: rank == 1 and made.step == 3))
    torch.save({"step": made.step, "network": made.network.state_dict()}, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_two_processes_end_with_the_same_weights(folder: Path, tmp_path: Path, free_port: int) -> None:
    torch.multiprocessing.spawn(_one_of_two, (free_port, str(folder), str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert one["step"] == two["step"] == 3
    for name, tensor in one["network"].items():
        if "running" not in name:  # statistics of batch normalisation are the first process's in the end
            assert torch.equal(tensor, two["network"][name]), name
    assert not torch.equal(one["network"]["decoder.weight"], ToyNetwork(seed=0).decoder.weight)


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    first = trainer(folder, steps=4)
    list(first.run(path, lambda: True))
    kept = path.read_bytes()
    broken = trainer(folder, steps=4)
    weights = copy.deepcopy(broken.network)
    loss_of = broken._loss_of

    def infinite(*arguments: Any) -> Any:
        loss, iou = loss_of(*arguments)
        return loss * math.inf, iou

    broken._loss_of = infinite  # type: ignore[method-assign]
    broken.resume(path)
    weights.load_state_dict(broken.network.state_dict())
    with pytest.raises(BadInput, match="the gradient became nan at step 1"):
        list(broken.run(path))
    assert path.read_bytes() == kept
    parameters = dict(weights.named_parameters())
    assert all(torch.equal(now, parameters[name]) for name, now in broken.network.named_parameters())


def test_minutes_count_the_wait_for_batches(folder: Path) -> None:
    made = trainer(folder, steps=2)
    make = made._maker.make

    def slow(number: int) -> Any:
        time.sleep(0.2)
        return make(number)

    made._maker.make = slow  # type: ignore[method-assign]
    *_, last = made.run()
    assert last.seconds >= 0.2


def test_each_sample_is_corrected_as_often_as_drawn(folder: Path) -> None:
    network = ToyNetwork()
    seen: list[int] = []
    decode = network.decode

    def counted(features: Any, maps: Any, index: Any, *, clicks: Any) -> Any:
        assert len(maps) == len(index) == len(clicks)
        seen.append(len(maps))
        return decode(features, maps, index, clicks=clicks)

    network.decode = counted  # type: ignore[method-assign]
    made = trainer(folder, network=network, corrections=(0.0, 0.5, 0.5))
    for number in range(6):
        made.learn(disk_maker(folder).make(number))
    assert seen.count(4) >= 12, "one decode of all for the first correction, one for the loss"
    assert any(count < 4 for count in seen)
