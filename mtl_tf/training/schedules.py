"""The learning rate over time: a pure function of the step, so that a run can go on from anywhere."""

import math
from collections.abc import Callable

from mtl_tf.config import OptimConfig

SMALLEST_FACTOR = 1e-6

# One-cycle: where it starts and ends, as shares of the largest rate, and how long it rises.
_ONE_CYCLE_START, _ONE_CYCLE_END, _ONE_CYCLE_RISE = 1 / 25, 1 / 25e4, 0.3


def learning_rate_at(config: OptimConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of a step: the largest rate, times the schedule's factor, times that of the warm-up.

    The warm-up rises linearly over `warmup_epochs` (Goyal et al., "Accurate, Large Minibatch SGD", 2017, 2.2) and
    scales the schedule, which runs on beneath it.

    Args:
        config: the schedule and the largest rate.
        step: steps made so far.
        steps_per_epoch, epochs: the length of the run.
    """
    if config.schedule_unit == "epoch" and config.schedule in ("poly", "cosine"):
        progress = (step // steps_per_epoch) / epochs
    else:
        progress = step / (steps_per_epoch * epochs)
    factor = max(SMALLEST_FACTOR, SCHEDULES[config.schedule](config, min(progress, 1.0), epochs))
    warmup = config.warmup_epochs * steps_per_epoch
    return config.learning_rate * factor * (min(1.0, (step + 1) / warmup) if warmup else 1.0)


def _poly(config, progress, epochs):
    """(1 - t)^power: Liu et al., "ParseNet", 2015."""
    return (1.0 - progress) ** config.schedule_power


def _cosine(config, progress, epochs):
    """(1 + cos(pi t)) / 2: Loshchilov and Hutter, "SGDR", 2017, eq. 5, without restarts."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _one_cycle(config, progress, epochs):
    """Up by a cosine for the first 30 %, then down to almost nothing: Smith and Topin, "Super-Convergence", 2018."""
    if progress < _ONE_CYCLE_RISE:
        return _between(_ONE_CYCLE_START, 1.0, progress / _ONE_CYCLE_RISE)
    return _between(1.0, _ONE_CYCLE_END, (progress - _ONE_CYCLE_RISE) / (1.0 - _ONE_CYCLE_RISE))


def _between(start, end, progress):
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _step(config, progress, epochs):
    """step_factor^n after n of the epochs in step_epochs."""
    # Steps divide exactly where they end an epoch; the nudge keeps the division's rounding out.
    passed = sum(progress * epochs + 1e-9 >= epoch for epoch in config.step_epochs)
    return config.step_factor**passed


def _constant(config, progress, epochs):
    return 1.0


SCHEDULES: dict[str, Callable[[OptimConfig, float, int], float]] = {
    "poly": _poly,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "step": _step,
    "constant": _constant,
}
