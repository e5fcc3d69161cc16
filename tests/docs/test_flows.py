"""The four data flows of CONTRIBUTING.md are those of the code: each step is there, and called by the one above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
FLOWS = ("CLICK", "OPEN", "SUBMIT", "ROUND")
STEP = re.compile(r"^( *)([\w.]+) +((?:backend|label_config|model_zoo)/[\w/]+\.py)\b")


@dataclass
class Step:
    """One line of the diagram, and the lines below it that are one step further in."""

    name: str
    file: str
    children: list[Step] = field(default_factory=list)


def flows(text: str) -> dict[str, Step]:
    """Name of a flow -> its first step."""
    (diagram,) = re.findall(r"^```text\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    found: dict[str, Step] = {}
    above: list[Step] = []
    flow = ""
    for line in diagram.splitlines():
        if line.startswith(FLOWS):
            flow = line.split()[0]
        elif line.strip():
            match = STEP.match(line)
            assert match, f"{line!r} is neither the head of a flow nor a step"
            step, depth = Step(match[2], match[3]), len(match[1]) // 2
            assert depth <= len(above), f"{line!r} is two steps further in than the line above it"
            if depth:
                above[depth - 1].children.append(step)
            else:
                assert flow not in found, f"{line!r} begins {flow} once more"
                found[flow] = step
            above[depth:] = [step]
    return found


@cache
def definition(name: str, file: str) -> ast.FunctionDef:
    """The function or method of that name; an AssertionError where there is none."""
    scope: list[ast.stmt] = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    *owners, function = name.split(".")
    for owner in owners:
        classes = [node for node in scope if isinstance(node, ast.ClassDef) and node.name == owner]
        assert classes, f"{file} has no class {owner}"
        scope = classes[0].body
    functions = [node for node in scope if isinstance(node, ast.FunctionDef) and node.name == function]
    assert functions, f"{file} has no function {name}"
    return functions[0]


def mentions(function: ast.FunctionDef) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names that a function reads, with their places: what it calls or hands on to be called."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id, (node.lineno, node.col_offset)
        elif isinstance(node, ast.Attribute) and node.end_lineno and node.end_col_offset:
            yield node.attr, (node.end_lineno, node.end_col_offset)


def check(step: Step) -> None:
    """Each child is mentioned by its parent, in the order of the diagram."""
    function = definition(step.name, step.file)
    place = (0, 0)
    for child in step.children:
        last = child.name.rpartition(".")[2]
        places = sorted(where for name, where in mentions(function) if name == last and where > place)
        assert places, f"{step.name} in {step.file} does not call {child.name} there"
        place = places[0]
        check(child)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_code_goes_the_way_of_the_diagram(flow: str) -> None:
    check(flows((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))[flow])


WRONG = {
    "Service.predict  backend/plugin.py": "no class Service",
    "Service.gone  backend/service.py": "no function Service.gone",
    "spawn  backend/engines/process.py\n  propose  backend/learning/proposals.py": "does not call propose",
    "Fitter.update  backend/learning/fitting.py\n  Versions.publish  backend/learning/versions.py\n"
    "  Fitter.fit  backend/learning/fitting.py": "does not call Fitter.fit",
}


@pytest.mark.parametrize(("line", "words"), WRONG.items())
def test_a_diagram_that_is_wrong_is_noticed(line: str, words: str) -> None:
    wrong = flows(f"```text\nCLICK x\n\n{line}\n```\n")["CLICK"]
    with pytest.raises(AssertionError, match=re.escape(words)):
        check(wrong)
