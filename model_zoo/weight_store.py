"""The folder of converted weights: published files go in once, each with a record beside it, and are checked by that.

``NAME.safetensors`` holds the tensors as our network wants them, ``NAME.json`` where they come from.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from model_zoo.checkpoints import read_checkpoint
from model_zoo.errors import UnknownModel, WeightsMissing
from model_zoo.registry import create_segmenter, find_converter, list_models
from model_zoo.weights import Published, WeightSource, WeightSpec, file_digest, locate, verify

RESTRICTED = re.compile(r"non-?\s?commercial|\bby-nc\b|research[- ]only", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """What is known of a converted file. ``sha256`` and ``size`` are of the published one, as it was read.

    ``own``: it was imported as somebody's own training, and never compared with the published digest.
    """

    model: str
    file: str
    sha256: str
    size: int
    licence: str
    terms: str
    date: str
    converted_sha256: str
    converted_size: int
    own: bool = False


def restricted(spec: WeightSpec) -> bool:
    """Whether the licence forbids commercial use, so that it has to be accepted first."""
    terms = "" if spec.published is None else spec.published.terms
    return bool(RESTRICTED.search(f"{spec.licence} {terms}"))


def list_weights(pattern: str = "*") -> list[WeightSpec]:
    """Weights of all registered models, each once, whose own name or a model's matches the shell pattern."""
    found: dict[str, WeightSpec] = {}
    for model in list_models():
        for spec in model.weights:
            if fnmatchcase(spec.name, pattern) or fnmatchcase(model.name, pattern):
                found.setdefault(spec.name, spec)
    return sorted(found.values(), key=lambda spec: spec.name)


def find_weights(pattern: str) -> list[WeightSpec]:
    """As ``list_weights``; raises UnknownModel, with close names, where there are none."""
    found = list_weights(pattern)
    if not found:
        names = [spec.name for spec in list_weights()]
        close = get_close_matches(pattern, names) or names
        raise UnknownModel(f"there are no weights {pattern!r}; did you mean {' or '.join(close)}?")
    return found


def find_published(name: str) -> tuple[WeightSpec, Published]:
    """Weights that others publish, by their own name or a model's. Raises UnknownModel."""
    for spec in find_weights(name):
        if spec.published is not None:
            return spec, spec.published
    published = ", ".join(spec.name for spec in list_weights() if spec.published is not None)
    raise UnknownModel(f"{name!r} has no published weights; those that have are {published or 'none'}")


def record_path(spec: WeightSpec, folder: Path) -> Path:
    return folder / f"{Path(spec.file).stem}.json"


def import_file(
    name: str, file: Path, folder: Path, *, own: bool = False, report: Callable[[str], None] = lambda _: None
) -> Record:
    """Convert a published file into the folder and check that the network takes it; report: is told the steps.

    own: the file is not the published one but was trained by its code, so that its digest may differ. What was in the
    folder before stays unless all went well. Raises WeightsMissing and UnknownModel.
    """
    spec, published = find_published(name)
    report("reading")
    tensors, config = read_checkpoint(file)
    digest = file_digest(file)
    if published.sha256 and digest != published.sha256 and not own:
        raise WeightsMissing(
            f"{file} has sha256 {digest}, the published {published.file} has {published.sha256}: it is damaged or "
            f"another file; {spec.advice}; or, for weights that you trained yourself, add --own"
        )
    report("converting")
    converted = _checked(find_converter(spec.name)(tensors, config), file)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as unfinished:
        work = Path(unfinished)
        _need_space(folder, sum(tensor.nbytes for tensor in converted.values()))
        report("writing")
        save_file(converted, work / spec.file, {"format": "pt"})  # several words have no order
        del tensors, converted
        report("checking")
        _try(spec, work, file)
        record = _record(spec, published, file, digest, work / spec.file, own=own)
        written = record_path(spec, work)
        written.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
        (work / spec.file).chmod(
            written.stat().st_mode & 0o777
        )  # safetensors lets nobody else read its files
        (work / spec.file).replace(folder / spec.file)
        written.replace(record_path(spec, folder))
    return record


def _checked(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Copies that share no memory, as safetensors wants them; raises WeightsMissing for what holds no numbers."""
    copies: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise WeightsMissing(f"{file}: {name} is no plain tensor; expected the published file")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsMissing(f"{file}: {name} holds values that are no numbers; download the file again")
        place = tensor.untyped_storage().data_ptr()
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        copies[name] = tensor if whole and place not in seen else tensor.contiguous().clone()
        seen.add(place)
    return copies


def _need_space(folder: Path, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < nbytes + (64 << 20):
        raise WeightsMissing(
            f"{folder} has {free / 1e6:.0f} MB left and the converted file needs {nbytes / 1e6:.0f} MB; make room, or "
            "choose another folder by CLICKPICK_WEIGHTS"
        )


def _try(spec: WeightSpec, folder: Path, file: Path) -> None:
    """Build the model from what was written; raises WeightsMissing."""
    try:
        create_segmenter(spec.name, "cpu", WeightSource(folder))
    except WeightsMissing as error:
        problem = (
            str(error).partition("; delete it")[0].replace(str(folder / spec.file), "the converted file")
        )
        raise WeightsMissing(f"{file} is no file of {spec.name}: {problem}; {spec.advice}") from error


def _record(
    spec: WeightSpec, published: Published, file: Path, digest: str, converted: Path, *, own: bool
) -> Record:
    return Record(
        model=spec.name,
        file=file.name,
        sha256=digest,
        size=file.stat().st_size,
        licence=spec.licence,
        terms=published.terms,
        date=datetime.now(timezone.utc).date().isoformat(),
        converted_sha256=file_digest(converted),
        converted_size=converted.stat().st_size,
        own=own,
    )


def read_record(spec: WeightSpec, folder: Path) -> Record:
    """The record beside a converted file; raises WeightsMissing."""
    path = record_path(spec, folder)
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise WeightsMissing(
            f"{path}, which says where the weights come from, cannot be read; {spec.advice}"
        ) from error


def check_weights(spec: WeightSpec, folder: Path) -> str:
    """What could be compared with what, when nothing differs; raises WeightsMissing otherwise. Reads the whole file."""
    path = locate(spec, folder)
    if spec.published is None or path.parent != folder:
        if not spec.sha256:
            return "at hand; nobody states a digest to compare with"
        verify(path, spec)
        return "as published"
    record = read_record(spec, folder)
    digest = file_digest(path)
    if digest != record.converted_sha256:
        raise WeightsMissing(
            f"{path} has sha256 {digest}, its record says {record.converted_sha256}: it was changed or damaged; "
            f"{spec.advice}"
        )
    if record.own:
        return f"as imported on {record.date} from {record.file}, somebody's own training"
    if spec.published.sha256 and record.sha256 != spec.published.sha256:
        raise WeightsMissing(
            f"{path} was converted from a file with sha256 {record.sha256}, the published {spec.published.file} has "
            f"{spec.published.sha256}; {spec.advice}"
        )
    source = "the published file" if spec.published.sha256 else f"{record.file}, whose digest nobody states"
    return f"as imported on {record.date} from {source}"
