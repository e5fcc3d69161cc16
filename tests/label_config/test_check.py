from __future__ import annotations

import pytest

from label_config import check, read_schema, render, repair

pytestmark = pytest.mark.unit

IMAGE = '<Image name="i" value="$image"/>'
BRUSH = '<BrushLabels name="m" toName="i" smart="false"><Label value="a" hotkey="9"/></BrushLabels>'
CLICK = '<KeyPointLabels name="k" toName="i" smart="true"><Label value="a" hotkey="1"/></KeyPointLabels>'
QUERY = (
    '<KeyPointLabels name="q" toName="i" smart="false"><Label value="?" hotkey="–"/><Label value="a" hotkey="2"/>'
    '<Label value="void" hotkey="0"/></KeyPointLabels>'
)

SMART_BRUSH, SMART_QUERY = (control.replace(' smart="false"', "") for control in (BRUSH, QUERY))
CLICK_B, BRUSH_B = (control.replace('value="a"', 'value="b"') for control in (CLICK, BRUSH))
BRUSH_AB = BRUSH.replace("<Label", '<Label value="b"/><Label')
CLICK_LEARNER = CLICK.replace("smart", 'learner="probe-lite0" smart')
CLICK_9, CLICK_M = (CLICK.replace('hotkey="1"', f'hotkey="{key}"') for key in "9M")
RED_CLICK = CLICK.replace("hotkey", 'background="#ff0000" hotkey')
RED_QUERY = QUERY.replace("hotkey", 'background="crimson" hotkey')
SECOND_QUERY = QUERY.replace('name="q"', 'name="q2"')

HINT = (
    '<KeyPointLabels name="hint" toName="i" smart="false"><Label value="next" hotkey="–"/></KeyPointLabels>'
)
SMART_HINT = HINT.replace("false", "true")
BARE_HINT = '<KeyPointLabels name="hint" toName="i" smart="false"/>'

CASES = {
    "unreadable": ["", "text", "<View><Image></View>", f"<View>{IMAGE}{CLICK}{BRUSH}", f"<View>{IMAGE}<A & B></View>"],
    "no-image": [
        "<View/>",
        f"<View>{CLICK}{BRUSH}</View>",
        f'<View><Image name="i"/>{CLICK}{BRUSH}</View>',
        f'<View><Text name="t" value="$t"/>{CLICK}{BRUSH}</View>',
    ],
    "no-smart-keypoint": [
        f"<View>{IMAGE}{BRUSH}</View>",
        f"<View>{IMAGE}{BRUSH}{CLICK.replace('true', 'false')}</View>",
        f"<View>{IMAGE}</View>",
        f'<View>{IMAGE}<RectangleLabels name="b" toName="i"><Label value="a"/></RectangleLabels>{BRUSH}</View>',
        f"<View>{IMAGE}{HINT}{BRUSH}</View>",
    ],
    "smart-output": [
        f"<View>{IMAGE}{CLICK}{SMART_BRUSH}</View>",
        f"<View>{IMAGE}{CLICK}{BRUSH.replace('false', 'true').replace('Brush', 'Polygon')}</View>",
    ],
    "tolerance": [
        f"<View>{IMAGE}{CLICK}{BRUSH.replace('Brush', 'Polygon').replace('smart', f'tolerance={value} smart')}</View>"
        for value in ('"wide"', '"-1"', '"51"', '"nan"', '""')
    ],
    "smart-query": [f"<View>{IMAGE}{SMART_QUERY}{BRUSH}</View>"],
    "no-question-mark": [
        f"<View>{IMAGE}{CLICK}{QUERY.replace('?', 'b')}{BRUSH_AB}</View>",
        f"<View>{IMAGE}{CLICK_LEARNER}{BRUSH}</View>",
    ],
    "no-void": [f"<View>{IMAGE}{QUERY.replace('void', 'b')}{BRUSH}</View>"],
    "click-label-without-output": [
        f"<View>{IMAGE}{CLICK}</View>",
        f"<View>{IMAGE}{CLICK_B}{BRUSH}</View>",
        f'<View>{IMAGE}{CLICK}{BRUSH}<RectangleLabels name="b" toName="i"><Label value="z"/></RectangleLabels></View>',
    ],
    "query-label-without-output": [
        f"<View>{IMAGE}{QUERY}</View>",
        f"<View>{IMAGE}{QUERY}{BRUSH_B}</View>",
    ],
    "unknown-output": [
        f'<View>{IMAGE}{CLICK}<EllipseLabels name="e" toName="i"><Label value="a"/></EllipseLabels></View>',
        f'<View>{IMAGE}{CLICK}<Brush name="e" toName="i" smart="false"/></View>',
    ],
    "same-hotkey": [
        f"<View>{IMAGE}{CLICK_9}{BRUSH}</View>",
        f'<View>{IMAGE}{CLICK}{BRUSH}<Choices name="c" toName="i"><Choice value="x" hotkey="9"/></Choices></View>',
    ],
    "tool-hotkey": [f"<View>{IMAGE}{CLICK_M}{BRUSH}</View>"],
    "red-label": [
        f"<View>{IMAGE}{RED_CLICK}{BRUSH}</View>",
        f"<View>{IMAGE}{RED_QUERY}{BRUSH}</View>",
    ],
    "smart-hint": [
        f"<View>{IMAGE}{CLICK}{SMART_HINT}{BRUSH}</View>",
        f"<View>{IMAGE}{SMART_HINT}{CLICK}{BRUSH}</View>",
    ],
    "hint-without-label": [f"<View>{IMAGE}{CLICK}{BARE_HINT}{BRUSH}</View>"],
    "several-query-controls": [f"<View>{IMAGE}{QUERY}{SECOND_QUERY}{BRUSH}</View>"],
}  # fmt: skip
PAIRS = [(code, config) for code, configs in CASES.items() for config in configs]


