"""Labelling configs that are too large to be read, or stand for more than they are."""

from __future__ import annotations

import time

import pytest

from label_config import LabelConfigError, read_schema, render
from label_config.check import check

pytestmark = pytest.mark.unit

IMAGE = '<Image name="image" value="$image"/>'
MANY = " ".join(f"a{n}='x'" for n in range(50_000))
LAUGHS = "".join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (f'<!DOCTYPE l [<!ENTITY a "lol">{LAUGHS}]><View a="&j;">&j;</View>', "document type"),
        (f'<!DOCTYPE l [<!ENTITY a "{"x" * 100_000}">]><View>{"&a;" * 9_000}</View>', "document type"),
        ('<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>', "document type"),
        ('<!DOCTYPE View SYSTEM "http://127.0.0.1/x.dtd"><View/>', "document type"),
        (f"<View>{'x' * 1_000_000}</View>", "1000013 characters; expected at most 1000000"),
        ("<View>" * 400 + "</View>" * 400, "cannot be read"),
        (f"<View>{'<a/>' * 20_000}</View>", "20001 elements; expected at most 20000"),
        (f"<View>{IMAGE * 101}</View>", "101 images; expected at most 100"),
        (f"<View><Image {MANY}/></View>", "50000 attributes"),
        ("<View>\ud800</View>", "cannot be read"),
        ("<View>\0</View>", "cannot be read"),
    ],
)
def test_bombs_are_refused_at_once(config: str, told: str) -> None:
    started = time.monotonic()
    with pytest.raises(LabelConfigError, match=told):
        read_schema(config)
    assert time.monotonic() - started < 1


def test_many_classes_with_a_comment_are_no_bomb() -> None:
    config = render("both", [f"class {n}" for n in range(250)]).replace("<View>", "<View><!-- x -->", 1)
    assert len(read_schema(config).images[0].classes) == 250
    assert not [problem for problem in check(config) if problem.code == "unreadable"]
