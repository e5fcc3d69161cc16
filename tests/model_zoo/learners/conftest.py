from __future__ import annotations

import pytest

from tests.model_zoo.learners.learner_pictures import MeanEncoder


@pytest.fixture
def encoder() -> MeanEncoder:
    return MeanEncoder()
