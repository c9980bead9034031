"""Options of data: where samples come from, and how they are augmented."""

import dataclasses

from mtl_tf.atomic import leads_out
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, format_value, option
from mtl_tf.registry import Lazy, Registry

# Each in a file of its own, which is imported when the data set is used.
DATA_SETS = Registry(
    "data set",
    {
        "synthetic": Lazy("data.sets.synthetic:DATA_SET"),
        "folder": Lazy("data.sets.folder:DATA_SET"),
        "miniscapes": Lazy("data.sets.miniscapes:DATA_SET"),
        "nyuv2": Lazy("data.sets.nyuv2:DATA_SET"),
        "cityscapes": Lazy("data.sets.cityscapes:DATA_SET"),
        "cityscapes7": Lazy("data.sets.cityscapes:DATA_SET_7"),
        "kitti": Lazy("data.sets.kitti:DATA_SET"),
        "vkitti2": Lazy("data.sets.vkitti2:DATA_SET"),
        "camvid": Lazy("data.sets.camvid:DATA_SET"),
        "nyud_mt": Lazy("data.sets.nyud_mt:DATA_SET"),
        "mtan_nyuv2": Lazy("data.sets.mtan:NYUV2_COPY"),
        "mtan_cityscapes": Lazy("data.sets.mtan:CITYSCAPES_COPY"),
        "pascal_mt": Lazy("data.sets.pascal_mt:DATA_SET"),
        "taskonomy": Lazy("data.sets.taskonomy:DATA_SET"),
        "packed": Lazy("data.sets.packed:DATA_SET"),
    },
)


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """Where samples come from and the size at which they are used."""

    name: str = option(
        "synthetic",
        "Data set: rendered road scenes, a folder with dataset.json, or a known layout (docs/datasets.md).",
        choices=DATA_SETS,
    )
    root: str = option("", "Folder of the data set.", free=True)
    statistics: str = option(
        "",
        "File of measured statistics (tools/dataset_statistics.py --output); empty = the data set's own.",
        free=True,
    )
    mix_names: tuple[str, ...] = option((), "Further data sets to train on, each as in data.name.", choices=DATA_SETS)
    mix_roots: tuple[str, ...] = option((), "Their folders, in the same order; - where there is none.", free=True)
    mix_weights: tuple[float, ...] = option(
        (), "Shares of data.name and of each further data set in a batch, in any unit; empty = equal."
    )
    mix_classes: tuple[str, ...] = option(
        (),
        "Classes of the further data sets that data.name calls otherwise, as THEIRS=OURS; several of theirs may be one "
        "of ours. Other classes are matched by name, without regard to case, spaces, underscores and hyphens.",
        before=(),
    )
    image_size: tuple[int, ...] = option(
        (),
        "H,W in pixels that every sample is resized to (data.fit says how); empty = as it is on disk.",
        minimum=8,
        lengths=(0, 2),
    )
    fit: str = option(
        "auto",
        "How a picture becomes data.image_size where its aspect is another one: stretch it; pad it (aspect kept, black "
        "around it); crop it (aspect kept, its middle taken). auto = pad where the aspect of training pictures differs "
        "by more than 2 %, else stretch. Predictions and exports do the same.",
        choices=("auto", "stretch", "pad", "crop"),
        before="stretch",
    )
    crop_size: tuple[int, ...] = option(
        (), "H,W in pixels of the training crop; empty = the whole image.", minimum=8, lengths=(0, 2)
    )
    train_split: str = option("train", "Split to train on.")
    val_split: str = option("val", "Split that each epoch is validated on.")
    val_share: float = option(
        0.0,
        "Share of the training samples, 0 to 1, held out and used as data.val_split instead of a split of that name; "
        "which ones, the seed decides. 0 = none.",
        minimum=0.0,
        maximum=0.9,
        before=0.0,
    )
    val_by: str = option(
        "auto",
        "What data.val_share holds out: sequence = whole folders of samples, whose frames look alike; sample = samples "
        "one by one. auto = sequence; a run that is continued keeps what it was made with.",
        choices=("auto", "sequence", "sample"),
        before="sample",
    )
    split: str = option(
        "val",
        "Split that is scored, or predicted; evaluate takes several, separated by commas.",
        free=True,
        of=("evaluate", "predict", "report", "study"),
    )
    limit: int = option(0, "Use only the first N samples of each split; 0 = all.", minimum=0)
    skip_bad: bool = option(False, "Go on without samples that cannot be read, and count them.")
    eigen_crop: bool = option(
        False,
        "Score depth (evaluate, validation) only inside the crop of Eigen et al. for NYUv2: rows 45-470, columns "
        "41-600 of 480x640, in proportion at other sizes. Training, classes and pictures are as without.",
        free=True,
    )
    synthetic_train: int = option(400, "Number of rendered training scenes.", minimum=1)
    synthetic_val: int = option(64, "Number of rendered scenes in each other split.", minimum=1)
    synthetic_seed: int = option(0, "Seed of the rendered scenes.", minimum=0)
    cache: bool = option(False, "Keep decoded samples in memory (synthetic scenes always are).", free=True)
    workers: int = option(0, "Samples read in parallel; 0 = as many as there are cores.", minimum=0, free=True)
    prefetch: int = option(2, "Batches prepared ahead of the training step.", minimum=1, free=True)

    def __post_init__(self):
        super().__post_init__()
        for name in ("train_split", "val_split", "split"):
            if any(map(leads_out, getattr(self, name).split(","))):
                raise UsageError(f"data.{name}={getattr(self, name)} leads out of the data set; name a folder in it")
        if self.val_share and self.val_split == self.train_split:
            raise UsageError(
                f"data.val_share={self.val_share} holds samples of data.train_split={self.train_split} out, and "
                "data.val_split has the same name; give it another one"
            )
        names, roots, weights = self.mix_names, self.mix_roots, self.mix_weights
        if len(roots) != len(names):
            raise UsageError(
                f"data.mix_roots={format_value(roots)} are {len(roots)} folders for the {len(names)} data sets of "
                f"data.mix_names={format_value(names)}; give one for each, - where there is none"
            )
        if weights and len(weights) != 1 + len(names):
            raise UsageError(
                f"data.mix_weights={format_value(weights)} are {len(weights)} shares for {1 + len(names)} data sets: "
                f"{format_value((self.name, *names))}; give one for each, the first for data.name"
            )
        if any(weight <= 0 for weight in weights):
            raise UsageError(
                f"data.mix_weights={format_value(weights)} must be positive; leave a data set without a share out"
            )
        for pair in self.mix_classes:
            if not all(part.strip() for part in pair.partition("=")):
                raise UsageError(f"data.mix_classes takes pairs THEIRS=OURS, separated by commas; got {pair!r}")
        if self.mix_classes and not names:
            raise UsageError(
                f"data.mix_classes={format_value(self.mix_classes)} is about the classes of further data sets, and "
                "data.mix_names names none; name them, or leave it out"
            )


