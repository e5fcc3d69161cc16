"""Checkpoints as others publish them: tensors and plain values of a file, and nothing that it could run.

Layouts: ``{'state_dict', 'config'}`` (RITM, FocalClick, SimpleClick), ``{'model'}`` (SAM 2.1), bare dicts of tensors
(f-BRS, SAM, SAM-HQ, MobileSAM), safetensors. PyTorch's restricted reader alone opens pickles; objects of the package
``isegm``, such as the loss that SimpleClick left in its configuration, become empty stand-ins and are dropped.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from model_zoo.errors import WeightsMissing

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]
Format = Literal["zip", "pickle", "safetensors"]
KNOWN = "expected .pth, .pt or .safetensors as the authors publish them"
AGAIN = "download it again"
INERT = "isegm."  # objects of this package are dropped
DEEPEST = 20  # levels of a configuration that are kept
_reading = threading.Lock()  # PyTorch's list of allowed names is the process's


class _Inert:
    """Stands for an object that is dropped: takes whatever a pickle hands to it, and keeps nothing."""

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def read_checkpoint(path: Path) -> Checkpoint:
    """Tensors by name, and the configuration beside them, {} where there is none: numbers, texts, lists and dicts.

    Tensors may share memory with the file: do not write to it while they are in use. Raises WeightsMissing for what
    is no checkpoint, is incomplete, or would run code.
    """
    kind = _format(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    return _split(path, _unpickle(path, kind))


def _format(path: Path) -> Format:
    """By the first bytes, since downloads come with all kinds of names."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise WeightsMissing(
            f"{path} cannot be read ({error.strerror}); give the path of the downloaded file"
        ) from error
    if not head:
        raise WeightsMissing(f"{path} is empty; {KNOWN}; {AGAIN}")
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[8:9] == b"{":
        return "safetensors"
    if head[:1] == b"\x80":
        return "pickle"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsMissing(
            f"{path} is a web page, saved in place of the file, as Google Drive does for large files or too many "
            f"downloads; {KNOWN}; open the link in a browser and confirm there"
        )
    if head.startswith(b"version https://git-lfs"):
        raise WeightsMissing(f"{path} is a pointer of Git LFS, not the file; {KNOWN}; run: git lfs pull")
    raise WeightsMissing(f"{path} is no checkpoint: it begins with {head[:8]!r}; {KNOWN}")


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsMissing(
            f"{path} cannot be read: {_line(error)}; it is damaged or incomplete; {AGAIN}"
        ) from error


def _unpickle(path: Path, kind: Format) -> Any:
    try:
        with _stand_ins(path, kind):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip")
    except pickle.UnpicklingError as error:
        raise WeightsMissing(_refusal(path, error)) from error
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        raise WeightsMissing(
            f"{path} cannot be read: {_line(error)}; it is damaged, incomplete or no file of PyTorch; {KNOWN}; {AGAIN}"
        ) from error
    except Exception as error:  # what a made-up pickle can raise has no end
        raise WeightsMissing(
            f"{path} cannot be read: {type(error).__name__}: {_line(error)}; {KNOWN}; {AGAIN}"
        ) from error


@contextmanager
def _stand_ins(path: Path, kind: Format) -> Iterator[None]:
    """While it is open, the names that a file takes from ``isegm`` mean empty objects; any other stays refused."""
    with _reading:
        names = get_unsafe_globals_in_checkpoint(path) if kind == "zip" else []
        refused = sorted(name for name in names if not name.startswith(INERT))
        if refused:
            raise WeightsMissing(
                f"{path} would run code to be read ({', '.join(refused[:5])}), which is refused; expected tensors "
                "and plain values; take the file from its authors' own page"
            )
        with safe_globals([(_Inert, name) for name in names]):
            yield


def _refusal(path: Path, error: Exception) -> str:
    text = str(error)
    if "GLOBAL" in text or "reduce" in text or "allowlisted" in text:
        _, _, what = text.partition("GLOBAL ")
        name = what.partition(" ")[0] or "a function"
        return (
            f"{path} would run code to be read ({name}), which is refused; expected tensors and plain values; take "
            "the file from its authors' own page"
        )
    return f"{path} cannot be read: {_line(error)}; it is damaged or incomplete; {AGAIN}"


def _line(error: Exception) -> str:
    """The first line of a message, short."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def _split(path: Path, content: Any) -> Checkpoint:
    """Tensors and configuration of what a pickle held."""
    if isinstance(content, list):
        raise WeightsMissing(
            f"{path} holds a list of {len(content)} models, used one after another; expected one; import one of them"
        )
    if not isinstance(content, Mapping):
        raise WeightsMissing(f"{path} holds a {type(content).__name__}, expected tensors by name; {KNOWN}")
    config: Any = {}
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), Mapping):
            content, config = content[key], content.get("config", {})
            break
    tensors = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        found = ", ".join(repr(str(key)) for key in list(content)[:5]) or "nothing"
        raise WeightsMissing(
            f"{path} holds no tensors by name: its keys are {found}; expected a dict of tensors, or one under "
            f"'state_dict' or 'model'; {KNOWN}"
        )
    plain = _plain(config, DEEPEST)
    return tensors, plain if isinstance(plain, dict) else {}


_DROPPED = object()


def _plain(value: Any, depth: int) -> Any:
    """Numbers, texts, None, and lists and dicts of them; the rest is left out."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth == 0:
        return _DROPPED
    if isinstance(value, (list, tuple)):
        return [kept for kept in (_plain(item, depth - 1) for item in value) if kept is not _DROPPED]
    if isinstance(value, Mapping):
        kept_items = ((str(name), _plain(item, depth - 1)) for name, item in value.items())
        return {name: kept for name, kept in kept_items if kept is not _DROPPED}
    return _DROPPED
