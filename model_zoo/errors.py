"""Errors of the model zoo. Messages are public: what was got, what was expected, what to do."""

from __future__ import annotations


class ModelZooError(Exception):
    """Base of all expected failures in the zoo."""


class UnknownModel(ModelZooError):
    """No model of that name is registered."""


class WeightsMissing(ModelZooError):
    """The model is known, its weights are not at hand.

    advice: the command that brings them. The message may name files of this machine, the advice names none.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class BadInput(ModelZooError):
    """An image, prompt or label set that the model cannot take."""