@dataclasses.dataclass(frozen=True)
class AugmentConfig(Section):
    """Training augmentation: one perspective crop per sample, then colour, then pasting; all off by default."""

    scale_min: float = option(1.0, "Smallest side of the sampled window over the crop size.", minimum=0.05)
    scale_max: float = option(
        1.0, "Largest side of the sampled window over the crop size; > 1 zooms OUT.", minimum=0.05
    )
    tilt: float = option(0.0, "Largest rotation, degrees.", minimum=0.0, maximum=180.0)
    wiggle: float = option(0.0, "Largest shift of a corner over half the crop size.", minimum=0.0, maximum=0.5)
    reflect: bool = option(False, "Flip left and right with probability 0.5.")
    zoom_depth: bool = option(
        False, "Multiply depth by the sampled scale, and divide disparity by it, as a pinhole camera would see them."
    )
    brightness: float = option(0.0, "Largest relative change of brightness.", minimum=0.0, maximum=1.0)
    contrast: float = option(0.0, "Largest relative change of contrast.", minimum=0.0, maximum=1.0)
    saturation: float = option(0.0, "Largest relative change of saturation.", minimum=0.0, maximum=1.0)
    hue: float = option(0.0, "Largest change of hue, in turns.", minimum=0.0, maximum=0.5)
    gamma: float = option(0.0, "Largest change of the exponent of the colours.", minimum=0.0, maximum=0.9)
    grey: float = option(0.0, "Probability of a picture in shades of grey.", minimum=0.0, maximum=1.0)
    blur: float = option(0.0, "Largest standard deviation of a Gaussian blur, pixels.", minimum=0.0, maximum=20.0)
    cutmix: float = option(
        0.0, "CutMix: probability that a sample gets a rectangle of another one of its batch.", minimum=0.0, maximum=1.0
    )
    cutmix_area: tuple[float, ...] = option(
        (0.5, 0.5),
        "CutMix: smallest and largest share of the picture that the rectangle covers.",
        minimum=0.0,
        maximum=1.0,
        lengths=(2,),
    )
    classmix: float = option(
        0.0,
        "ClassMix: probability that a sample gets half of the classes of another one of its batch.",
        minimum=0.0,
        maximum=1.0,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.scale_min > self.scale_max:
            raise UsageError(
                f"augment.scale_min={self.scale_min} is above augment.scale_max={self.scale_max}; exchange them"
            )
        if self.cutmix_area[0] > self.cutmix_area[1]:
            raise UsageError(
                f"augment.cutmix_area={format_value(self.cutmix_area)} must not fall: smallest, then largest share"
            )
        if self.cutmix + self.classmix > 1.0:
            raise UsageError(
                f"augment.cutmix={self.cutmix} and augment.classmix={self.classmix} add up to more than 1; a sample "
                "gets one of them: lower them"
            )
