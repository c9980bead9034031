"""The golden values of balancing, where they are."""

import json

import pytest


@pytest.fixture(scope="session")
def goldens(shared) -> dict:
    """Answers of published implementations and of exact solutions, in float64."""
    path = shared / "goldens" / "balancers.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return json.loads(path.read_text())
