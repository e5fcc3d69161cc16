"""The page: readable by anybody, in both schemes, and safe whatever people call their things."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import backend.status
from backend.doctor.finding import Finding
from backend.metrics import Metrics
from backend.status.figures import read_figures
from backend.status.page import Pages, percent, reason, seconds
from backend.status.watch import Picture, Seen
from backend.store import Store
from backend.stored_labels import StoredLabel

pytestmark = pytest.mark.unit

CSS = (Path(backend.status.__file__).parent / "templates" / "status.css").read_text()
TEXTS = [
    ("text", "page"), ("text", "card"), ("text", "rule"), ("text", "accent-soft"), ("muted", "page"),
    ("muted", "card"), ("accent", "page"), ("accent", "card"), ("on-button", "button"), ("good", "good-soft"),
    ("warn", "warn-soft"), ("bad", "bad-soft"),
]  # fmt: skip
SHAPES = [("accent", "card"), ("accent", "rule"), ("accent", "accent-soft"), ("edge", "card"), ("accent", "page"),
          ("good", "page"), ("bad", "page")]  # fmt: skip
SCHEMES = ("light", "dark")


def colours(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", CSS, flags=re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_and_shapes_meet_wcag_aa(scheme: str) -> None:
    found = colours(scheme)
    ratios = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in TEXTS}
    assert not {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5}
    ratios = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in SHAPES}
    assert not {pair: ratio for pair, ratio in ratios.items() if ratio < 3}


def test_both_schemes_set_the_same_colours_and_rules_use_no_others() -> None:
    assert colours("light").keys() == colours("dark").keys()
    rules = CSS.rpartition(":root {")[2].partition("}")[2]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", rules), "a colour that no scheme can change"
    assert set(re.findall(r"var\(--([\w-]+)\)", rules)) <= colours("light").keys()


class Checker(HTMLParser):
    """Tags that are balanced, ids that are unique, addresses that stay here, pictures that are told in words."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if found.get("id") else []
        self.addresses += [str(found[name]) for name in ("src", "href", "action") if name in found]
        assert not {"style", "onclick", "onload"} & found.keys(), (tag, found)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert not [one for one in checker.addresses if "//" in one], "an outside asset"
    for tag, attributes in checker.tags:
        if tag == "img":
            assert attributes["alt"]
            assert attributes["loading"] == "lazy"
        if tag == "section":
            assert "aria-labelledby" in attributes or "aria-label" in attributes
    return checker


SEEN = Seen(
    "Meadows", 50, 12, (Picture(3, "0123456789abcdef.jpg", 64, 48, 10, "v", 0.75),), "",
    (Finding("sampling", "warning", "tasks come in order", "run `clickpick connect`"), Finding("x", "ok", "y")), 1.0,
)  # fmt: skip


def test_a_page_says_all_of_it(learnt: Store) -> None:
    metrics = Metrics()
    metrics.observe("click", 0.035)
    learnt.note_pace(7, 2.46)
    round_id = learnt.rounds.request(7, "annotation_created")
    learnt.rounds.claim()
    learnt.rounds.beat(round_id, "fit", 0.42)
    html = Pages().project(read_figures(learnt, 7), SEEN, metrics, token="secret-token")
    checker = checked(html)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
    for said in ("Meadows", "More labels still help.", "At 120 labels: 61.7 % expected", "12 of 50", "35 ms",
                 "on 4 images, 2.5 s of people a pixel",
                 "Task 3", "10 queries · 25 % unsure", "New annotation", "fit, 42 %", "1 thing needs a look.",
                 "tasks come in order", "49–94", "20 labels"):  # fmt: skip
        assert said in text, said
    forms = [attributes for tag, attributes in checker.tags if tag == "form"]
    assert [form["action"] for form in forms] == ["7/rollback"] * 4, "the live version needs no button"
    assert {form["method"] for form in forms} == {"post"}


def test_an_empty_page_says_what_to_do(store: Store) -> None:
    store.remember_project(7, "digest")
    html = Pages().project(read_figures(store, 7), Seen(), Metrics(), token="t")
    checked(html)
    for said in (
        "Project 7",
        "Too early to tell",
        "No labels yet.",
        "Reading from Label Studio",
        "None yet.",
    ):
        assert said in html
    checked(Pages().listing([]))
    assert "clickpick connect" in Pages().listing([])


def test_names_cannot_become_markup(learnt: Store) -> None:
    evil = "</style><script>alert(1)</script>\"'"
    learnt.replace_labels(7, [StoredLabel(1, 0, 1, 1, evil)])
    learnt.rounds.request(7, evil)
    figures = read_figures(learnt, 7)
    seen = replace(SEEN, title=evil, problem=evil, findings=(Finding("a", "error", evil, evil),))
    html = Pages().project(figures, seen, Metrics(), token="t")
    checked(html)
    assert html.count("<script>") == 1
    assert "alert(1)</script>" not in html
    assert "<script>alert" not in Pages().listing([(figures, seen)])


def test_style_and_script_are_the_only_ones_that_run() -> None:
    pages = Pages()
    assert pages.policy.startswith("default-src 'none'")
    assert pages.policy.count("'sha256-") == 2
    assert "unsafe" not in pages.policy


def test_numbers_for_people() -> None:
    assert [seconds(value) for value in (0.0004, 0.035, 0.2, 1.25, 200)] == [
        "0.4 ms", "35 ms", "200 ms", "1.2 s", "3 min",
    ]  # fmt: skip
    assert (percent(0.1234), percent(0.1, 0), percent(None)) == ("12.3", "10", "–")
    assert (reason("annotation_created"), reason("asked for")) == ("New annotation", "Asked for")
