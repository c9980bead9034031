"""What is cheap to know of the samples of a split, by which a run notices that they are no longer those it began with.

All ids, how many labels there are, and how large the files of some samples are; no file is read.
"""

import concurrent.futures
import hashlib

from mtl_tf.storage import files

SAMPLES = 200  # at equal distances; of as many the sizes of the files are kept
_THREADS = 16  # a remote file system takes its time to answer


def fingerprint(source) -> dict:
    """The fingerprint of a source of samples, for JSON.

    Returns:
        "samples", their number; "ids", sha256 of them in order; "labels", task name -> number; "sizes", id -> part ->
        bytes of its file. A file that is not there has no size.

    Raises:
        OSError: a file cannot be looked at.
    """
    digest = hashlib.sha256()
    for name in source.ids:
        digest.update(files.as_bytes(name) + b"\n")
    count = len(source)
    places = sorted({number * count // SAMPLES for number in range(SAMPLES)})

    def sizes(place):
        try:
            return source.sizes(place)
        except FileNotFoundError:
            return {}

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = dict(zip((source.ids[place] for place in places), pool.map(sizes, places), strict=True))
    return {
        "samples": count,
        "ids": digest.hexdigest(),
        "labels": {task: int(number) for task, number in source.labelled.items()},
        "sizes": {name: size for name, size in found.items() if size},
    }


def difference(before: dict, now: dict) -> str:
    """In what a split differs from what it was, in words; "" where it does not.

    Args:
        before, now: fingerprints.
    """
    if before["samples"] != now["samples"]:
        return f"{now['samples']} samples, {before['samples']} before"
    if before["ids"] != now["ids"]:
        other = next((f", for example {name}" for name in now["sizes"] if name not in before["sizes"]), "")
        return f"as many samples as before, but others{other}"
    for task, count in before["labels"].items():
        if now["labels"].get(task) != count:
            return f"{now['labels'].get(task, 0)} {task} labels, {count} before"
    for name, parts in before["sizes"].items():
        for part, size in parts.items():
            found = now["sizes"].get(name, {}).get(part)
            if found != size:
                told = "cannot be found" if found is None else f"has {found} bytes"
                return f"the {part} file of {name} {told}, {size} bytes before"
    return ""
