from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo.errors import BadInput
from model_zoo.evaluation.samples import Sample, check_samples, read_samples

pytestmark = pytest.mark.unit

ORIENTATION = 0x0112


def write(folder: Path, mask: np.ndarray | None = None, lines: str = "one,a.png,m.png\n") -> Path:
    """A csv file with an image of 6 columns and 4 rows, and a mask."""
    image = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(image).save(folder / "a.png")
    if mask is None:
        mask = np.zeros((4, 6), dtype=np.uint8)
        mask[1, 2], mask[0, 0] = 1, 255
    Image.fromarray(mask).save(folder / "m.png")
    path = folder / "samples.csv"
    path.write_text("name,image,mask\n" + lines)
    return path


def test_files_are_relative_to_the_csv_and_further_columns_are_allowed(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "samples.csv"
    (tmp_path / "pictures").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "pictures" / "a.png")
    path.write_text(
        "\ufeffpixels,mask,name,image\n3,m.png,first,pictures/a.png\n4,m.png,second,pictures/a.png\n"
    )
    samples = read_samples(path)
    assert [sample.name for sample in samples] == ["first", "second"]
    assert samples[0] == Sample("first", tmp_path / "pictures" / "a.png", tmp_path / "m.png")


def test_image_and_truth_of_a_sample(tmp_path: Path) -> None:
    image, truth = read_samples(write(tmp_path))[0].load()
    assert image.shape == (4, 6, 3)
    assert image[0, 1].tolist() == [3, 4, 5]
    assert truth.dtype == np.uint8
    assert (truth[1, 2], truth[0, 0], truth[3, 3]) == (1, 255, 0)


def test_the_image_is_turned_upright_and_the_mask_fits_the_upright_one(tmp_path: Path) -> None:
    upright = np.zeros((6, 4), dtype=np.uint8)
    upright[5, 0] = 1
    path = write(tmp_path, upright, "one,a.jpg,m.png\n")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.open(tmp_path / "a.png").save(tmp_path / "a.jpg", exif=exif)
    image, truth = read_samples(path)[0].load()
    assert image.shape == (6, 4, 3)
    assert truth[5, 0] == 1


def test_palette_masks_and_masks_of_one_bit_are_read_by_index(tmp_path: Path) -> None:
    path = write(tmp_path)
    indices = np.zeros((4, 6), dtype=np.uint8)
    indices[2, 3] = 1
    palette = Image.fromarray(indices, mode=None).convert("P")
    palette.putdata(indices.ravel().tolist())
    palette.putpalette([0, 0, 0, 200, 10, 10])
    palette.save(tmp_path / "m.png")
    assert np.argwhere(read_samples(path)[0].load()[1] == 1).tolist() == [[2, 3]]
    Image.fromarray(indices.astype(bool)).save(tmp_path / "m.png")
    assert np.argwhere(read_samples(path)[0].load()[1] == 1).tolist() == [[2, 3]]


def test_a_grey_image_becomes_rgb(tmp_path: Path) -> None:
    path = write(tmp_path)
    Image.fromarray(np.full((4, 6), 7, dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_samples(path)[0].load()[0].tolist() == np.full((4, 6, 3), 7).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,image\n1,a.png\n", "columns name, image; mask missing"),
        ("", r"columns \(none\); name and image and mask missing"),
        ("name,image,mask\n", "lists no sample"),
        ("name,image,mask\none,,m.png\n", "line 2: image is empty"),
        ("name,image,mask\none,a.png\n", "line 2: mask is empty"),
        ("name,image,mask\none,a.png,m.png\ntwo,b.png,m.png\n", r"line 3: there is no image .*b\.png"),
        ("name,image,mask\none,a.png,n.png\n", r"line 2: there is no mask .*n\.png"),
        ("name,image,mask\n\xff", "cannot be read as csv in UTF-8"),
    ],
)
def test_malformed_lists(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=message):
        read_samples(path)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.csv is no file; expected a csv file with columns name"):
        read_samples(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((6, 4), np.uint8), r"mask .*m\.png is 4x6 and the upright image 6x4"),
        (np.full((4, 6), 128, np.uint8), r"mask .*m\.png has values 128; expected only 0"),
        (
            np.array([[0, 128] * 3] * 4, np.uint8),
            r"1 \(object\) and 255 \(ignored\), or 0 and 255 \(object\)",
        ),
        (np.arange(24, dtype=np.uint8).reshape(4, 6), r"has values 2, 3, 4, 5, 6, \.\.\.;"),
        (np.zeros((4, 6), np.uint8), "has no object pixel"),
        (np.full((4, 6), 255, np.uint8), "has no object pixel"),
        (np.ones((4, 6, 3), np.uint8), "has 3 channels; expected one"),
    ],
)
def test_malformed_masks(tmp_path: Path, mask: np.ndarray, message: str) -> None:
    sample = read_samples(write(tmp_path, mask))[0]
    with pytest.raises(BadInput, match=message) as caught:
        sample.load()
    assert "'one'" in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "m.png"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    sample = read_samples(write(tmp_path))[0]
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match=rf"sample 'one': .*{name} cannot be read"):
        sample.load()


def test_a_mask_of_0_and_255_alone_has_its_object_at_255(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), dtype=np.uint8)
    mask[1:3, 2] = 255
    _, truth = read_samples(write(tmp_path, mask))[0].load()
    assert truth.dtype == np.uint8
    assert np.array_equal(truth, mask // 255)


def test_a_broken_last_sample_is_found_before_the_first_is_measured(tmp_path: Path) -> None:
    path = write(tmp_path, lines="one,a.png,m.png\ntwo,a.png,m.png\nlast,a.png,n.png\n")
    (tmp_path / "n.png").write_bytes((tmp_path / "m.png").read_bytes()[:50])
    samples = read_samples(path)
    checked: list[int] = []
    with pytest.raises(BadInput, match=r"sample 'last': mask .*n\.png cannot be read"):
        check_samples(samples, lambda: checked.append(1))
    assert len(checked) == 2
    check_samples(samples[:2])
