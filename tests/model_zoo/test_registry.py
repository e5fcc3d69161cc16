from __future__ import annotations

import pytest

from model_zoo.errors import UnknownModel, WeightsMissing
from model_zoo.registry import (
    create_learner,
    create_segmenter,
    find_model,
    list_models,
    register_segmenter,
)

pytestmark = pytest.mark.unit


def test_the_segmenters_of_the_first_release_are_listed() -> None:
    names = [info.name for info in list_models(kind="segmenter")]
    assert {"gp-lite0", "grabcut", "random-walker"} <= set(names)
    assert names == sorted(names)


def test_every_model_says_what_it_is() -> None:
    for info in list_models():
        assert all((info.summary, info.paper, info.licence, info.source)), info.name


def test_patterns_and_kinds_filter() -> None:
    assert [info.name for info in list_models("gp-*")] == ["gp-lite0"]
    assert {info.kind for info in list_models(kind="learner")} <= {"learner"}
    assert list_models("no-such-*") == []


def test_an_unknown_name_lists_the_close_ones() -> None:
    with pytest.raises(UnknownModel, match=r"'gp-lite' is not known; did you mean gp-lite0\?"):
        create_segmenter("gp-lite")


def test_a_segmenter_is_no_learner() -> None:
    with pytest.raises(UnknownModel, match="learner 'grabcut'"):
        create_learner("grabcut")


def test_a_name_is_registered_once() -> None:
    list_models()

    def grabcut(device: str) -> None:
        """Another one."""

    with pytest.raises(ValueError, match="registered twice"):
        register_segmenter(paper="p", licence="l", source="s")(grabcut)


def test_families_list_their_usual_members() -> None:
    names = [info.name for info in list_models(kind="learner")]
    assert {"probe-lite0", "finetune-deeplabv3plus-lite0", "finetune-fpn-lite0"} <= set(names)
    assert names == sorted(names)


@pytest.mark.parametrize(
    "family", ["probe", "finetune-deeplabv3plus", "pixelpick-deeplabv3plus", "finetune-fpn"]
)
def test_any_encoder_makes_a_member(family: str) -> None:
    info = find_model(f"{family}-vit_small_patch14_dinov2", "learner")
    assert info is not None
    assert info.name == f"{family}-vit_small_patch14_dinov2"
    assert "vit_small_patch14_dinov2" in info.summary
    assert info.weights[0].hub == "timm/vit_small_patch14_dinov2.lvd142m"
    assert find_model(info.name, "segmenter") is None


@pytest.mark.parametrize(
    "family", ["probe", "finetune-deeplabv3plus", "pixelpick-deeplabv3plus", "finetune-fpn"]
)
def test_no_encoder_makes_none(family: str) -> None:
    assert find_model(f"{family}-resnet999", "learner") is None
    with pytest.raises(UnknownModel, match=r"encoder 'resnet999' is not known; .* such as resnet"):
        create_learner(f"{family}-resnet999")


def test_members_without_weights_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    for family in ("probe", "finetune-deeplabv3plus", "pixelpick-deeplabv3plus", "finetune-fpn"):
        with pytest.raises(WeightsMissing, match="hf download timm/resnet50"):
            create_learner(f"{family}-resnet50")
