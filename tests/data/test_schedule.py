"""The order of samples: permutations, exact shares of a mix, and a pure function of the position."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.data.schedule import Schedule, epoch_order
from mtl_tf.errors import UsageError


def walk(schedule, epochs=1, first=0):
    """(rounds, index) at every position."""
    count = schedule.steps_per_epoch * schedule.batch_size * epochs
    positions = tf.data.Dataset.range(first, count).map(schedule.at)
    return np.array(list(positions.as_numpy_iterator()))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 100])
def test_each_epoch_is_a_permutation_of_its_own(count):
    order = tf.function(
        lambda epoch: tf.map_fn(
            lambda position: epoch_order(position, epoch, count, 3), tf.range(count, dtype=tf.int64)
        )
    )
    epochs = [tuple(order(tf.constant(epoch, tf.int64)).numpy()) for epoch in range(6)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len(set(epochs)) > (4 if count > 3 else 0)


@pytest.mark.parametrize(("length", "batch"), [(7, 2), (8, 8), (1, 1), (700, 8), (5000, 3), (1024, 1), (2047, 2)])
def test_an_epoch_of_one_data_set_drops_only_the_last_incomplete_batch(length, batch):
    schedule = Schedule([length], [0.3], batch, 0)
    assert schedule.steps_per_epoch == length // batch
    assert schedule.shares() == [(batch, batch, batch)]


def test_one_data_set_in_each_epoch_anew():
    schedule = Schedule([7], [1.0], 2, 3)
    found = walk(schedule, 3).reshape(3, 6, 2)
    for epoch in range(3):
        assert (found[epoch, :, 0] == epoch).all()
        expected = [int(epoch_order(tf.constant(place, tf.int64), epoch, 7, 3)) for place in range(6)]
        assert found[epoch, :, 1].tolist() == expected


def test_shares_by_hand():
    # Whole shares: six and two of every eight, and an epoch is the first data set once.
    schedule = Schedule([61, 5], [3.0, 1.0], 8, 0)
    assert schedule.shares() == [(6, 6, 6.0), (2, 2, 2.0)]
    assert schedule.steps_per_epoch == 10
    # Halves: the first offsets are 0, 1/2, 1/4, 3/4. Points (j + u) / 1 below 1/2: yes, no, yes, no.
    schedule = Schedule([100, 100], [1.0, 1.0], 1, 0)
    assert [schedule.counts(step).tolist() for step in range(5)] == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2]]
    # Two of three equal data sets: thirds are 2048/3 = 683 of the 1024 offsets in the cycle, rounded to whole ones.
    schedule = Schedule([4096] * 3, [1.0] * 3, 2, 0)
    assert schedule.counts(1024).tolist() == [683, 682, 683]


@pytest.mark.parametrize("seed", range(12))
def test_every_batch_holds_its_shares_to_within_one_sample(seed):
    random = np.random.default_rng(seed)
    sets, batch = random.integers(2, 6), int(random.integers(1, 17))
    lengths, weights = random.integers(1, 3000, sets), random.uniform(0.05, 1, sets)
    lengths[0] += 2 * batch
    schedule = Schedule(lengths.tolist(), weights.tolist(), batch, seed)
    expected = batch * weights / weights.sum()
    total = np.array([schedule.counts(step) for step in range(3000)])
    each = np.diff(total, axis=0)
    assert (each.sum(1) == batch).all()
    assert (np.abs(each - expected) < 1 + 1 / 1024).all()
    assert each.min() >= 0
    np.testing.assert_allclose(each.mean(0), expected, atol=0.01)
    # Any stretch of batches is close to the mean, not only the whole.
    assert np.abs(total - np.arange(3000)[:, None] * expected).max() < 6
    # An epoch is the first data set once, but for what fills no batch.
    assert lengths[0] - expected[0] * 1.01 - 1 < schedule.steps_per_epoch * expected[0] < lengths[0] * 1.01
    for (low, high, mean), wanted in zip(schedule.shares(), expected, strict=True):
        assert np.floor(wanted - 0.01) <= low <= mean <= high <= np.ceil(wanted + 0.01)


@pytest.fixture(scope="module")
def mixed():
    """A mix of three, and ten epochs of it as (epoch, step, slot, rounds/index)."""
    schedule = Schedule([50, 7, 1], [0.65, 0.25, 0.1], 6, 4)
    return schedule, walk(schedule, 10).reshape(10, schedule.steps_per_epoch, 6, 2)


def part_of(index):
    return np.digitize(index, [50, 57])


def test_the_walk_through_a_mix_keeps_the_counts(mixed):
    schedule, found = mixed
    assert found[..., 1].min() == 0 and found[..., 1].max() == 57
    for step, batch in enumerate(found[..., 1].reshape(-1, 6)):
        counts = np.bincount(part_of(batch), minlength=3)
        np.testing.assert_array_equal(counts, schedule.counts(step + 1) - schedule.counts(step))


def test_each_data_set_of_a_mix_is_gone_through_round_after_round(mixed):
    schedule, found = mixed
    rounds, index = found[..., 0].ravel(), found[..., 1].ravel()
    assert schedule.steps_per_epoch == 12  # of 6 * 0.65 = 3.9 of the 50 samples each
    for part, (begin, end) in enumerate(((0, 50), (50, 57), (57, 58))):
        own = part_of(index) == part
        assert (np.diff(rounds[own]) >= 0).all()
        passes = [index[own & (rounds == number)].tolist() for number in range(rounds[own].max() + 1)]
        last = passes.pop()
        assert len(passes) >= 9 and len(last) <= end - begin
        assert all(sorted(each) == list(range(begin, end)) for each in passes)
        assert len(set(map(tuple, passes))) == (len(passes) if end - begin > 1 else 1)


def test_a_walk_begins_anywhere(mixed):
    schedule, found = mixed
    flat = found.reshape(-1, 2)
    for first in (1, 5, 77, 400):
        np.testing.assert_array_equal(walk(schedule, 10, first), flat[first:])
    eager = [tuple(int(value) for value in schedule.at(tf.constant(first, tf.int64))) for first in (0, 77, 399)]
    assert eager == [tuple(flat[first]) for first in (0, 77, 399)]
    other = walk(Schedule([50, 7, 1], [0.65, 0.25, 0.1], 6, 5), 10)
    assert (other[:, 1] != flat[:, 1]).mean() > 0.5
    np.testing.assert_array_equal(part_of(other[:, 1]), part_of(flat[:, 1]))


def test_a_share_too_small_to_come_at_all():
    assert Schedule([10, 9], [1.0, 1e-3], 8, 0).shares()[1][:2] == (0, 1)
    with pytest.raises(UsageError, match=r"data\.mix_weights: the share 1\.0e-06 of data set 2 is less than a sample"):
        Schedule([1000, 9], [1.0, 1e-6], 8, 0)
