"""A share of the training samples: whole sequences, stable by name; runs from before keep what they held out."""

import hashlib

import pytest

from mtl_tf import flags
from mtl_tf.config import Config, replace
from mtl_tf.data import share
from mtl_tf.data.sets.settle import settled
from mtl_tf.data.source import Source
from tests.helpers import write_dataset


class Named(Source):
    """Samples that have nothing but names."""

    def __init__(self, *ids):
        self.ids = list(ids)


def sequences(*lengths):
    return Named(*(f"drive{number}/{frame}" for number, length in enumerate(lengths) for frame in range(length)))


def held_out(source, part, seed=0, **options):
    kept, found = share.divide(source, part, seed, **options)
    assert sorted(kept.ids + found.ids) == sorted(source.ids) and kept.ids and found.ids
    return found.ids


def folders(ids):
    return {name.partition("/")[0] for name in ids}


@pytest.mark.parametrize("seed", range(5))
def test_sequences_are_held_out_whole(seed):
    source = sequences(*[10] * 20)
    found = held_out(source, 0.1, seed)
    assert len(found) == 20 and len(folders(found)) == 2
    kept, _ = share.divide(source, 0.1, seed)
    assert not folders(kept.ids) & folders(found)
    assert held_out(source, 0.1, seed) == found
    assert len(folders(held_out(source, 0.1, seed, by_sequence=False))) > 2


def test_other_sequences_change_nothing_of_those_that_stay():
    """The order that sequences are drawn in is by their names alone: with more of them the first stay held out."""
    few, many = sequences(*[5] * 20), sequences(*[5] * 40)
    first = folders(held_out(few, 0.2))
    assert first <= folders(held_out(many, 0.6))


@pytest.mark.parametrize(
    ("lengths", "part", "count"),
    [
        ((90, 10), 0.1, 10),
        ((50, 50), 0.1, 50),  # one of two
        ((100, 1, 1), 0.3, 2),
        ((7,), 0.3, 2),  # of one sequence samples
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_the_share_is_as_near_as_sequences_allow(lengths, part, count, seed):
    assert len(held_out(sequences(*lengths), part, seed)) == count
    held_out(sequences(1, 3), 0.9, seed)  # never all


def test_samples_without_folders_are_those_of_before():
    """The rule of earlier runs, written out: the smallest digests of seed and name."""
    source = Named(*map(str, range(50)))
    expected = sorted(source.ids, key=lambda name: hashlib.sha256(f"3:{name}".encode()).digest())[:10]
    assert set(held_out(source, 0.2, 3)) == set(expected) == set(held_out(source, 0.2, 3, by_sequence=False))


def test_a_run_of_before_holds_out_the_same_samples(tmp_path):
    (tmp_path / "run.flags").write_text("--data.name=folder\n--data.val_share=0.2\n")
    before = flags.read_run_flags(tmp_path / "run.flags")
    assert before.data.val_by == "sample"
    root = write_dataset(tmp_path / "data", {"train": 2})
    config = replace(Config(), data__name="folder", data__root=str(root), data__val_share=0.2)
    assert settled(config, before).data.val_by == "sample"
    assert settled(config).data.val_by == "sequence"
    assert settled(replace(config, data__val_by="sample")).data.val_by == "sample"
