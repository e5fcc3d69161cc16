"""The fake Label Studio of the backend's tests."""

from __future__ import annotations

from tests.backend.conftest import fake, make_settings, settings

__all__ = ["fake", "make_settings", "settings"]
