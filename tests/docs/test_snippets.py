"""The Python that the documentation shows runs; that of docs/extend.md has a file of tests of its own."""

from __future__ import annotations

import ast
import re

import pytest

from label_config import check, read_schema
from tests.docs.commands import PAGES, ROOT

pytestmark = pytest.mark.unit

NEEDS_A_GPU = "docs/learners.md"
"""Its snippet trains on CUDA, with images of the reader's own: only its imports and names are tried."""
ELSEWHERE = {"docs/extend.md", "docs/export.md"}
"""Run by tests/docs/test_extend.py and tests/backend/test_export_command.py."""


def snippets() -> dict[str, str]:
    """Page -> its Python, one snippet a page."""
    found = {}
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        blocks = re.findall(
            r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        assert len(blocks) < 2, f"{path.name} has {len(blocks)} snippets; teach this test to tell them apart"
        if blocks:
            found[str(path.relative_to(ROOT))] = blocks[0]
    return found


def test_each_snippet_is_tried_somewhere() -> None:
    assert set(snippets()) == {"README.md", "docs/connect.md", *ELSEWHERE, NEEDS_A_GPU}


@pytest.mark.parametrize("page", ["README.md", "docs/connect.md"])
def test_a_labelling_config_is_printed(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippets()[page], page, "exec"), {})
    config = capsys.readouterr().out
    image = read_schema(config).pixel_image
    assert image is not None
    assert image.classes == ("road", "car", "sky")
    assert check(config) == []


def test_what_needs_a_gpu_names_what_there_is() -> None:
    tree = ast.parse(snippets()[NEEDS_A_GPU])
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)]
    names: dict[str, object] = {}
    exec(compile(ast.Module(imports, []), NEEDS_A_GPU, "exec"), names)
    assert "create_learner" in names
    from model_zoo.registry import find_model

    (name,) = re.findall(r'create_learner\("([^"]+)"', snippets()[NEEDS_A_GPU])
    assert find_model(name, "learner") is not None
