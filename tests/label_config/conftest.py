"""Fixtures of the label_config tests."""

from __future__ import annotations

import pytest

from label_config import ImageSchema, ProjectSchema, read_schema, render


@pytest.fixture
def both() -> ProjectSchema:
    """A project with clicks, boxes, queries and brush masks for "cat" and "dog"."""
    return read_schema(render("both", ["cat", "dog"]))


@pytest.fixture
def image(both: ProjectSchema) -> ImageSchema:
    return both.images[0]