def test_good_configs_have_no_problem() -> None:
    assert check(f"<View>{IMAGE}{CLICK}{BRUSH}</View>") == []
    assert check(f"<View>{IMAGE}{QUERY}{BRUSH}</View>") == []
    assert check(f"<View>{IMAGE}{CLICK}{QUERY}{BRUSH}</View>") == []


def test_a_hint_control_is_no_problem() -> None:
    for controls in (HINT + CLICK, CLICK + HINT, CLICK + QUERY + HINT):
        assert check(f"<View>{IMAGE}{controls}{BRUSH}</View>") == []


def test_the_only_click_control_may_be_called_hint() -> None:
    click = CLICK.replace('name="k"', 'name="hint"')
    assert check(f"<View>{IMAGE}{click}{BRUSH}</View>") == []


@pytest.mark.parametrize("controls", [f"{CLICK}{SMART_HINT}", f"{SMART_HINT}{CLICK}", HINT])
def test_repair_leaves_a_click_and_a_hint_control(controls: str) -> None:
    image = read_schema(repair(f"<View>{IMAGE}{controls}{BRUSH}</View>")).images[0]
    assert image.hint is not None
    assert image.click is not None
    assert (image.hint.name, image.query) == ("hint", None)


@pytest.mark.parametrize(("code", "config"), PAIRS)
def test_the_problem_is_found_and_says_what_to_do(code: str, config: str) -> None:
    found = [problem for problem in check(config) if problem.code == code]
    assert found
    assert all(problem.message and problem.advice for problem in found)


@pytest.mark.parametrize(("code", "config"), PAIRS)
def test_every_fix_takes_its_problem_away(code: str, config: str) -> None:
    for problem in check(config):
        assert problem.fix is not None
        before = [other.message for other in check(config) if other.code == problem.code]
        after = [other.message for other in check(problem.fix) if other.code == problem.code]
        assert problem.message not in after
        assert len(after) < len(before)


@pytest.mark.parametrize(("code", "config"), PAIRS)
def test_repair_leaves_no_problem_and_keeps_the_controls(code: str, config: str) -> None:
    repaired = repair(config)
    assert check(repaired) == []
    if code != "unreadable":
        kept = {control.name for image in read_schema(config).images for control in image.controls}
        assert kept <= {control.name for image in read_schema(repaired).images for control in image.controls}


def test_errors_come_before_warnings() -> None:
    severities = [problem.severity for problem in check(f"<View>{IMAGE}{SMART_QUERY}{CLICK}</View>")]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


def test_a_broken_config_is_mended_as_far_as_it_can_be_read() -> None:
    (problem,) = check(f"<View>{IMAGE}{CLICK}{BRUSH}")
    assert problem.fix is not None
    assert read_schema(problem.fix).images[0].classes == ("a",)


def test_fixes_leave_comments_and_foreign_tags_alone() -> None:
    config = f"<View><!-- mine --><Style>.x {{}}</Style>{IMAGE}{CLICK}{BRUSH.replace(' smart=', ' data-x=')}</View>"
    (problem,) = check(config)
    assert problem.fix == config.replace('data-x="false"', 'data-x="false" smart="false"')


def test_label_names_with_odd_characters_survive_a_fix() -> None:
    config = render("pixel", ["a&b", '"q"']).replace(' smart="false"', "", 1)
    (problem,) = check(config)
    assert problem.fix is not None
    assert read_schema(problem.fix).images[0].classes == ("a&b", '"q"')
