"""What the tests of balancing share."""

import numpy as np


def conflict(jacobian, direction):
    """The smallest cosine between a row and the direction."""
    lengths = np.linalg.norm(jacobian, axis=1) * np.linalg.norm(direction)
    return (jacobian @ direction / lengths).min()


def jacobians(rng, rounds, sizes=range(2, 7), columns=9):
    """Random rows of unlike lengths, some of them in conflict."""
    for count in sizes:
        for _ in range(rounds):
            yield rng.normal(size=(count, columns)) * np.exp(rng.normal(size=(count, 1)))
