"""What an engine is: the place where models answer and rounds run. The service knows no more of it than this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from backend.proposing import OpenedTask
from label_config import ProjectSchema, PromptRequest


class Engine(Protocol):
    """Thread-safe; a constructor does nothing heavy. Each call is about one image: it can go to where that is kept."""

    def start(self) -> None:
        """Get ready to answer, which takes seconds; raises what stands in the way, and is no condition for a call."""

    def stop(self) -> None:
        """End what this engine has begun; calls under way end with ModelUnavailable."""

    def segment(
        self, schema: ProjectSchema, task: Mapping[str, Any], request: PromptRequest
    ) -> dict[str, Any]:
        """The prediction for one object of a task: its mask in the project's output form.

        Raises ModelUnavailable, TooLate after ``answer_seconds``, and what concerns the image or the request.
        """

    def propose(self, opened: OpenedTask, deadline: float) -> dict[str, Any]:
        """The prediction of a task that is opened: queries and pre-annotation. deadline: of time.monotonic.

        Raises ClickPickError or ModelZooError where there is none.
        """

    def embed(self, url: str, task: int, segmenter: str) -> None:
        """Encode an image before anybody clicks on it; clicks go first. Raises as `segment` does."""

    def start_training(self) -> None:
        """Make sure that somebody works on the queue of rounds."""

    def problems(self) -> list[str]:
        """Why clicks cannot be answered now, in words for anybody; empty when they can."""

    @property
    def waiting(self) -> int:
        """Model calls that wait for their turn."""

    def cache_bytes(self) -> dict[str, int]:
        """Bytes in memory by cache."""
