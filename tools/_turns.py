"""Programs that are measured in turn, none while another works. Needs nothing of this project."""

import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time


class Command:
    """A process that measures a window for each line that it gets: `tools/benchmark.py --turns ...`."""

    def __init__(self, command: str, **environment: str):
        self._process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )

    def window(self) -> dict:
        """Images, seconds and CPU seconds of a window."""
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            while line := self._process.stdout.readline():
                if line.startswith("{"):
                    return json.loads(line)
        except BrokenPipeError:
            pass
        sys.exit("error: a command of --against has ended; run it alone to see why")

    def peak_memory(self) -> int:
        """Bytes, the most that the process has had in memory so far."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def cpu_seconds(processes: list[int]) -> float:
    """CPU time that processes have taken so far."""
    ticks = 0
    for process in processes:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def window_of(step, images_a_step: int, seconds: float, processes: list[int]) -> dict:
    """Does steps for so many seconds: images, seconds, and the CPU seconds of processes."""
    start, cpu, images = time.perf_counter(), cpu_seconds(processes), 0
    while time.perf_counter() - start < seconds:
        step()
        images += images_a_step
    took = time.perf_counter() - start
    return {"images": images, "seconds": took, "cpu_seconds": cpu_seconds(processes) - cpu}


def take_turns(measured: dict, rounds: int) -> list[dict]:
    """Measures in turn, after a window of each that is not counted.

    Args:
        measured: by name, what has a `window` like that of `Command`; the first is what the others are compared with.
        rounds: windows of each.

    Returns:
        A row for each: `name`; `images_per_second` and `images_per_cpu_second`, medians over the rounds; `ratio` and
        `cpu_ratio`, the median of the ratios of each window to the first one's just before it, with `_least` and
        `_largest`; `rounds`.
    """
    for each in measured.values():
        each.window()  # to get warm
    found = {name: [] for name in measured}
    first = found[next(iter(found))]
    for number in range(1, rounds + 1):
        for name, each in measured.items():
            window = each.window()
            found[name].append(tuple(window["images"] / window[kind] for kind in ("seconds", "cpu_seconds")))
        speeds = ", ".join(f"{windows[-1][0]:.2f}" for windows in found.values())
        print(f"round {number}/{rounds}: {speeds} images/s", file=sys.stderr, flush=True)
    rows = []
    for name, windows in found.items():
        row = {"name": name, "rounds": rounds}
        for kind, (speed, ratio) in enumerate((("images_per_second", "ratio"), ("images_per_cpu_second", "cpu_ratio"))):
            ratios = [window[kind] / base[kind] for window, base in zip(windows, first, strict=True)]
            row[speed] = round(statistics.median(window[kind] for window in windows), 4)
            row[ratio] = round(statistics.median(ratios), 4)
            row[f"{ratio}_least"], row[f"{ratio}_largest"] = round(min(ratios), 4), round(max(ratios), 4)
        rows.append(row)
    return rows


def told(rows: list[dict]) -> str:
    """The rows as text."""
    lines = []
    for row in rows:
        lines.append(row["name"])
        for label, speed, ratio in (
            ("images/s", "images_per_second", "ratio"),
            ("images/s of CPU time", "images_per_cpu_second", "cpu_ratio"),
        ):
            lines.append(
                f"  {label:<22} median {row[speed]:8.2f}   ratio median {row[ratio]:.3f}"
                f" ({row[f'{ratio}_least']:.3f} to {row[f'{ratio}_largest']:.3f})"
            )
    return "\n".join(lines)
