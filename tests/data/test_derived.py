"""Labels that are derived from others: read from any source, cropped, turned with the camera, scored."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.config import AugmentConfig, Config
from mtl_tf.data import augment as augmentation
from mtl_tf.data import descriptors
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, open_split, open_training
from mtl_tf.errors import UsageError
from mtl_tf.surfaces import Intrinsics, normals_of_depth
from mtl_tf.tasks import DepthLabels, NormalLabels
from tests.helpers import write_dataset

CAMERA = (60.0, 60.0, 24.0, 16.0, 48, 32)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Classes and depth in files; normals that are derived from depth."""
    folder = write_dataset(tmp_path_factory.mktemp("derived") / "data", {"train": 4, "val": 2})
    file = folder / "dataset.json"
    content = json.loads(file.read_text())
    content["tasks"] = {"normals": {"kind": "normals", "source": "depth", "intrinsics": list(CAMERA)}}
    file.write_text(json.dumps(content))
    return folder


def config_of(root, *tasks, **options):
    ours = dict(data__name="folder", data__root=str(root), train__batch_size=2, tasks=tasks)
    return configuration.replace(Config(), **(ours | options))


def edges_of(classes, ignore=255):
    """The definition: another class to the right, below, or both; no label beside what has no class."""
    found = np.zeros(classes.shape, np.uint8)
    height, width = classes.shape
    for row, column in np.ndindex(classes.shape):
        near = classes[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        if (near == ignore).any():
            found[row, column] = 255
            continue
        others = [(row, column + 1), (row + 1, column), (row + 1, column + 1)]
        others = [(min(r, height - 1), min(c, width - 1)) for r, c in others]
        found[row, column] = any(classes[other] != classes[row, column] for other in others)
    return found


def test_nothing_is_derived_where_nobody_asks(root):
    descriptor = describe(config_of(root).data)
    assert descriptor.chosen(()) == ("semseg", "depth") and descriptor.task_names == ("semseg", "depth")
    source = open_split(config_of(root), "train")
    assert source.tasks == source.reads == ("semseg", "depth")


def test_a_task_that_is_derived_may_be_preferred(root):
    balanced = dict(balance__aggregator="cagrad", balance__preference="semseg:1,edges:2")
    config = config_of(root, "semseg", "edges", **balanced)
    assert describe(config.data).tasks(config)
    assert open_split(config, "train").reads == ("semseg",)
    with pytest.raises(UsageError, match="has no number for depth"):
        describe(config.data).tasks(configuration.replace(config, tasks=("semseg", "edges", "depth")))


def test_edges_alone_are_those_of_the_classes(root):
    config = config_of(root, "edges")
    source = open_split(config, "val")
    assert (source.tasks, source.reads, source.labelled) == (("edges",), ("semseg",), {"edges": 2})
    classes = source.read(1)["semseg"]
    (batch,) = list(EvaluationData(source, config, describe(config.data)).dataset(2).as_numpy_iterator())
    assert set(batch) == {"image", "edges", "index"}
    np.testing.assert_array_equal(batch["edges"][1], edges_of(classes))
    assert set(np.unique(batch["edges"])) == {0, 1, 255}


def test_normals_are_those_of_the_whole_depth_map_also_in_a_crop(root):
    config = config_of(root, "normals", data__crop_size=(16, 24))
    descriptor, source = describe(config.data), open_training(config, describe(config.data))
    depth = open_split(config_of(root, "depth"), "train").read(2)["depth"]
    whole = normals_of_depth(depth, Intrinsics(*CAMERA[:4], (32, 48)))
    np.testing.assert_array_equal(source.read(2)["normals"], whole)
    assert whole.any(-1).mean() > 0.5
    seen = 0
    for batch in TrainingData(source, config, descriptor).dataset().take(6).as_numpy_iterator():
        for index, crop in zip(batch["index"], batch["normals"], strict=True):
            if index == 2:
                windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 24, 3))[..., 0, :, :, :]
                seen += (windows == crop).all((-1, -2, -3)).any()
    assert seen


def test_classes_may_come_beside_what_is_derived_of_them(root):
    config = config_of(root, "semseg", "edges", "normals")
    descriptor = describe(config.data)
    (first, *_) = TrainingData(open_training(config, descriptor), config, descriptor).dataset().as_numpy_iterator()
    assert set(first) == {"image", "semseg", "edges", "normals", "index"}
    for classes, edges in zip(first["semseg"], first["edges"], strict=True):
        np.testing.assert_array_equal(edges, edges_of(classes))


def test_a_share_of_the_samples_and_a_mix_have_them_too(root, tmp_path):
    shared = config_of(root, "edges", "normals", data__val_share=0.5)
    kept, held_out = (open_split(shared, split) for split in ("train", "val"))
    assert kept.labelled == held_out.labelled == {"edges": 2, "normals": 2}
    other = write_dataset(tmp_path / "other", {"train": 3, "val": 2}, seed=1)
    mix = dict(data__mix_names=("folder",), data__mix_roots=(str(other),))
    config = config_of(root, "edges", "normals", **mix)
    descriptor = describe(config.data)
    source = open_training(config, descriptor)
    # The other data set says nothing of a camera.
    assert source.labelled == {"edges": 7, "normals": 4} and not source.read(5)["normals"].any()
    assert source.read(1)["normals"].any()
    batch = next(TrainingData(source, config, descriptor).dataset().as_numpy_iterator())
    assert set(batch) == {"image", "edges", "normals", "index"} and (batch["edges"] == 1).any((1, 2)).all()


