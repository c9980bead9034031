"""How classes are learnt: the options of the kind, what contradicts what, and the weights of the classes."""

import dataclasses
import math

import numpy as np

from mtl_tf.errors import UsageError, said_of
from mtl_tf.options import Section, format_value, option

# Sums are those that are in use; see `Segmentation.loss`.
LOSSES = ("cross_entropy", "focal", "dice", "lovasz", "cross_entropy+dice", "cross_entropy+lovasz")
UNWEIGHTED = ("none",)


def median_frequency(frequency, where_present) -> np.ndarray:
    """The median of the frequencies over each: Eigen and Fergus, ICCV 2015; 0 of a class without pixels."""
    found = np.asarray(where_present, np.float64)
    return np.where(found > 0, np.median(found[found > 0]) / np.where(found > 0, found, 1), 0)


def log_inverse(frequency, where_present) -> np.ndarray:
    """1 / ln(1.02 + p) of the frequency p: Paszke et al., ENet, 2016; 0 of a class without pixels."""
    found = np.asarray(frequency, np.float64)
    return np.where(found > 0, 1 / np.log(1.02 + found), 0)


MEASURED = {"median_frequency": median_frequency, "log_inverse": log_inverse}


@dataclasses.dataclass(frozen=True)
class ClassOptions(Section):
    """How classes are learnt."""

    loss: str = option(
        "cross_entropy",
        "Loss of classes.",
        choices=LOSSES,
        before="cross_entropy",
    )
    gamma: float = option(2.0, "focal: its exponent; 0 = cross-entropy.", minimum=0.0, before=2.0)
    class_weights: tuple[str, ...] = option(
        UNWEIGHTED,
        "Weights of the classes in cross_entropy and focal: none; a number for each class, with commas; or of measured "
        "frequencies (tools/dataset_statistics.py) median_frequency (Eigen and Fergus, 2015) or log_inverse (ENet, "
        "2016). The mean is over the sum of the pixels' weights.",
        before=UNWEIGHTED,
    )
    label_smoothing: float = option(
        0.0,
        "cross_entropy: share of each label that is spread evenly over all classes.",
        minimum=0.0,
        maximum=1.0,
        before=0.0,
    )
    hardest: float = option(
        1.0,
        "cross_entropy, focal: share of each image's pixels, those that cost most, that the mean is over; 1 = all.",
        minimum=0.001,
        maximum=1.0,
        before=1.0,
    )

    def check(self, kind: str) -> None:
        """Raises a UsageError where an option is not of the loss; `kind` is for messages."""
        terms = self.loss.split("+")
        for name, of in (
            ("gamma", ("focal",)),
            ("class_weights", ("cross_entropy", "focal")),
            ("label_smoothing", ("cross_entropy",)),
            ("hardest", ("cross_entropy", "focal")),
        ):
            value = getattr(self, name)
            if value != getattr(type(self), name) and not set(of) & set(terms):
                raise UsageError(
                    f"task.{kind}.{name}={format_value(value)} is of the loss {' or '.join(of)}, but "
                    f"task.{kind}.loss={self.loss}: leave it out, or choose such a loss"
                )

    def weights_of(self, labels, name: str, data_set: str) -> tuple[float, ...]:
        """The weight of each class; () = they are equal.

        Args:
            labels: the class labels.
            name: of the task.
            data_set: its name, for messages.

        Raises:
            UsageError: they are not as expected, or the frequencies have not been measured.
        """
        said, count = self.class_weights, len(labels.classes)
        option = f"task.{labels.kind}.class_weights={format_value(said)}"
        if said == UNWEIGHTED:
            return ()
        if len(said) == 1 and said[0] in MEASURED:
            with said_of(option):
                labels.check_measured(name, data_set)
            found = MEASURED[said[0]](labels.frequency, labels.frequency_where_present)
            return tuple(map(float, found))
        try:
            weights = tuple(map(float, said))
        except ValueError:
            weights = ()
        known = ", ".join((*UNWEIGHTED, *MEASURED))
        if not weights or not all(math.isfinite(weight) for weight in weights):
            raise UsageError(f"{option} should be {known}, or {count} numbers with commas, one a class of {name}")
        if len(weights) != count:
            raise UsageError(
                f"{option} has {len(weights)} numbers, but {name} of data set {data_set} has {count} classes: give "
                f"{count}, or one of {known}"
            )
        if min(weights) < 0 or max(weights) == 0:
            raise UsageError(
                f"{option} has {'a negative number' if min(weights) < 0 else 'no number above 0'}: give 0 (the "
                "class does not count) or more, and at least one above 0"
            )
        return weights
