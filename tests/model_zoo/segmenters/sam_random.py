"""Reproducible weights, pictures and prompts for comparisons with the published SAMs; scripts use them, too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from zlib import crc32

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.prompt import Box, Click, Prompt
from model_zoo.segmenters.base import Mask
from model_zoo.segmenters.sam_segmenter import SamSegmenter

SIZES = ((61, 97), (130, 43))  # of pictures, for networks of 64 pixels
LARGE_SIZES = ((333, 481),)  # for those of 1024
GAINS = {"mask_downscaling": 0.3, "trunk.body": 0.5}  # of weights, by parts of their names; 1 for others
EMBEDDINGS = ("_token.weight", "_tokens.weight", "point_embed", "_embed.weight", "gaussian_matrix")


def tensor(name: str, shape: Iterable[int]) -> torch.Tensor:
    """The same numbers for a published name wherever they are asked for, and such that answers vary."""
    size = tuple(shape)
    if name.endswith("num_batches_tracked"):
        return torch.zeros(size, dtype=torch.int64)
    values = np.random.default_rng([9, crc32(name.encode())]).standard_normal(size, dtype=np.float32)
    if name.endswith("running_var"):
        values = np.exp(0.1 * values)
    elif any(part in name for part in EMBEDDINGS):
        pass
    elif "pos_embed" in name or "rel_pos" in name or "attention_biases" in name or name == "no_mem_embed":
        values *= 0.3
    elif "mask_downscaling" in name and name.endswith("bias"):
        pass  # small ones let layer norms blow up what differs in the last bit
    elif len(size) == 1:
        values = (1.0 if name.endswith("weight") else 0.0) + 0.1 * values
    else:
        values *= next((gain for part, gain in GAINS.items() if part in name), 1.0) / np.sqrt(prod(size[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def state(shapes: Mapping[str, Iterable[int]]) -> dict[str, torch.Tensor]:
    """What a published file of such a network would hold."""
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def packed(shapes: Mapping[str, Iterable[int]]) -> NDArray[np.uint8]:
    """Names and shapes, for a file of arrays."""
    return np.frombuffer(json.dumps({name: list(shape) for name, shape in shapes.items()}).encode(), np.uint8)


def unpacked(stored: NDArray[np.uint8]) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads(stored.tobytes())
    return shapes


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3): blurred noise, an ellipse in the middle of other colours."""
    rng = np.random.default_rng([height, width])
    image = cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)).astype(np.float32), (0, 0), 3.0)
    image = (image - image.mean()) * 4.0 + 110.0
    image[disk(height, width)] += (70.0, -50.0, -20.0)
    return np.clip(image, 0, 255).astype(np.uint8)


def disk(height: int, width: int) -> NDArray[np.bool_]:
    rows, cols = np.mgrid[:height, :width]
    return np.asarray(np.hypot(rows / height - 0.55, cols / width - 0.45) < 0.25)


def sessions(height: int, width: int) -> dict[str, list[Prompt]]:
    """Prompts as an annotator makes them, each with the state that the one before has left."""
    places = ((0.5, 0.5, True), (0.9, 0.1, False), (0.7, 0.6, True), (0.02, 0.97, False), (0.31, 0.43, True))
    clicks = tuple(Click(row * height, col * width, positive) for row, col, positive in places)
    box = Prompt(clicks[:3], box=Box(0.2 * height, 0.15 * width, 0.9 * height, 0.7 * width))
    started = Prompt((clicks[2], clicks[1], clicks[0]), mask=disk(height, width))
    return {
        "clicks": list(Prompt(clicks).prefixes()),
        "box": [replace(box, clicks=())],
        "box and clicks": list(box.prefixes()),
        "mask and clicks": list(started.prefixes()),
    }


def answers(segmenter: SamSegmenter, sizes: Iterable[tuple[int, int]]) -> Iterator[tuple[str, Mask]]:
    """Of our segmenter, with names; as the sessions go."""
    for height, width in sizes:
        embedding = segmenter.encode(picture(height, width))
        for name, prompts in sessions(height, width).items():
            before = None
            for number, prompt in enumerate(prompts):
                mask = segmenter.decode(embedding, prompt, before)
                before = mask.state
                yield f"{height}x{width} {name} {number}", mask
