"""The learning rate over time, worked out by hand."""

import math

import pytest

from mtl_tf.config import OptimConfig
from mtl_tf.errors import UsageError
from mtl_tf.training.schedules import SCHEDULES, learning_rate_at


def test_poly_per_epoch_by_hand():
    """0.01 * (1 - e / 4)^0.9 with 10 steps an epoch, constant within it."""
    config = OptimConfig()
    expected = [0.01, 0.01 * 0.75**0.9, 0.01 * 0.5**0.9, 0.01 * 0.25**0.9]
    for step in range(40):
        assert learning_rate_at(config, step, 10, 4) == pytest.approx(expected[step // 10], rel=1e-12)
    assert learning_rate_at(config, 0, 10, 4) == 0.01
    assert expected[2] == pytest.approx(0.0053588673, rel=1e-7)


def test_poly_per_epoch_of_the_study():
    """16 epochs: the last runs at (1/16)^0.9 = 0.0825 of the initial rate."""
    assert learning_rate_at(OptimConfig(), 5000 * 15, 5000, 16) == pytest.approx(8.24692e-4, rel=1e-5)
    assert learning_rate_at(OptimConfig(), 5000 * 16 - 1, 5000, 16) == pytest.approx(8.24692e-4, rel=1e-5)


def test_poly_per_step_by_hand():
    config = OptimConfig(schedule_unit="step", schedule_power=2.0, learning_rate=1.0)
    found = [learning_rate_at(config, step, 2, 2) for step in range(4)]
    assert found == pytest.approx([1, 9 / 16, 1 / 4, 1 / 16])


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_the_rate_never_reaches_zero(unit):
    """The floor is a millionth of the initial rate: at the end, and where the power is steep."""
    config = OptimConfig(schedule_unit=unit, learning_rate=0.5)
    assert learning_rate_at(config, 40, 10, 4) == 0.5e-6
    steep = OptimConfig(schedule_unit=unit, learning_rate=0.5, schedule_power=100.0)
    assert learning_rate_at(steep, 39, 10, 4) == 0.5e-6
    assert learning_rate_at(steep, 0, 10, 4) == 0.5


def test_a_constant_rate():
    config = OptimConfig(schedule="constant", learning_rate=0.3)
    assert {learning_rate_at(config, step, 10, 4) for step in (0, 39, 40)} == {0.3}


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_the_rate_falls(unit):
    rates = [learning_rate_at(OptimConfig(schedule_unit=unit), step, 5, 6) for step in range(30)]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == (6 if unit == "epoch" else 30)


def rates(steps_per_epoch, epochs, **options):
    config = OptimConfig(learning_rate=1.0, **options)
    return [learning_rate_at(config, step, steps_per_epoch, epochs) for step in range(steps_per_epoch * epochs)]


def test_every_choice_has_its_schedule():
    (choices,) = (
        field.metadata["choices"] for field in OptimConfig.__dataclass_fields__.values() if field.name == "schedule"
    )
    assert tuple(SCHEDULES) == choices


def test_cosine():
    """(1 + cos(pi t)) / 2 at t = 0, 1/4, 1/2, 3/4."""
    expected = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert rates(2, 2, schedule="cosine", schedule_unit="step") == pytest.approx(expected)
    assert rates(2, 2, schedule="cosine") == pytest.approx([1.0, 1.0, 0.5, 0.5])


def test_steps():
    """A fifth after epoch 2 and again after epoch 5, at the first step of the next epoch."""
    found = rates(3, 7, schedule="step", step_epochs=(2, 5), step_factor=0.2)
    assert found == pytest.approx([1.0] * 6 + [0.2] * 9 + [0.04] * 6)


def test_one_cycle():
    """From 1/25 up to 1 at 30 % of the steps, half way down at 65 %, and nearly nothing at the end."""
    found = rates(20, 5, schedule="one_cycle")
    assert found[0] == pytest.approx(1 / 25)
    assert found[15] == pytest.approx((1 / 25 + 1) / 2)
    assert max(found) == found[30] == pytest.approx(1.0)
    assert found[65] == pytest.approx((1 + 1 / 25e4) / 2)
    assert found[-1] < 1e-3 and found == sorted(found[:30]) + sorted(found[30:], reverse=True)


def test_the_warm_up_scales_the_schedule():
    """Over 1.5 epochs of 4 steps: sixths of the rate, rising; poly falls beneath it."""
    found = rates(4, 2, schedule="constant", warmup_epochs=1.5)
    assert found == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1])
    both = rates(4, 2, schedule="poly", warmup_epochs=1.5)
    plain = rates(4, 2, schedule="poly")
    assert both == pytest.approx([factor * rate for factor, rate in zip(found, plain, strict=True)])


def test_epochs_belong_to_the_step_schedule():
    for options in (dict(schedule="step"), dict(step_epochs=(3,))):
        with pytest.raises(UsageError, match="the step schedule needs the epochs after which the rate falls"):
            OptimConfig(**options)
