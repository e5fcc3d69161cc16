from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model_zoo.errors import BadInput
from model_zoo.prompt import Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.training import self_labels
from model_zoo.training.pictures import Picture, TreeRegions, list_pictures
from model_zoo.training.region_tree import build_tree
from model_zoo.training.salience import separation
from model_zoo.training.self_labels import SelfLabeller, SelfRegions, label_all, network_digest
from model_zoo.training.tree_cache import Grown
from tests.model_zoo.training.toys import SIDE, ToyNetwork, write_disks

pytestmark = pytest.mark.unit
Answer = Callable[[np.ndarray, Prompt], np.ndarray]


class Answering(Segmenter):
    """Logits by a rule of image and prompt; counts what it was asked."""

    def __init__(self, rule: Answer, fingerprint: str = "rule") -> None:
        self.name, self.fingerprint, self.rule = "rule", fingerprint, rule
        self.encoded, self.asked = 0, 0

    def encode(self, image: np.ndarray) -> Embedding:
        self.encoded += 1
        return Embedding(*image.shape[:2], nbytes=0, data=image)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        self.asked += 1
        return Mask(self.rule(embedding.data, prompt).astype(np.float32), 1.0)


def bright(image: np.ndarray, prompt: Prompt) -> np.ndarray:
    """Where the disk of the photograph is, whatever was clicked."""
    return np.where(image.mean(axis=2) > 120, 5.0, -5.0)


def everything(image: np.ndarray, prompt: Prompt) -> np.ndarray:
    return np.full(image.shape[:2], 5.0)


def grow(picture: Picture) -> Grown:
    """A tree of colours; what stands out is the disk."""
    features = picture.load()[2::4, 2::4].astype(np.float32) / 50.0
    tree = build_tree(features)
    return Grown(picture, replace(tree, separation=separation(features, tree)))


@pytest.fixture
def grown(tmp_path: Path) -> list[Grown]:
    return [grow(picture) for picture in list_pictures(write_disks(tmp_path / "disks"))]


def equal(one: SelfRegions, two: SelfRegions) -> bool:
    return np.array_equal(one.masks, two.masks) and np.array_equal(one.doubts, two.doubts)


def test_answers_that_agree_with_their_region_are_kept_and_no_others(
    grown: list[Grown], tmp_path: Path
) -> None:
    kept = SelfLabeller(tmp_path / "a", Answering(bright)).get(grown[0])
    assert 1 <= len(kept) <= self_labels.REGIONS
    truth = bright(grown[0].picture.load(), Prompt()) > 0
    mask, valid = kept.draw(np.random.default_rng(0))
    assert np.array_equal(mask, truth)
    assert valid.all()
    assert len(SelfLabeller(tmp_path / "b", Answering(everything)).get(grown[0])) == 0


@pytest.mark.parametrize(("wrong", "kept"), [(0, True), (34, True), (36, False)])
def test_an_answer_is_kept_from_an_overlap_of_65_percent_of_the_pixels_that_count(
    wrong: int, kept: bool
) -> None:
    truth = np.zeros((1, 240), dtype=np.uint8)
    truth[0, :100] = 1
    truth[0, 200:] = 255  # no answer is wrong there

    def rule(image: np.ndarray, prompt: Prompt) -> np.ndarray:
        return np.where((np.arange(240) < 100 - wrong) | (np.arange(240) >= 200), 5.0, -5.0)[None]

    segmenter = Answering(rule)
    embedding = segmenter.encode(np.zeros((1, 240, 3), dtype=np.uint8))
    assert (self_labels._answer(segmenter, embedding, truth) is not None) is kept


@pytest.mark.parametrize(("wrong", "clicks"), [(0, 1), (5, 2), (15, 3), (100, 3)])
def test_a_third_click_is_made_only_where_the_answer_to_the_second_is_no_good(
    wrong: int, clicks: int
) -> None:
    truth = np.zeros((1, 200), dtype=np.uint8)
    truth[0, :100] = 1
    segmenter = Answering(lambda *_: np.where(np.arange(200) < 100 - wrong, 5.0, -5.0)[None])
    self_labels._answer(segmenter, segmenter.encode(np.zeros((1, 200, 3), dtype=np.uint8)), truth)
    assert segmenter.asked == clicks


