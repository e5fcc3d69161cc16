from __future__ import annotations

import pytest

from model_zoo.errors import UnknownModel
from model_zoo.registry import create_learner, create_segmenter, list_models, register_segmenter

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
