"""What the trainer asks of a network: encode images once, answer prompts, say what its answers are learnt by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from model_zoo.prompt import Click

Clicks = Sequence[Sequence[Click]]
"""Of each prompt, in pixels of its maps."""


class Answer(Protocol):
    """Logits for a batch of N prompts."""

    @property
    def answer(self) -> Tensor:
        """(N, 1, h, w) logits: what the annotator gets."""

    @property
    def auxiliary(self) -> tuple[Tensor, ...]:
        """Further logits (N, 1, h, w) that the same masks teach, with less weight."""

    @property
    def penalty(self) -> Tensor | float:
        """What the loss has besides, already weighted."""


class ClickModel(Protocol):
    """Networks of click segmenters as they are trained; modules of torch, whose ``forward`` is decode of embed."""

    def embed(self, images: Tensor) -> Any:
        """images: (B, 3, S, S) in [0, 1]. All that does not depend on prompts."""

    def decode(self, embedding: Any, maps: Tensor, index: Tensor, *, clicks: Clicks) -> Answer:
        """maps: (N, 4, S, S) of click_maps, with the same clicks. index: (N,) which image each belongs to."""
