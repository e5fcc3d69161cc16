"""Errors of label_config. Messages are public: what was got, what was expected, what to do."""

from __future__ import annotations


class LabelConfigError(ValueError):
    """Base of all expected failures: a config, a request or a region that cannot be used as it is."""


class ConfigUnreadable(LabelConfigError):
    """The labelling config is not XML that Label Studio could show."""


class RequestMalformed(LabelConfigError):
    """The context of an interactive request is not what Label Studio's editor sends."""
