"""Latency of a segmenter over whole evaluations: loading, encoding, and every click, zoom-in and repair included.

Objects come from a samples.csv (as `clickpick evaluate clicks` takes), photographs are brought to 1280x960.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.settings import Settings
from benchmarks.common import report, spread
from model_zoo.evaluation.noc import evaluate_sample, noc
from model_zoo.evaluation.samples import read_samples
from model_zoo.registry import create_segmenter, list_models
from model_zoo.weights import WeightSource

HEIGHT, WIDTH = 960, 1280


def run(samples: Path, name: str, limit: int, source: WeightSource) -> None:
    list_models()  # imports the models' libraries, which is not what loading weights costs
    started = time.perf_counter()
    device = Settings().torch_device
    segmenter = create_segmenter(name, device, source)
    loading = time.perf_counter() - started
    encodes, clicks, needed = [], [], []
    for number, sample in enumerate(read_samples(samples)[: limit + 1]):
        image, truth = sample.load()
        image = np.asarray(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        truth = np.asarray(
            cv2.resize(truth, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST), dtype=np.uint8
        )
        result = evaluate_sample(segmenter, image, truth, name=sample.name)
        if number:  # the first one warms up
            encodes.append(result.encode_seconds)
            clicks.extend(result.seconds)
            needed.append(noc(result.ious, 0.9))
    size = f"{WIDTH}x{HEIGHT}"
    about = {"segmenter": name, "device": device, "random_weights": source.random}
    report("load", **about, seconds=round(loading, 3))
    report("encode", **about, image=size, **spread(encodes))
    report("click", **about, image=size, mean_clicks=round(float(np.mean(needed)), 2), **spread(clicks))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--segmenter", nargs="+", default=["clicknet", "clicknet+gp"])
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument(
        "--random-weights", action="store_true", help="of networks, where theirs are not at hand"
    )
    chosen = parser.parse_args()
    weights = WeightSource(random=True) if chosen.random_weights else WeightSource(Settings().weights_folder)
    torch.set_flush_denormal(
        chosen.random_weights
    )  # random networks let activations decay until processors crawl
    for one in chosen.segmenter:
        run(chosen.samples, one, chosen.limit, weights)
