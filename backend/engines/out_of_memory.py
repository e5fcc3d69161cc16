"""What is done when a device has no memory left: give back what can be had again, try once more, then say so."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

from backend.errors import ModelUnavailable

LOG = logging.getLogger(__name__)
T = TypeVar("T")


def with_room(call: Callable[[], T], make_room: Callable[[], None], what: str) -> T:
    """The answer of a model call; ModelUnavailable, naming ``what``, when it runs out of the device's memory twice.

    make_room: forget what the caches hold there.
    """
    import torch  # noqa: PLC0415 - seconds to import; whoever calls a model has it by now

    try:
        return call()
    except torch.OutOfMemoryError as error:
        LOG.warning("%s ran out of the device's memory (%s); caches are emptied", what, error)
    # Not inside the handler: the error's traceback holds the tensors of the call.
    make_room()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        return call()
    except torch.OutOfMemoryError as error:
        LOG.error("%s ran out of the device's memory with empty caches: %s", what, error)
    raise ModelUnavailable(
        f"{what} needs more memory than its device has left, also after the caches were emptied; choose a smaller "
        "model, end what else uses the device, or set CLICKPICK_DEVICE=cpu"
    )
