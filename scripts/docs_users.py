"""docs/users.md from docs/users.json: what users ask for, what peers get wrong, and the tests that look at it."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["covered", "partly", "not covered"]
HEAD = """# What users ask for, and the tests that look at it

Thirty complaints about tools of this kind, and defects found in them, in our words. Each names the tests of this
repository that would fail if it came true here. LSML is HumanSignal/label-studio-ml-backend, LS is
HumanSignal/label-studio; numbers are those of their issues.

"""


@dataclass(frozen=True)
class Entry:
    """One complaint or defect. ``gap``: what is not covered, or cannot be solved from a backend, and what is done."""

    group: str
    title: str
    reports: str
    asks: str
    answer: str
    status: Status
    gap: str
    doctor: tuple[str, ...]
    tests: tuple[str, ...]


def read_entries(root: Path) -> dict[str, list[Entry]]:
    """Complaints and defects, in their order."""
    data: dict[str, list[dict[str, Any]]] = json.loads(
        (root / "docs" / "users.json").read_text(encoding="utf-8")
    )
    return {
        kind: [Entry(**{**row, "doctor": tuple(row["doctor"]), "tests": tuple(row["tests"])}) for row in rows]
        for kind, rows in data.items()
    }


def missing_tests(root: Path, names: Sequence[str]) -> list[str]:
    """Those ids, ``file::function``, that no test of the repository has."""
    known: dict[str, set[str]] = {}
    missing = []
    for name in names:
        file, _, function = name.partition("::")
        if file not in known:
            path = root / file
            tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.parse("")
            known[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if not function.startswith("test_") or function not in known[file]:
            missing.append(name)
    return missing


def users_page(root: Path) -> str:
    entries = read_entries(root)
    return HEAD + "\n".join(_page(entries)) + "\n"


def _page(entries: dict[str, list[Entry]]) -> Iterator[str]:
    for kind, rows in entries.items():
        count = Counter(row.status for row in rows)
        yield (
            f"- {len(rows)} {kind}: {count['covered']} covered by tests, {count['partly']} partly, "
            f"{count['not covered']} not."
        )
    number = 0
    for rows in entries.values():
        group = ""
        for row in rows:
            number += 1
            if row.group != group:
                yield f"\n## {row.group}"
                group = row.group
            yield f"\n### {number}. {row.title}\n"
            yield f"{row.asks} ({row.reports})\n"
            yield f"**Here:** {row.answer}"
            if row.gap:
                yield f"\n**{'But' if row.status == 'covered' else row.status.capitalize()}:** {row.gap}"
            if row.tests:
                yield "\n" + "\n".join(f"- `{test}`" for test in row.tests)
