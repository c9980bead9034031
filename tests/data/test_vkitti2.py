"""Virtual KITTI 2 as it is downloaded: golden classes and metres, splits by scene, variations and cameras."""

import shutil

import numpy as np
import pytest

from mtl_tf.data.sets import splits_of
from tests.data.official import configured, opened, pixels, refusal, save, write_vkitti2


@pytest.fixture
def root(tmp_path):
    return tmp_path / "vkitti"


@pytest.fixture
def options(root):
    return write_vkitti2(root)


def test_samples_classes_and_metres(options):
    source = opened(options)
    assert source.ids == ["Scene01_clone_Camera_0_00000", "Scene01_clone_Camera_0_00001"]
    assert source.labelled == {"semseg": 2, "depth": 2}
    sample = source.read(1)
    assert sample["image"].shape == (4, 6, 3)
    # road, sky, van, undefined, terrain; the others misc
    assert sample["semseg"].ravel().tolist() == [5, 1, 13, 255, 0] + [10] * 19
    # 0.99 m is too near, 655.35 m is the sky
    np.testing.assert_allclose(sample["depth"].ravel(), [0, 0, 1.0, 25.5, 300.0, 0] + [0] * 18, rtol=1e-6)


def test_splits(options, root):
    assert opened(options, "val").ids == [f"Scene18_clone_Camera_0_0000{frame}" for frame in (0, 1)]
    assert opened(options, "val_fog").ids == [f"Scene18_fog_Camera_0_0000{frame}" for frame in (0, 1)]
    everything = opened(options, "train_all")
    assert len(everything) == 2 * 2 * 2 and len(set(everything.ids)) == 8
    assert everything.read(7)["semseg"].max() == 255
    assert splits_of(configured(options).data) == ["train", "val"]
    shutil.rmtree(root / "Scene01/fog")
    assert "train_NAME and val_NAME of the variations" in refusal(options, "test")
    assert "has no split 'train_snow'" in refusal(options, "train_snow")
    message = refusal(options, "train_fog")
    assert "no pictures of split 'train_fog'" in message and "vkitti_2.0.3_rgb.tar" in message
    shutil.rmtree(root / "Scene18")
    assert splits_of(configured(options).data) == ["train"]


def test_archives_side_by_side(tmp_path):
    archives = [f"vkitti_2.0.3_{name}" for name in ("rgb", "depth", "classSegmentation", "instanceSegmentation")]
    options = write_vkitti2(tmp_path / "all", archives=archives)
    source = opened(options)
    assert source.labelled == {"semseg": 2, "depth": 2}
    assert source.read(0)["depth"].max() == 300
    shutil.rmtree(tmp_path / "all/vkitti_2.0.3_depth")
    source = opened(options)
    assert source.labelled == {"semseg": 2, "depth": 0}
    assert source.where["depth"] == f"unpack vkitti_2.0.3_depth.tar into {tmp_path}/all"


def test_colours_of_the_text_archive(options, root):
    path = root / "Scene01/clone/colors.txt"
    path.write_text(
        "Category r g b\nRoad 90 200 255\nSky 100 60 100\nMisc 80 80 80\nVan 0 139 139\nTerrain 210 0 200\n"
    )
    assert opened(options).read(0)["semseg"].ravel()[:5].tolist() == [1, 5, 13, 255, 0]
    assert opened(options, "val").read(0)["semseg"].ravel()[:2].tolist() == [5, 1]
    for content, expected in (
        ("Category r g b\nTram 1 2 3\n", "Tram is no class of Virtual KITTI 2"),
        ("Category r g b\nRoad 1 2\n", "line 2 should be a name and three numbers 0..255; it is 'Road 1 2'"),
        ("Category r g b\nRoad 1 2 300\n", "line 2 should be"),
        ("", "no colours in it"),
    ):
        path.write_text(content)
        assert refusal(options).startswith(f"{path}: ") and expected in refusal(options)


def test_a_colour_that_is_no_class_is_named(options, root):
    path = root / "Scene01/clone/frames/classSegmentation/Camera_0/classgt_00000.png"
    save(path, pixels([(1, 2, 3), (255, 255, 255)], np.uint8, 80))
    assert refusal(options, index=0) == (
        f"{path}: RGB colour 1,2,3 or 255,255,255 (2 pixels, first at row 0, column 0) is no class; expected the class "
        "colours of Virtual KITTI 2 (colors.txt)"
    )


@pytest.mark.parametrize("below", ["Scene01", "Scene01/clone", "Scene01/clone/frames/rgb/Camera_0"])
def test_a_root_too_low(options, root, below):
    assert refusal(options, data__root=str(root / below)).endswith(f"did you mean --data.root={root}?")


def test_what_is_not_there(options, tmp_path, root):
    shutil.rmtree(root)
    empty = tmp_path / "other/empty"
    empty.mkdir(parents=True)
    assert "unpack vkitti_2.0.3_rgb.tar there" in refusal(options, data__root=str(empty))
