"""One result of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One result. ``code`` is stable; ``advice`` is empty where all is well."""

    code: str
    severity: Severity
    message: str
    advice: str = ""
