"""Mean and standard deviation by sums that add up over files."""

import math

import numpy as np


def moments(values: np.ndarray) -> np.ndarray:
    """Count, sum and sum of squares over the first axis, float64 (3, ...)."""
    values = values.astype(np.float64)
    return np.stack([np.full(values.shape[1:], float(len(values))), values.sum(axis=0), (values**2).sum(axis=0)])


def mean_std(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float64."""
    count, total, squares = moments
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


def digits(value: float) -> float:
    """Five significant digits; more would be noise."""
    return float(f"{value:.5g}") if math.isfinite(value) else value


def row(name: str, mean: float, std: float) -> str:
    """A line of the table that tools/dataset_statistics.py prints."""
    return f"{name:<24}{mean:>12.5g}{std:>12.5g}"
