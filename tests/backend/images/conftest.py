from __future__ import annotations

import pytest

from backend.images import ImageFetcher
from backend.studio import Studio
from tests.fakes.label_studio import FakeLabelStudio


@pytest.fixture
def studio(fake: FakeLabelStudio) -> Studio:
    return Studio(fake.url, fake.pat)


@pytest.fixture
def images(studio: Studio) -> ImageFetcher:
    return ImageFetcher(studio)