def test_a_sample_without_the_label_that_it_is_derived_of_has_none(root, tmp_path):
    folder = write_dataset(tmp_path / "partial", {"train": 2})
    (folder / "train/semseg/1.png").unlink()
    config = config_of(folder, "edges")
    source = open_split(config, "train")
    assert source.labelled == {"edges": 1} and not source.has("edges", 1)
    found = EvaluationData(source, config, describe(config.data)).single(1)
    assert (found["edges"] == 255).all()


# === Names ===


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (("edgs",), r"has no edgs labels; did you mean edges\? use --tasks=semseg,depth"),
        (("instances",), r'has no instances labels; use --tasks=semseg,depth.*describe them under "tasks"'),
        (("semseg", "normals"), r'has no normals labels; use .*under "tasks"'),
    ],
)
def test_a_task_that_there_is_not(tmp_path, tasks, message):
    folder = write_dataset(tmp_path / "data", {"train": 2})
    with pytest.raises(UsageError, match=message):
        describe(config_of(folder).data).tasks(config_of(folder, *tasks))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(task__normals__loss="l1_pixels"), "task.normals has options, but no task of kind normals is trained"),
        (
            dict(loss__weights="edges:1"),
            "loss.weights=edges:1 is of no task that is trained; the tasks are semseg",
        ),
        (dict(loss__weights="semseg:0,depth:0"), "loss.weights is 0 for all that is trained; the tasks are semseg"),
        (dict(augment__wiggle=0.1, tasks=("normals",)), None),
    ],
)
def test_options_of_what_is_not_trained(root, options, message):
    config = config_of(root, **options) if "tasks" not in options else config_of(root, *options.pop("tasks"), **options)
    if message is None:
        assert describe(config.data).tasks(config)[0].kind == "normals"
        return
    with pytest.raises(UsageError, match=message):
        describe(config.data).tasks(config)


def test_directions_without_a_camera_cannot_be_turned(tmp_path):
    descriptor = descriptors.Descriptor("mine", {"normals": NormalLabels(axes="right,up,to_camera")})
    config = configuration.replace(Config(), augment__wiggle=0.1)
    with pytest.raises(UsageError, match=r'augment.wiggle=0.1 turns the normals of mine by its camera.*"intrinsics"'):
        descriptor.tasks(config)


# === The camera of a crop ===


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize(
    ("options", "within"),
    [(dict(tilt=40.0), 1.5), (dict(scale_min=0.7, scale_max=0.7, tilt=25.0), 1.5), (dict(wiggle=0.15, tilt=20.0), 8.0)],
)
def test_normals_of_a_crop_are_those_of_its_depth(options, within, reflect):
    """A plane's depth, cropped, is that of the plane as the camera of the crop sees it: its normals say the same."""
    size, focal = (120, 160), 150.0
    camera = Intrinsics(focal, focal, 79.5, 59.5, size)
    columns, rows = np.meshgrid(np.arange(160) - 79.5, np.arange(120) - 59.5)
    depth = 1 / (0.2 + 0.0006 * columns - 0.0009 * rows)
    normals = normals_of_depth(depth, camera)
    tasks = {
        "depth": DepthLabels("uint16_scaled", minimum=0.1, maximum=1000.0),
        "normals": NormalLabels(source="depth", intrinsics=(focal, focal, 79.5, 59.5, 160, 120)),
    }
    sample = {
        "image": np.zeros((*size, 3), np.uint8),
        "depth": depth.astype(np.float32),
        "normals": np.broadcast_to(normals[60, 80], normals.shape),
    }
    config = AugmentConfig(reflect=reflect, **options)
    mirrored = set()
    for seed in range(6):
        draws = augmentation.draw((seed, 1))[:13]
        scale, quad = augmentation.source_quad(draws, config, tf.constant([80, 100]), tf.constant(size))
        mirrored.add(bool(reflect and draws[12] < 0.5))
        found = {k: v.numpy() for k, v in augmentation.augment(sample, (seed, 1), config, (80, 100), tasks).items()}
        inside = found["normals"].any(-1) & (found["depth"] > 0)
        # The camera of the crop: where the axis of the picture's camera falls, and its focal length.
        across, down = (quad[1] - quad[0]).numpy() / 100, (quad[3] - quad[0]).numpy() / 80
        centre = np.linalg.lstsq(np.stack([across, down], 1), np.array([80, 60]) - quad[0].numpy(), rcond=None)[0] - 0.5
        of_crop = Intrinsics(focal / float(scale), focal / float(scale), *centre, (80, 100))
        # The nearest pixel's depth has steps, through which planes are fitted: good to a degree.
        expected = normals_of_depth(found["depth"], of_crop, radius=8, spacing=1, band=1.0)
        both = inside & expected.any(-1)
        both[:9] = both[-9:] = both[:, :9] = both[:, -9:] = False
        assert both.sum() > 500
        angles = np.degrees(np.arccos(np.clip((found["normals"] * expected).sum(-1)[both], -1, 1)))
        assert np.median(angles) < within, (seed, np.median(angles))
    assert mirrored == ({False, True} if reflect else {False})
