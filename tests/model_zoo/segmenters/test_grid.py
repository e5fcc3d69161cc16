from __future__ import annotations

import numpy as np
import pytest
import torch

from model_zoo.prompt import Box, Click
from model_zoo.segmenters.grid import box_cells, cell_of, enlarge, outline, sample_level

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("row", "col", "expected"),
    [(0, 0, (0, 0)), (99.9, 199.9, (9, 9)), (100, 200, (9, 9)), (-3, 400, (0, 9)), (15.5, 19.9, (1, 0))],
)
def test_cell_of_a_click(row: float, col: float, expected: tuple[int, int]) -> None:
    assert cell_of(Click(row, col), (100, 200), (10, 10)) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(0, 0, 100, 100), (0, 0, 9, 9)),
        (Box(10, 20, 30, 40), (1, 2, 2, 3)),
        (Box(30, 40, 10, 20), (1, 2, 2, 3)),  # corners in the other order
        (Box(15, 15, 15, 15), (1, 1, 1, 1)),  # no area
        (Box(-50, -50, -10, -10), (0, 0, 0, 0)),  # outside
        (Box(500, 500, 900, 900), (9, 9, 9, 9)),
    ],
)
def test_cells_of_a_box(box: Box, expected: tuple[int, int, int, int]) -> None:
    assert box_cells(box, (100, 100), (10, 10)) == expected


def test_outline_walks_the_rectangle() -> None:
    cells = {tuple(cell) for cell in outline(0, 0, 3, 4, 1000).tolist()}
    assert cells == {(r, c) for r in range(4) for c in range(5) if r in (0, 3) or c in (0, 4)}


@pytest.mark.parametrize("corner", [(0, 0), (0, 7), (7, 0)])
def test_outline_of_a_line_or_a_point_has_no_duplicates(corner: tuple[int, int]) -> None:
    cells = outline(0, 0, *corner, 48)
    assert len(np.unique(cells, axis=0)) == len(cells) == max(corner) + 1


def test_outline_keeps_to_the_count_and_to_all_sides() -> None:
    cells = outline(0, 0, 60, 80, 16)
    assert len(cells) == 16
    assert {0, 60} <= set(cells[:, 0].tolist())
    assert {0, 80} <= set(cells[:, 1].tolist())


def test_sampling_puts_a_level_where_its_receptive_fields_are() -> None:
    """A ramp whose value is its receptive-field centre, i * 8 + 7.5, is sampled at the cells' centres."""
    level = torch.stack([torch.arange(8.0) * 8 + 7.5] * 8)  # value = column in pixels
    both = torch.stack([level, torch.full((8, 8), 100.0)])
    unit = sample_level(both, 8, (64, 64), (8, 8))
    columns = unit[0] / unit[1] * 100.0
    assert columns[4, 1:] == pytest.approx(np.arange(1, 8) * 8 + 4.0, abs=1e-3)


def test_enlarge_keeps_two_dimensions() -> None:
    assert enlarge(np.ones((1, 1), dtype=np.float32), (3, 1)).shape == (3, 1)
