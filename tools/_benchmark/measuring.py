"""Measuring a work: windows of time, turns with other programs, and single answers."""

import json
import statistics
import sys
import time

import numpy as np

from _benchmark.work import Work
from mtl_tf.progress import Progress

WARM_UP = 3  # batches: compiling, choosing kernels, filling queues
WINDOW = 0.2  # seconds: a pipeline delivers in bursts, so that single batches of a few milliseconds say little
LATENCY_SIZES = ((256, 256), (512, 1024))  # pixels, from small to large: a process' peak memory never falls
FEWEST = 5  # windows, and answers: a median of fewer says little


def measure(work: Work, seconds: float, label: str, begun: float) -> dict:
    """Median, best and worst over windows of at least `WINDOW` seconds, for `seconds` and at least `FEWEST` of them.

    `first_batch_seconds` is the time from `begun` (of `time.perf_counter`) until the first batch is done.
    """
    print(f"warming up {label}", file=sys.stderr, flush=True)
    work.use(next(work.batches))
    first = time.perf_counter() - begun
    for _ in range(WARM_UP - 1):
        work.use(next(work.batches))
    progress = Progress(f"measuring {label}", round(seconds), "s")
    start = window_start = time.perf_counter()
    cpu = time.process_time()
    waited, steps, in_window, windows = 0.0, 0, 0, []
    while len(windows) < FEWEST or window_start - start < seconds:
        before = time.perf_counter()
        batch = next(work.batches)
        waited += time.perf_counter() - before
        work.use(batch)
        now = time.perf_counter()
        in_window += 1
        if now - window_start >= WINDOW:
            windows.append((now - window_start) / in_window)
            steps += in_window
            progress.advance(int(now - start) - int(window_start - start), f"{windows[-1] * 1e3:.1f} ms a batch")
            window_start, in_window = now, 0
    progress.close()
    cpu = time.process_time() - cpu
    return {
        **speeds(work.batch_size, windows),
        "images_per_cpu_second": round(steps * work.batch_size / cpu, 4),
        "windows": len(windows),
        "steps": steps,
        "first_batch_seconds": round(first, 3),
        "seconds": round(window_start - start, 3),
        "wait_share": round(waited / (time.perf_counter() - start), 5),
    }


def speeds(batch_size: int, seconds: list[float]) -> dict:
    """Median, best and worst of the seconds that a batch took, as images a second and as milliseconds."""
    took = {"": statistics.median(seconds), "_best": min(seconds), "_worst": max(seconds)}
    return {
        **{f"images_per_second{name}": round(batch_size / value, 4) for name, value in took.items()},
        **{f"step_ms{name}": round(value * 1e3, 4) for name, value in took.items()},
    }


def measure_latency(answer, seconds: float, peak_memory, sizes=()) -> dict:
    """How long one answer takes, for one picture of each size.

    Args:
        answer: function of uint8 (1, H, W, 3); returns when the answer is there.
        seconds: for how long, of each size.
        peak_memory: function that gives the bytes.
        sizes: height and width of the pictures; none = `LATENCY_SIZES`.
    """
    found = {}
    for height, width in sizes or LATENCY_SIZES:
        size = f"{height}x{width}"
        print(f"measuring one picture of {size}", file=sys.stderr, flush=True)
        image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
        for _ in range(WARM_UP):
            answer(image)
        times, start = [], time.perf_counter()
        while len(times) < FEWEST or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            answer(image)
            times.append((time.perf_counter() - before) * 1e3)
        found[size] = {
            "median_ms": round(statistics.median(times), 3),
            "p95_ms": round(float(np.percentile(times, 95)), 3),
            "best_ms": round(min(times), 3),
            "answers": len(times),
            "peak_memory_mb": round(peak_memory() / 2**20, 1),
        }
    return found


def take_turns(work: Work, seconds: float):
    """For each line on standard input a window, after the batches that are prepared already: images and time of it.

    So that programs can be measured in turn (tools/benchmark_torch.py), none while another works.
    """
    for _ in sys.stdin:
        for _ in range(work.idle):
            work.use(next(work.batches))
        start, cpu, images = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            work.use(next(work.batches))
            images += work.batch_size
        window = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({"images": images} | window), flush=True)