def test_a_region_without_a_pixel_that_counts_is_not_asked_for() -> None:
    segmenter = Answering(everything)
    embedding = segmenter.encode(np.zeros((4, 4, 3), dtype=np.uint8))
    assert self_labels._answer(segmenter, embedding, np.full((4, 4), 255, dtype=np.uint8)) is None
    assert segmenter.asked == 0


def test_pixels_in_doubt_do_not_count(grown: list[Grown], tmp_path: Path) -> None:
    inside = bright(grown[0].picture.load(), Prompt()) > 0
    doubted = np.zeros((SIDE, SIDE), dtype=bool)
    doubted[::8] = True  # on both sides of the answer

    def rule(image: np.ndarray, prompt: Prompt) -> np.ndarray:
        sure = np.where(doubted, 0.4, 0.41)  # 0.4: probability 0.5987 or 0.4013
        return np.where(inside, sure, -sure)

    kept = SelfLabeller(tmp_path / "a", Answering(rule)).get(grown[0])
    mask, valid = kept.draw(np.random.default_rng(0))
    assert np.array_equal(valid, ~doubted)
    assert np.array_equal(mask, inside & ~doubted)


def test_pixels_along_the_border_of_a_region_do_not_speak_against_an_answer(
    grown: list[Grown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    region, valid = np.zeros((SIDE, SIDE), dtype=bool), np.ones((SIDE, SIDE), dtype=bool)
    region[:, :32], valid[:, 16:48] = True, False
    monkeypatch.setattr(self_labels, "_different", lambda *_: [(region, valid)])
    answered = region ^ ~valid  # wrong wherever nothing counts: an IoU of a third over all pixels
    segmenter = Answering(lambda *_: np.where(answered, 5.0, -5.0))
    kept = SelfLabeller(tmp_path / "self", segmenter).get(grown[0])
    assert np.array_equal(kept.draw(np.random.default_rng(0))[0], answered)


def test_each_answer_is_drawn_and_comes_with_its_own_doubts() -> None:
    masks = np.zeros((2, 3, 5), dtype=bool)
    masks[0, 0], masks[1, :, 2:4] = True, True
    doubts = np.zeros((2, 3, 5), dtype=bool)
    doubts[1, 2] = True
    packed = SelfRegions(3, 5, *(np.packbits(bits.reshape(2, -1), axis=1) for bits in (masks, doubts)))
    rng, seen = np.random.default_rng(0), {0: 0, 1: 0}
    for _ in range(100):
        mask, valid = packed.draw(rng)
        (number,) = (n for n in range(2) if np.array_equal(mask, masks[n] & ~doubts[n]))
        assert np.array_equal(valid, ~doubts[number])
        seen[number] += 1
    assert min(seen.values()) > 30


def test_a_region_drawn_twice_is_asked_for_once(grown: list[Grown]) -> None:
    drawn = TreeRegions(grown[0].tree, SIDE, SIDE).draw(np.random.default_rng(0))  # type: ignore[arg-type]

    class Same:
        def draw(self, _: np.random.Generator) -> Any:
            return drawn

    assert len(list(self_labels._different(Same(), np.random.default_rng(0)))) == 1  # type: ignore[arg-type]


def test_labels_are_made_once_and_read_as_they_were(grown: list[Grown], tmp_path: Path) -> None:
    segmenter = Answering(bright)
    labeller = SelfLabeller(tmp_path / "self", segmenter)
    first = [labels for _, labels in label_all(grown, labeller)]
    assert segmenter.encoded == 3
    again = [labels for _, labels in label_all(grown, SelfLabeller(tmp_path / "self", segmenter))]
    assert segmenter.encoded == 3
    assert all(equal(one, two) for one, two in zip(first, again, strict=True))
    assert [path.name.split("-")[0] for path in sorted((tmp_path / "self").iterdir())] == [
        "disk0",
        "disk1",
        "disk2",
    ]


def test_that_no_answer_was_kept_is_remembered(grown: list[Grown], tmp_path: Path) -> None:
    segmenter = Answering(everything)
    for _ in range(2):
        assert len(SelfLabeller(tmp_path / "self", segmenter).get(grown[0])) == 0
    assert segmenter.encoded == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_file_that_was_cut_short_is_made_again(grown: list[Grown], tmp_path: Path, share: float) -> None:
    segmenter = Answering(bright)
    labeller = SelfLabeller(tmp_path / "self", segmenter)
    whole = labeller.get(grown[0])
    (file,) = (tmp_path / "self").iterdir()
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    assert equal(labeller.get(grown[0]), whole)
    assert segmenter.encoded == 2
    assert file.read_bytes() == data


def test_a_damaged_byte_is_refused_or_does_no_harm(grown: list[Grown], tmp_path: Path) -> None:
    whole = SelfLabeller(tmp_path / "self", Answering(bright)).get(grown[0])
    data, refused = whole.save(), 0
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        try:
            assert equal(SelfRegions.load(damaged), whole), place
        except BadInput:
            refused += 1
    assert refused > len(data) / 2  # others are dates and the like


@pytest.mark.parametrize(
    ("masks", "doubts"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((1, 2), np.uint8)),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8)),
        (np.zeros((2, 2), np.int32), np.zeros((2, 2), np.uint8)),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(masks: np.ndarray, doubts: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"expected uint8 of shape .2, 2. for 3x5 pixels"):
        SelfRegions.load(SelfRegions(3, 5, masks, doubts).save())


def test_other_weights_another_seed_and_another_photograph_are_asked_again(
    grown: list[Grown], tmp_path: Path
) -> None:
    folder, asked = tmp_path / "self", []
    for fingerprint, seed in (("a", 0), ("b", 0), ("a", 1), ("a", 0)):
        segmenter = Answering(bright, fingerprint)
        SelfLabeller(folder, segmenter, seed).get(grown[0])
        asked.append(segmenter.encoded)
    assert asked == [1, 1, 1, 0]
    Image.fromarray(255 - grown[0].picture.load()).save(grown[0].picture.image)
    segmenter = Answering(bright, "a")
    SelfLabeller(folder, segmenter).get(grown[0])
    assert segmenter.encoded == 1


def test_the_same_seed_gives_the_same_labels_in_any_order(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, SIDE, SIDE, 3), dtype=np.uint8)
    many = []
    for number, image in enumerate(noise):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image).save(path)
        many.append(grow(Picture(str(number), path)))

    def asked_for(folder: str, order: int, seed: int) -> list[list[tuple[float, float]]]:
        """The first click of each region, by photograph."""
        clicks: dict[bytes, list[tuple[float, float]]] = {image.tobytes(): [] for image in noise}

        def rule(image: np.ndarray, prompt: Prompt) -> np.ndarray:
            clicks[image.tobytes()].append((prompt.clicks[0].row, prompt.clicks[0].col))
            return np.full(image.shape[:2], -5.0)

        list(label_all(many[::order], SelfLabeller(tmp_path / folder, Answering(rule), seed)))
        return list(clicks.values())

    one = asked_for("a", 1, seed=3)
    assert one == asked_for("b", -1, seed=3)
    assert one != asked_for("c", 1, seed=4)
    assert one[0] != one[1]


def test_photographs_that_are_gone_or_have_no_tree_are_bad_input(grown: list[Grown], tmp_path: Path) -> None:
    labeller = SelfLabeller(tmp_path / "self", Answering(bright))
    with pytest.raises(BadInput, match=r"disk0.png has no region tree to ask by: why"):
        labeller.get(replace(grown[0], tree=None, problem="why"))
    grown[0].picture.image.unlink()
    with pytest.raises(BadInput, match=r"disk0.png cannot be read"):
        labeller.get(grown[0])


def test_a_digest_tells_networks_apart() -> None:
    one, two = ToyNetwork(), ToyNetwork()
    assert network_digest(one) == network_digest(two)
    with torch.no_grad():
        two.decoder.bias += 1e-3
    assert network_digest(one) != network_digest(two)
    assert network_digest(one) == network_digest(ToyNetwork().train(not one.training))
