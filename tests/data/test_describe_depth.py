"""tools/describe_dataset.py on depth: what files show is described, what only their user knows is asked."""

import json

import numpy as np

from tests.data.test_stored_depth import METRES, passes, read, run, save_png, write, write_masks


def described(root, *options, status=0):
    """The section of depth that the tool writes without questions, and what it says."""
    said = run("describe_dataset", root, "--noask", *options, name="", status=status)
    return None if status else json.loads((root / "dataset.json").read_text())["depth"], said


def test_numbers_are_described(tmp_path):
    metres = write(tmp_path / "metres", ".pfm", [METRES, METRES])
    found, said = described(metres)
    assert found == {"encoding": "numbers", "scale": 1.0, "invalid": [65535], "minimum": 0.1, "maximum": 20.0}
    assert "depth in 2 files: float32 in .pfm, 0.5 to 65535; of all pixels 22% 0 or negative, 22% NaN or" in said
    assert "warning: depth of 65535 is no measurement, since the next value is 11; --invalid=0 makes it depth" in said
    assert described(metres, "--replace", "--maximum=9")[0] == found | {"maximum": 9.0}
    whole = write(tmp_path / "whole", ".npy", [np.arange(9, dtype=np.uint16).reshape(3, 3) * 500])
    assert described(whole)[0] == {"encoding": "numbers", "scale": 0.001, "minimum": 0.1, "maximum": 5.0}


def test_what_only_its_user_knows_is_asked(tmp_path):
    far = write(tmp_path / "far", ".npy", [np.full((3, 3), 2500.0)])
    assert "Give --unit=METRES (1 = metres, 0.001 = millimetres)" in described(far, status=2)[1]
    assert described(far, "--unit=0.001")[0]["scale"] == 0.001
    both = write(tmp_path / "both", ".npz", [METRES], lambda path, depth: np.savez(path, z=depth, d=depth + 3))
    said = described(both, status=2)[1]
    assert (
        "0.npz: expected depth in one array, got z float32 (3, 3), d float32" in said
        and "name: --depth_key=NAME" in said
    )
    assert described(both, "--depth_key=z")[0]["key"] == "z"
    assert described(both, "--replace")[0]["key"] == "z"
    wrong = ("--replace", "--depth_encoding=uint16_scaled")
    assert "the files hold numbers; one of numbers" in described(both, *wrong, status=2)[1]


def test_rotated_bits_are_asked(tmp_path):
    stored = np.arange(900, 900 + 9 * 40, dtype=np.uint16).reshape(-1, 3, 3) * 8
    root = write(tmp_path, ".png", list(stored), save_png)
    assert "Give --depth_encoding=uint16_scaled|uint16_rotated" in described(root, status=2)[1]
    found = described(root, "--depth_encoding=uint16_rotated")[0]
    assert found == {"encoding": "uint16_rotated", "scale": 0.001, "minimum": 0.1, "maximum": 2.0}
    assert described(root, "--replace")[0] == found
    np.testing.assert_array_equal(read(root)[0].ravel(), np.float32(np.arange(900, 909) / 1000))
    plain = write(tmp_path / "plain", ".png", [stored[0]], save_png)  # nine values may be anything
    assert described(plain)[0]["encoding"] == "uint16_scaled"


def test_disparity_is_described_by_its_camera(tmp_path):
    stored = np.array([[10, 20, np.inf], [0, 0, 0], [100, 50, 25]], np.float32)
    root = write(tmp_path / "floats", ".pfm", [stored])
    told = ("--depth_encoding=disparity", "--baseline=0.5")
    assert "Give --fx=PIXELS" in described(root, *told, status=2)[1]
    found, said = described(root, *told, "--fx=100")
    assert found == {
        "encoding": "disparity",
        "scale": 1.0,
        "baseline": 0.5,
        "fx": 100.0,
        "minimum": 0.1,
        "maximum": 5.0,
    }
    assert "depth: 0.5 m x 100 pixels / (value x 1); 0, what is negative, infinite or NaN = not measured" in said
    assert described(root, "--replace")[0] == found
    np.testing.assert_array_equal(read(root)[0], [[5, 2.5, 0], [0, 0, 0], [0.5, 1, 2]])
    codes = write(tmp_path / "codes", ".png", [np.nan_to_num(stored * 256, posinf=0).astype(np.uint16)], save_png)
    assert "Give --unit=PIXELS, as 0.00390625 for 1/256" in described(codes, *told, "--fx=100", status=2)[1]
    found = described(codes, *told, "--fx=100", f"--unit={1 / 256}", f"--offset={-1 / 256}")[0]
    assert (found["scale"], found["offset"]) == (1 / 256, -1 / 256) and found["maximum"] == 10


def test_masks_are_proposed(tmp_path):
    root = write_masks(write(tmp_path, ".npy", [METRES, METRES]))
    found, said = described(root)
    assert found["mask"] == "_mask.npy" and "passed over" not in said
    assert "warning: NAME_mask.npy is taken for a mask of depth, 0 where nothing was measured; --mask=none" in said
    np.testing.assert_array_equal(read(root)[0], [[0.5, 0, 3.25], [0, 0, 0], [0, 0, 11]])
    assert described(root, "--replace")[0] == found
    assert "mask" not in described(root, "--replace", "--mask=none")[0]


def test_metres_in_numpy_files_stay_what_they_are(tmp_path):
    root = write(tmp_path, ".npy", [METRES], encoding="npy", mean=2.0, std=1.0, log_mean=0.5, log_std=0.5)
    before = json.loads((root / "dataset.json").read_text())["depth"]
    assert described(root, "--replace")[0] == before
    assert described(root, "--replace", "--maximum=5")[0] == {"encoding": "npy", "minimum": 0.25, "maximum": 5.0}


def test_names_and_masks_of_diode(tmp_path):
    root = write_masks(write(tmp_path / "diode", ".npy", [METRES[..., None]] * 2))
    for path in sorted((root / "train/depth").iterdir()):
        path.rename(path.with_name(f"{path.stem[0]}_depth{path.name[1:]}"))
    found, said = described(root)
    assert found["mask"] == "_mask.npy" and "passed over" not in said
    assert json.loads((root / "dataset.json").read_text())["file_names"] == {"depth": "*_depth"}
    np.testing.assert_array_equal(read(root)[0], [[0.5, 0, 3.25], [0, 0, 0], [0, 0, 11]])
    passes(root, tmp_path)
