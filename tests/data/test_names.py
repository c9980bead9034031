"""Names of samples: any that a file system takes, in any script, spelt in either of Unicode's two ways."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data.fingerprint import fingerprint
from mtl_tf.data.samples import natural_order
from mtl_tf.data.sets import open_split
from tests.helpers import write_dataset

NAMES = (
    "x\N{SUPERSCRIPT TWO}",
    "\N{CIRCLED DIGIT ONE}",
    "\N{ARABIC-INDIC DIGIT FOUR}\N{ARABIC-INDIC DIGIT TWO}",
    "\N{ROMAN NUMERAL FOUR}",
    "\N{VULGAR FRACTION ONE HALF}",
    "\N{CJK UNIFIED IDEOGRAPH-4E09}",
    os.fsdecode(b"not \xff UTF-8"),
    " spaces ",
    "-dash",
    "[a] * ? ! $HOME ~ ; # ' \" % = , & | <b> {} ()",
    "two\nlines\tand a tab",
    "l" * 251,
)


@pytest.fixture(params=NAMES, ids=range(len(NAMES)))
def named(request, tmp_path):
    """A data set with one sample of that name; the name."""
    root = write_dataset(tmp_path / "data", {"train": 1, "val": 1})
    for file in root.glob("train/*/0.png"):
        file.rename(file.with_name(f"{request.param}.png"))
    return root, request.param


def test_any_name_is_read(named):
    root, name = named
    source = open_split(replace(Config(), data__name="folder", data__root=str(root)), "train")
    assert source.ids == [name]
    assert source.labelled == {"semseg": 1, "depth": 1}
    assert source.read(0)["image"].shape == (32, 48, 3)
    assert fingerprint(source)["samples"] == 1


def test_numbers_of_every_script_are_ordered_and_other_signs_are_text():
    arabic = "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT ZERO}"
    assert sorted(["b", arabic, "a\N{SUPERSCRIPT TWO}", "9"], key=natural_order)[:2] == ["9", arabic]
    assert natural_order("9" * 5000)


# === Composed and decomposed ===


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((32, 48), np.uint8 if path.parent.name != "depth" else np.uint16)).save(path)


@pytest.mark.parametrize("of_images", ["NFC", "NFD"])
def test_composed_and_decomposed_names_belong_together(tmp_path, of_images):
    root = write_dataset(tmp_path / "data", {"train": 1, "val": 1})
    name = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    own, other = (unicodedata.normalize(form, name) for form in (of_images, {"NFC": "NFD", "NFD": "NFC"}[of_images]))
    save(root / "train/rgb" / f"{own}.png")
    save(root / "train/semseg" / f"{other}.png")
    config = replace(Config(), data__name="folder", data__root=str(root), tasks=("semseg",))
    source = open_split(config, "train")
    assert source.ids == ["0", own]  # as the image is called
    assert source.labelled == {"semseg": 2}
    assert source.path(1).endswith(f"{own}.png") and source.read(1)["semseg"].max() == 0

    # Where a label has the very name, it is the one; the other is named as one without an image.
    save(root / "train/semseg" / f"{own}.png")
    source = open_split(config, "train")
    assert source.labelled == {"semseg": 2}
    assert [name for name, _ in source.faults()] == sorted(["0", own, other], key=natural_order)


def test_a_split_is_found_by_either_spelling(tmp_path):
    name = unicodedata.normalize("NFD", "\N{LATIN SMALL LETTER U WITH DIAERESIS}bung")
    root = write_dataset(tmp_path / "data", {"train": 1, name: 1})
    config = replace(Config(), data__name="folder", data__root=str(root))
    assert open_split(config, unicodedata.normalize("NFC", name)).ids == ["0"]
