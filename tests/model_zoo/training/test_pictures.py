from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo.errors import BadInput
from model_zoo.training.pictures import LONGEST, LabelRegions, TreeRegions, list_pictures
from model_zoo.training.region_tree import build_tree

pytestmark = pytest.mark.unit


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)


def folder_with(tmp_path: Path, kind: str, labels: np.ndarray) -> Path:
    write(tmp_path / "images" / "a.png", np.full((*labels.shape, 3), 99))
    write(tmp_path / kind / "a.png", labels)
    return tmp_path


def quarters(first: int, second: int) -> np.ndarray:
    labels = np.zeros((8, 12), dtype=np.uint8)
    labels[:4, :6], labels[4:, 6:] = first, second
    return labels


def drawn(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    (picture,) = list_pictures(tmp_path)
    regions = picture.labelled(8, 12)
    assert regions is not None
    return regions.draw(np.random.default_rng(0))


def test_a_mask_has_one_object_and_255_does_not_count(tmp_path: Path) -> None:
    truth, valid = drawn(folder_with(tmp_path, "masks", quarters(1, 255)))
    assert np.array_equal(truth, quarters(1, 0) == 1)
    assert np.array_equal(valid, quarters(0, 1) == 0)


def test_0_and_255_alone_are_background_and_object(tmp_path: Path) -> None:
    truth, valid = drawn(folder_with(tmp_path, "masks", quarters(255, 255)))
    assert np.array_equal(truth, quarters(1, 1) == 1)
    assert valid.all()


def test_an_empty_mask_has_nothing_to_draw(tmp_path: Path) -> None:
    (picture,) = list_pictures(folder_with(tmp_path, "masks", quarters(0, 0)))
    assert picture.labelled(8, 12) is None


def test_every_number_of_a_region_map_is_a_region(tmp_path: Path) -> None:
    (picture,) = list_pictures(folder_with(tmp_path, "regions", quarters(3, 7)))
    regions = picture.labelled(8, 12)
    assert isinstance(regions, LabelRegions)
    assert regions.objects == (0, 3, 7)
    assert regions.merge > 0


def test_of_ids_only_the_things_of_the_table_are_objects(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "ids", quarters(3, 7))
    (folder / "segments.csv").write_text("name,id,isthing,iscrowd\na,3,1,0\na,7,0,0\na,9,1,1\n")
    truth, _ = drawn(folder)
    assert np.array_equal(truth, quarters(1, 0) == 1)
    (folder / "segments.csv").write_text("name,id,isthing,iscrowd\nother,3,1,0\n")
    (picture,) = list_pictures(folder)
    assert picture.objects is None


def test_merging_joins_a_neighbour() -> None:
    labels = np.array([[1, 1, 2, 2]] * 4, dtype=np.int32)
    truth, _ = LabelRegions(labels, (1,), merge=1.0).draw(np.random.default_rng(0))
    assert truth.all()


def test_excluded_images_are_left_out_by_the_end_of_their_path(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "set" / "images" / f"{name}.png", np.zeros((4, 4, 3)))
    left = list_pictures(tmp_path / "set", ["set/images/a.png", "other/images/b.png"])
    assert [picture.name for picture in left] == ["b"]


def test_images_are_labelled_by_their_stem_and_others_are_ignored(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.jpg", np.zeros((4, 4, 3)))
    write(tmp_path / "images" / "b.png", np.zeros((4, 4, 3)))
    write(tmp_path / "masks" / "b.png", np.ones((4, 4)))
    (tmp_path / "images" / "notes.txt").write_text("no image")
    assert [(p.name, p.masks is not None) for p in list_pictures(tmp_path)] == [("a", False), ("b", True)]


def test_a_folder_without_images_inside_is_taken_as_images(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((4, 4, 3)))
    assert [picture.name for picture in list_pictures(tmp_path)] == ["a"]


def test_large_photographs_are_shrunk_and_labels_follow(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", np.zeros((64, 2 * LONGEST, 3)))
    (picture,) = list_pictures(tmp_path)
    assert picture.load().shape == (32, LONGEST, 3)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no folder"):
        list_pictures(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    with pytest.raises(BadInput, match="holds no images"):
        list_pictures(tmp_path)
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    (picture,) = list_pictures(tmp_path)
    with pytest.raises(BadInput, match=r"a\.png cannot be read as an image"):
        picture.load()


def test_label_images_with_colours_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", np.zeros((4, 4, 3)))
    write(tmp_path / "masks" / "a.png", np.zeros((4, 4, 3)))
    (picture,) = list_pictures(tmp_path)
    with pytest.raises(BadInput, match="expected one channel"):
        picture.labelled(4, 4)


def test_nodes_of_a_tree_come_at_the_size_of_the_photograph() -> None:
    features = np.zeros((4, 4, 1), dtype=np.float32)
    features[:, 2:] = 1.0
    regions = TreeRegions(build_tree(features), 32, 40)
    halves = {regions.region(int(node)).tobytes() for node in regions.tree.children[-1]}
    left = np.zeros((32, 40), dtype=bool)
    left[:, :20] = True
    assert halves == {left.tobytes(), (~left).tobytes()}


def test_pixels_near_the_border_of_a_node_do_not_count() -> None:
    two_cells = TreeRegions(build_tree(np.array([[[0.0], [1.0]]], dtype=np.float32)), 32, 40)
    truth, valid = two_cells.draw(np.random.default_rng(0))
    assert truth.shape == valid.shape == (32, 40)
    assert truth[:, :20].all() != truth[:, 20:].all()
    assert not valid[:, 14:26].any()  # a cell is 20 pixels wide, and the border lies at 20
    assert valid[:, :12].all()
    assert valid[:, 28:].all()


def test_unlabelled_pixels_and_crowds_do_not_count(tmp_path: Path) -> None:
    ids = np.zeros((10, 10), dtype=np.uint8)
    ids[:5, :5], ids[:5, 5:], ids[5:, :5] = 1, 2, 3
    write(tmp_path / "images" / "a.png", np.zeros((10, 10, 3)))
    write(tmp_path / "ids" / "a.png", ids)
    (tmp_path / "segments.csv").write_text("name,id,isthing,iscrowd\na,1,1,0\na,2,1,1\na,3,0,0\n")
    (picture,) = list_pictures(tmp_path)
    regions = picture.labelled(10, 10)
    assert regions is not None
    truth, valid = regions.draw(np.random.default_rng(0))
    assert np.array_equal(truth, ids == 1)
    assert np.array_equal(valid, (ids == 1) | (ids == 3))


def test_larger_regions_are_asked_for_more_often(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[:, 18:] = 1
    write(tmp_path / "images" / "a.png", np.zeros((20, 20, 3)))
    write(tmp_path / "regions" / "a.png", labels)
    (picture,) = list_pictures(tmp_path)
    regions = picture.labelled(20, 20)
    assert isinstance(regions, LabelRegions)
    assert regions.chances == pytest.approx((0.75, 0.25))  # roots of 0.9 and 0.1


@pytest.mark.parametrize("table", ["name,isthing\na,1\n", "name,id\na,x\n", "id\n3\n"])
def test_a_table_without_names_or_numbers_is_refused_by_its_line(tmp_path: Path, table: str) -> None:
    write(tmp_path / "images" / "a.png", np.zeros((4, 4, 3)))
    (tmp_path / "segments.csv").write_text(table)
    with pytest.raises(BadInput, match=r"segments\.csv, line 2: .*expected the columns name and id"):
        list_pictures(tmp_path)


def test_a_mask_of_another_photograph_is_not_stretched(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", np.zeros((40, 60, 3)))
    write(tmp_path / "masks" / "a.png", np.ones((60, 40)))
    (picture,) = list_pictures(tmp_path)
    with pytest.raises(BadInput, match=r"a\.png is 40x60 .* ratio 60:40"):
        picture.labelled(40, 60)
    write(tmp_path / "masks" / "a.png", np.ones((20, 30)))
    assert picture.labelled(40, 60) is not None, "half the size of the same view is fine"
