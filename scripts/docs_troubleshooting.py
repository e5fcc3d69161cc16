"""docs/troubleshooting.md from the doctor's source: each finding that it can report, and what it advises.

Findings are read from the calls of Finding(code, severity, message, advice). What is known only when the doctor runs
is shown as an ellipsis; of alternatives of a message the first is shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from scripts.docs_users import read_entries

UNKNOWN = "…"
PROJECT = ("project", "project.id", "project_id")
"""Shown as 7, as in the rest of the documentation."""
SOURCES = {
    "ClickPick, the token and Label Studio's address": "backend/doctor/installation.py",
    "Token": "backend/doctor/__init__.py",
    "Credentials": "backend/doctor/access.py",
    "Models": "backend/model_check.py",
    "Shared storage": "backend/doctor/shared.py",
    "Project, connection and images": "backend/doctor/project.py",
    "Labelling config": "label_config/check.py",
    "Rebuilding a lost database": "backend/doctor/rebuild.py",
}
CALLS = ("Finding", "_Finding", "Problem", "ModelProblem")
SHARED = (
    "label_config/schema.py",
    "backend/connect.py",
    "backend/doctor/installation.py",
    "backend/doctor/project.py",
)
"""Where names get their values that the sources import or are given."""
HEAD = """# Troubleshooting

```
clickpick doctor
clickpick doctor --project 7
```

It calls ClickPick and Label Studio, compares what each knows of the other, reads the labelling config and fetches the
images of three tasks. Each line begins with *ok*, *warning* or *error* and a name; below are all that are not *ok*, and
what to do. Exit code 1: there was an error. For `make demo` it needs [the demo's token](index.md#try-it).

"""


@dataclass(frozen=True)
class Check:
    """One thing the doctor may say."""

    code: str
    severity: str
    message: str
    advice: str


def checks(root: Path, source: str) -> Iterator[Check]:
    """Findings of one file that are not "ok", in their order."""
    shared: dict[str, ast.expr] = {}
    for name in (*SHARED, source):
        shared |= _assigned(_statements(ast.parse((root / name).read_text(encoding="utf-8"))))
    prefix = "config-" if source.startswith("label_config/") else ""
    for function in ast.parse((root / source).read_text(encoding="utf-8")).body:
        for call in _calls(function):
            names = shared | _assigned(one for one in _statements(function) if one.lineno <= call.lineno)
            texts = [_texts(argument, names) for argument in call.args[:4]]
            if ast.unparse(call.func) == "ModelProblem":  # the doctor tells it as an error
                texts.insert(1, ["error"])
            if len(texts) < 3 or "ok" in texts[1]:
                continue
            advice = texts[3][0] if len(texts) > 3 else ""
            for code in texts[0]:
                if UNKNOWN not in code:
                    yield Check(prefix + code, " or ".join(texts[1]), _shown(texts[2][0]), _shown(advice))


def all_checks(root: Path) -> dict[str, dict[str, list[Check]]]:
    """By section and code; what a later section says of a code is told where the code was first."""
    sections: dict[str, dict[str, list[Check]]] = {}
    places: dict[str, list[Check]] = {}
    for title, source in SOURCES.items():
        section: dict[str, list[Check]] = {}
        for check in checks(root, source):
            if check.code not in places:
                places[check.code] = section[check.code] = []
            if check not in places[check.code]:
                places[check.code].append(check)
        sections[title] = section
    return sections


def troubleshooting_page(root: Path) -> str:
    return HEAD + "\n".join([*_symptoms(root), *_sections(root)]) + "\n"


def _symptoms(root: Path) -> Iterator[str]:
    yield "## What you see\n\n| what people report | look for |\n|---|---|"
    for row in (row for rows in read_entries(root).values() for row in rows):
        if row.doctor:
            yield f"| {row.title} | {', '.join(f'[{code}](#{code})' for code in row.doctor)} |"
    yield "\nThe editor shows no error of a backend: a click that fails does nothing there. ClickPick's log says why."


def _sections(root: Path) -> Iterator[str]:
    for title, section in all_checks(root).items():
        if section:
            yield f"\n## {title}"
        for code, found in section.items():
            yield f"\n### {code}"
            for check in found:
                yield f"\n**{check.severity.capitalize()}:** {check.message}"
                if check.advice:
                    yield f"\nWhat to do: {check.advice}"


def _statements(tree: ast.AST) -> list[ast.stmt]:
    return sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.stmt)), key=lambda node: node.lineno
    )


def _calls(function: ast.stmt) -> list[ast.Call]:
    found = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS
    ]
    return sorted(found, key=lambda node: node.lineno)


def _assigned(statements: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    """Name -> the last value it got."""
    return {
        node.targets[0].id: node.value
        for node in statements
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _texts(node: ast.expr, names: Mapping[str, ast.expr]) -> list[str]:
    """All texts that an expression may have, as far as the source tells."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=first, orelse=second):
            found = [*_texts(first, names), *_texts(second, names)]
        case ast.JoinedStr(values=parts):
            found = ["".join(choice) for choice in product(*(_texts(part, names) for part in parts))]
        case ast.FormattedValue(value=inner):
            found = _texts(inner, names)
        case ast.BinOp(left=left, right=right):
            found = [a + b for a, b in product(_texts(left, names), _texts(right, names))]
        case ast.Name(id=name) if name in names:
            found = _texts(names[name], {other: value for other, value in names.items() if other != name})
        case _:
            found = ["7" if ast.unparse(node) in PROJECT else UNKNOWN]
    return found


def _shown(text: str) -> str:
    """On one line, and nothing of it taken for HTML."""
    if text == UNKNOWN:
        return "(the message says which)"
    return " ".join(text.replace("<", "&lt;").split())
