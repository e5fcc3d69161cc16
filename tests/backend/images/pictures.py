"""Small pictures, and a fetcher of them from the fake Label Studio."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from tests.fakes.http_server import Call
from tests.fakes.label_studio import FakeLabelStudio

LOOPBACK = ("127.0.0.0/8",)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(height: int = 5, width: int = 7) -> Image.Image:
    values = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.fromarray(values)


PNG = encoded(gradient())


def image_calls(fake: FakeLabelStudio) -> list[Call]:
    return [call for call in fake.calls if not call.path.startswith("/api/")]
