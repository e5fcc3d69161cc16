"""Would it pay to put the images or prompts of several annotators into one batch? ``clicknet``'s network, one thread.

Milliseconds an image, or a prompt, for batches of 1 to 8 at the size that a view of a 4:3 photograph has.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.common import report
from model_zoo.fused import quicken
from model_zoo.precision import cast_weights, quick_precision
from model_zoo.segmenters.clicknet_weights import CLICKNET, load_clicknet

SIZES = (1, 2, 4, 8)
VIEW = (320, 448)
"""Pixels, height and width."""


def fastest(call: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of the processor for the quickest of some calls: others use this machine, too."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return 1000.0 * float(np.min(seconds))


def run(repeats: int) -> None:
    torch.set_num_threads(1)
    network, device = load_clicknet(CLICKNET).eval(), torch.device("cpu")
    quicken(network)
    cast_weights(network, device)
    network = network.to(memory_format=torch.channels_last)
    encode, decode = {}, {}
    with torch.inference_mode(), quick_precision(device):
        for size in SIZES:
            pixels = torch.rand(size, 3, *VIEW).contiguous(memory_format=torch.channels_last)
            maps = torch.rand(size, 4, *VIEW)  # clicks of both kinds, box or strokes, the mask before
            pyramid = network.embed(pixels)
            encode[size] = round(fastest(lambda p=pixels: network.embed(p), repeats) / size, 1)
            decode[size] = round(fastest(lambda p=pyramid, m=maps: network.decode(p, m), repeats) / size, 1)
    report(
        "batches on a processor", view=f"{VIEW[1]}x{VIEW[0]}", encode_ms_each=encode, decode_ms_each=decode
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    run(parser.parse_args().repeats)
