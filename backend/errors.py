"""Typed errors: every message is public, says what was got, what was expected and what to do."""

from __future__ import annotations

import errno
import os


class ClickPickError(Exception):
    """Base of all expected failures; ``str(error)`` may be shown to anybody, ``status`` is its HTTP answer."""

    status = 500


class BadRequest(ClickPickError):
    """The caller sent something that cannot be understood."""

    status = 400


class NotAllowed(ClickPickError):
    """The caller gave no credentials, or wrong ones."""

    status = 401


class Forbidden(ClickPickError):
    """The caller may not do this from where it came."""

    status = 403


class NotFound(ClickPickError):
    """There is no such thing here."""

    status = 404


class ConfigProblem(ClickPickError):
    """A setting, or the project's labelling config, does not allow what was asked."""

    status = 400


class ImageProblem(ClickPickError):
    """The image of a task cannot be had: missing, truncated, too large, not an image."""

    status = 422


class ImageRefused(ImageProblem):
    """The image's address is outside what this installation may fetch."""

    status = 403


class StoreUnavailable(ClickPickError):
    """The database does not answer, or cannot be written: worth trying again later."""

    status = 503


class SharedUnavailable(ClickPickError):
    """The shared storage does not answer, or does not let us: worth trying again later."""

    status = 503


class Overtaken(ClickPickError):
    """Another process has published meanwhile, or is about to: worth trying again later by who still runs the round."""

    status = 503


class StudioUnavailable(ClickPickError):
    """Label Studio does not answer, or answers 5xx: worth trying again later."""

    status = 503


class StudioRefused(ClickPickError):
    """Label Studio answered 4xx: trying again without a change is useless. ``studio_status`` is its answer."""

    status = 502

    def __init__(self, message: str, studio_status: int) -> None:
        super().__init__(message)
        self.studio_status = studio_status

    def __reduce__(self) -> tuple[type[StudioRefused], tuple[str, int]]:
        """For errors that cross from one process to another."""
        return type(self), (str(self), self.studio_status)


class ClusterUnavailable(ClickPickError):
    """The Ray cluster does not answer, or has lost a piece of work too often: worth trying again later."""

    status = 503


class ModelUnavailable(ClickPickError):
    """A model cannot be built here: unknown name, weights that are not at hand."""

    status = 503


class TooLate(ClickPickError):
    """Whoever asked has stopped waiting, so that there was no use in an answer."""

    status = 503


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a file could not be written for want of room; safetensors' own says so in words."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return os.strerror(errno.ENOSPC) in str(error)
