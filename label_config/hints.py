"""The suggested next click as a ring of the hint control, beside the mask of an interactive answer.

In Label Studio 1.23 the ring is a suggestion like the mask: the next answer replaces it, and rejecting removes it.
Accepting would make it a region of the annotation; marked ``dynamic``, as smart clicks are, it is deleted together
with them instead (``acceptAllSuggestions`` in the editor's Annotation.js); at the tick, though not with auto-accept,
that deletion sends one more request, without any region. Where the ring stays all the same, `labels` and `prompts`
pass it over.
"""

from __future__ import annotations

from typing import Any

from label_config.errors import LabelConfigError
from label_config.percent import centre
from label_config.pixels import RING_WIDTH
from label_config.schema import HINT, ImageSchema
from label_config.wire import region_json
from model_zoo.prompt import Click


def hint_region(
    click: Click, image: ImageSchema, height: int, width: int, *, mask_id: str, item_index: int | None = None
) -> dict[str, Any]:
    """One keypoint result at the centre of the pixel (row, col) under the suggested click.

    Its sign is the annotator's to choose, so it is not written. The id follows from ``mask_id``, the region's whose
    next click it is. Raises LabelConfigError when the image has no hint control, or that has no label.
    """
    if image.hint is None or not image.hint.labels:
        raise LabelConfigError(
            f'image {image.name!r} has no KeyPointLabels name="{HINT}" smart="false" with a label; add one'
        )
    row, col = click.pixel(height, width)
    value = {"x": centre(col, width), "y": centre(row, height), "width": RING_WIDTH}
    region = region_json(
        image.hint, value, image.hint.labels[0], region_id=f"{mask_id}-hint",
        height=height, width=width, item_index=item_index,
    )  # fmt: skip
    return {**region, "dynamic": True}
