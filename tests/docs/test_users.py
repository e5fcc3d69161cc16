"""What users ask for: each complaint and defect names real tests, or says what is not covered and why."""

from __future__ import annotations

import pytest

from backend.segmenting import _region_id
from label_config import read_prompt, read_schema, render
from model_zoo.prompt import Click, Prompt
from scripts.docs_troubleshooting import all_checks
from scripts.docs_users import Entry, missing_tests, read_entries
from tests.docs.commands import ROOT

pytestmark = pytest.mark.unit

ENTRIES = read_entries(ROOT)
ALL = [entry for entries in ENTRIES.values() for entry in entries]


def test_there_are_thirty_complaints_and_the_defects_of_peers() -> None:
    assert len(ENTRIES["complaints"]) == 30
    assert len(ENTRIES["defects"]) >= 15
    assert len({entry.title for entry in ALL}) == len(ALL)


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.title)
def test_each_names_tests_that_exist_or_what_is_missing(entry: Entry) -> None:
    assert entry.status in ("covered", "partly", "not covered")
    assert not missing_tests(ROOT, entry.tests)
    assert bool(entry.tests) == (entry.status != "not covered")
    assert entry.gap or entry.status == "covered", "what is not covered, and what is done instead?"
    assert entry.asks
    assert entry.answer


def test_tests_that_do_not_exist_are_noticed() -> None:
    names = [
        "tests/docs/test_users.py::test_tests_that_do_not_exist_are_noticed",
        "tests/docs/test_users.py::test_gone",
        "tests/gone.py::test_any",
        "tests/docs/test_users.py",
        "tests/docs/test_users.py::make_region",
    ]
    assert missing_tests(ROOT, names) == names[1:]


def test_what_the_doctor_is_said_to_find_it_can_say() -> None:
    codes = {code for section in all_checks(ROOT).values() for code in section}
    named = {code for entry in ALL for code in entry.doctor}
    assert named
    assert not named - codes


def test_ids_of_ten_thousand_objects_differ() -> None:
    """Of four hexadecimal digits, as in the examples of label-studio-ml, 65,536 are different at most."""
    request = read_prompt(read_schema(render("click", ["thing"])), {"result": [make_region()]})
    assert request is not None
    ids = {
        _region_id({"id": task}, request, Prompt((Click(row + 0.5, 7.5),)))
        for task in range(100)
        for row in range(100)
    }
    assert len(ids) == 10_000


def make_region() -> dict[str, object]:
    """A click of the template."""
    return {
        "id": "a", "type": "keypointlabels", "from_name": "click", "to_name": "image",
        "original_width": 64, "original_height": 48, "is_positive": True,
        "value": {"x": 50, "y": 50, "width": 1, "keypointlabels": ["thing"]},
    }  # fmt: skip
