"""Addresses at Label Studio itself: which of them get its token, and which are no addresses of images at all.

Whoever may import tasks writes these addresses, and they are called with the rights of ClickPick's own user: the token
goes with images, not with the API.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from backend.errors import ImageRefused
from backend.images.policy import public_url

IMAGE_PATHS = re.compile(r"/(data|storage-data)/|/(tasks|projects)/\d+/(resolve|presign)/?$")
DECODINGS = 3
"""Proxies may decode an address once more than Label Studio does."""


def needs_token(url: str, prefix: str) -> bool:
    """Whether Label Studio serves images at this address to its users only. ``prefix``: path of Label Studio."""
    return bool(IMAGE_PATHS.match(urlsplit(url).path.removeprefix(prefix)))


def refuse_climbing(url: str) -> None:
    """ImageRefused for a path, or a path in a query, that climbs out of its folder, however it is written."""
    parts = urlsplit(url)
    text = f"{parts.path}?{parts.query}"
    for _ in range(DECODINGS):
        text = unquote(text)
    if ".." in re.split(r"[/?&=;\\]", text) or "\\" in text or "\0" in text:
        raise ImageRefused(
            f"image address {public_url(url)} climbs out of its folder; expected a path without '..' and backslashes"
        )
