"""What the tools that write data sets share: a folder of one set of settings, whole files, work that continues."""

import concurrent.futures
import io
import json
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from mtl_tf.atomic import write_bytes, write_text
from mtl_tf.errors import UsageError
from mtl_tf.progress import Progress


def output_folder(config) -> pathlib.Path:
    """The folder that --output names.

    Raises:
        UsageError: it is missing.
    """
    if not config.output:
        raise UsageError("--output=FOLDER is missing: where the samples are written")
    return pathlib.Path(config.output)


def claim(output: pathlib.Path, note: str, settings: dict, splits: Sequence[str]) -> None:
    """Makes a folder that holds samples of one set of settings only; `note` in it names them.

    Raises:
        UsageError: it holds samples of other settings or of another origin, or cannot be written.
    """
    path = output / note
    try:
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found != settings:
                raise UsageError(
                    f"{output} holds samples of other settings ({found}, not {settings}); choose another --output"
                )
        elif any((output / split).exists() for split in splits):
            raise UsageError(f"{output} holds samples that this tool did not make; choose another --output")
        output.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings) + "\n")
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot use the folder {output}: {error}") from None


def write_picture(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes uint8 or uint16 pixels as PNG, or as JPEG where the name ends so; whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    if path.suffix == ".png":
        kind = {"format": "PNG", "compress_level": 3}
    else:
        kind = {"format": "JPEG", "quality": 92, "subsampling": 0}
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, **kind)
    write_bytes(path, buffer.getvalue())


def write_all(label: str, write: Callable, samples: Sequence, pool: concurrent.futures.Executor | None = None) -> list:
    """Calls `write(sample)` for all samples, in a pool or here, and shows how far it is; the first error ends the work.

    Returns:
        What the calls returned, in the order of the samples.

    Raises:
        UsageError: what `write` raised, or a process of the pool died.
    """
    progress = Progress(label, len(samples))
    results = []
    try:
        for result in pool.map(write, samples, chunksize=4) if pool else map(write, samples):
            results.append(result)
            progress.advance()
    except concurrent.futures.BrokenExecutor:
        raise UsageError("a process was ended from outside (is memory short?); run the same command again") from None
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
        progress.close()
    return results


def process_pool(asked: int, samples: int, **options) -> concurrent.futures.ProcessPoolExecutor | None:
    """Processes for so many samples: as many as asked for (0 = one a core); None where there is little to do."""
    workers = min(asked or os.cpu_count() or 1, max(samples // 8, 1))
    if workers == 1:
        return None
    return concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_follow_parent, **options
    )


def _follow_parent():
    """In a process of a pool: the first process answers to Ctrl-C, which reaches all, and none outlives its kill."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
