"""tools/_turns.py: windows in turn, and what is told of them."""

import json
import shlex
import sys

import pytest

from tests.helpers import tool_module

turns = tool_module("_turns")


class Scripted:
    """Gives windows that were written down, and notes when."""

    def __init__(self, name, windows, order):
        self._name, self._windows, self._order = name, iter(windows), order

    def window(self):
        self._order.append(self._name)
        return dict(zip(("images", "seconds", "cpu_seconds"), next(self._windows), strict=True))


def test_ratios_are_of_neighbours_and_the_first_windows_do_not_count():
    order = []
    slow = Scripted("slow", [(1, 99.0, 99.0), (10, 1.0, 2.0), (10, 2.0, 2.0), (10, 5.0, 2.0)], order)
    fast = Scripted("fast", [(1, 99.0, 99.0), (30, 1.0, 2.0), (10, 1.0, 1.0), (20, 5.0, 4.0)], order)
    first, second = turns.take_turns({"slow": slow, "fast": fast}, rounds=3)
    assert order == ["slow", "fast"] * 4
    assert (first["images_per_second"], first["ratio"], first["ratio_largest"]) == (5.0, 1.0, 1.0)
    assert second["images_per_second"] == 10.0
    # 30 / 10, 10 / 5, 4 / 2 images a second; 15 / 5, 10 / 5, 5 / 5 of CPU time.
    assert (second["ratio"], second["ratio_least"], second["ratio_largest"]) == (2.0, 2.0, 3.0)
    assert (second["cpu_ratio"], second["cpu_ratio_least"], second["cpu_ratio_largest"]) == (2.0, 1.0, 3.0)
    assert "fast" in turns.told([first, second])


def test_a_command_answers_each_line_and_its_end_is_told():
    window = {"images": 4, "seconds": 0.5, "cpu_seconds": 0.25}
    script = f"for _ in range(2): input(); print('log'); print({json.dumps(window)!r}, flush=True)"
    command = turns.Command(shlex.join([sys.executable, "-c", script]))
    assert [command.window(), command.window()] == [window] * 2
    with pytest.raises(SystemExit, match="has ended"):
        command.window()
