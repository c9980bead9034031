"""The options of tools/describe_dataset.py, each of which answers one of its questions."""

import dataclasses

from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    ask: bool = option(True, "Ask; without, every answer that no option gives is the guess.")
    replace: bool = option(False, "Replace a dataset.json that is there.")
    name: str = option("", "Name of the data set.")
    splits: tuple[str, ...] = option((), "Splits that every copy of the data set should have.")
    classes: tuple[str, ...] = option(
        (),
        "Names of the classes in the order of their values or colours, or a text file with one a line, which may have "
        "a colour: road 128 64 128. The name ignore stands for no class.",
    )
    ignore: int = option(-1, "Label value of pixels without a class; -1 = as found.", minimum=-1, maximum=65535)
    semseg_encoding: str = option(
        "",
        "What means a class: the number of a pixel or its colour; empty = as found.",
        choices=("", "index", "colour"),
    )
    semseg_key: str = option("", "The name of the array in label files (.npz, .mat) that hold several.")
    foreground: str = option(
        "", "In masks of two values, such as 0 and 255: what the larger means.", choices=("", "class", "ignore")
    )
    depth_encoding: str = option(
        "",
        "How depth is stored: uint16_scaled, uint8_scaled and numbers (in arrays and floating-point pictures) = value "
        "times --unit, inverse_uint8 = 255 the nearest, uint16_rotated = the bits as in SUN RGB-D, disparity = by "
        "--baseline and --fx.",
        choices=("", "uint16_scaled", "uint16_rotated", "uint8_scaled", "inverse_uint8", "numbers", "disparity"),
    )
    baseline: float = option(0.0, "Of disparity: distance of the two cameras, metres.", minimum=0.0)
    fx: float = option(0.0, "Of disparity: focal length, pixels of the stored files.", minimum=0.0)
    offset: float = option(0.0, "Of disparity: pixels that are added to value times --unit.")
    mask: str = option(
        "",
        "End of the names of masks beside depth, 0 where nothing was measured: _mask.npy; none = there are none; empty "
        "= as found.",
    )
    depth_key: str = option("", "Name of the array of depth in files of several, or of the channel of EXR pictures.")
    unit: float = option(0.0, "Metres (of disparity pixels) a unit of stored depth; 0 = as found.", minimum=0.0)
    invalid: tuple[float, ...] = option(
        (), "Stored values of depth that mean no measurement, 0 always; empty = as found.", minimum=-1e38
    )
    minimum: float = option(0.0, "Smallest valid depth, metres; 0 = as found.", minimum=0.0)
    maximum: float = option(0.0, "Largest valid depth, metres; 0 = as found.", minimum=0.0)
    others: str = option(
        "",
        "Folders that are called like another kind of task, as normals, and whose files fit it: yes = describe them, "
        "no = leave them out; empty = ask, and leave them out where nothing is asked.",
        choices=("", "yes", "no"),
    )
    axes: str = option("", "What x, y and z of stored normals are, such as right,up,to_camera.")
