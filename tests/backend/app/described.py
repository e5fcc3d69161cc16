"""docs/openapi.json, and whether a value is as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

DESCRIPTION: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8")
)


def schema_of(path: str, status: str = "") -> dict[str, Any]:
    """Schema of a path's request, or of its answer with that status."""
    (operation,) = (one for name, one in DESCRIPTION["paths"][path].items() if name != "parameters")
    body = (
        operation["responses"].get(status, operation["responses"]["default"])
        if status
        else operation["requestBody"]
    )
    if "$ref" in body:
        body = DESCRIPTION["components"]["responses"][body["$ref"].rpartition("/")[2]]
    return {**body["content"]["application/json"]["schema"], "components": DESCRIPTION["components"]}


def problems(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is not as described."""
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]
