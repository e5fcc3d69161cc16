"""Labelling configs, and Label Studio's JSON <-> masks, clicks and pixel labels of the upright image.

Percent (x, y) exists only in here; everything else speaks pixels (row, col) of the image with EXIF applied.
"""

from label_config.annotations import Source, latest_annotations, masks_by_person
from label_config.check import Problem, check, repair
from label_config.colours import class_colours
from label_config.errors import ConfigUnreadable, LabelConfigError, RequestMalformed
from label_config.hints import hint_region
from label_config.labels import UNLABELLED, TaskLabels, collect_labels
from label_config.masks import (
    data_url_to_mask,
    mask_to_data_url,
    mask_to_polygons,
    mask_to_rle,
    polygons_to_mask,
    rle_to_mask,
)
from label_config.merging import MergedRegions, merge_regions
from label_config.pixels import PixelLabel, Query, query_regions, read_pixel
from label_config.polygons import PolygonForm
from label_config.prompts import PromptRequest, read_prompt
from label_config.regions import RegionMask, mask_regions, read_mask, read_masks
from label_config.schema import QUESTION, VOID, Control, ImageSchema, ProjectSchema, read_schema
from label_config.templates import check_classes, render
from label_config.validate import invalid_reason

__all__ = [
    "QUESTION",
    "UNLABELLED",
    "VOID",
    "ConfigUnreadable",
    "Control",
    "ImageSchema",
    "LabelConfigError",
    "MergedRegions",
    "PixelLabel",
    "PolygonForm",
    "Problem",
    "ProjectSchema",
    "PromptRequest",
    "Query",
    "RegionMask",
    "RequestMalformed",
    "Source",
    "TaskLabels",
    "check",
    "check_classes",
    "class_colours",
    "collect_labels",
    "data_url_to_mask",
    "hint_region",
    "invalid_reason",
    "latest_annotations",
    "mask_regions",
    "mask_to_data_url",
    "mask_to_polygons",
    "mask_to_rle",
    "masks_by_person",
    "merge_regions",
    "polygons_to_mask",
    "query_regions",
    "read_mask",
    "read_masks",
    "read_pixel",
    "read_prompt",
    "read_schema",
    "render",
    "repair",
    "rle_to_mask",
]
