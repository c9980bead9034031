"""The folder that data.root names, and what it holds, for messages."""

import os

from mtl_tf.config import DataConfig
from mtl_tf.errors import UsageError
from mtl_tf.storage import files


def find_root(data: DataConfig, layout: str) -> str:
    """The folder that data.root names.

    Args:
        data: the options.
        layout: what is expected in it, for the message.

    Raises:
        UsageError: it is not given, not there or a file.
    """
    root = data.root
    if not root:
        raise UsageError(f"--data.name={data.name} needs --data.root=FOLDER, the folder of the data set: {layout}")
    if files.is_file(root):
        raise UsageError(f"--data.root={root} is a file; expected the folder of a data set: {layout}")
    if not files.is_folder(root):
        raise UsageError(f"--data.root={root}: no such folder; expected {layout}")
    return root


def parent_of(root: str) -> str:
    """The folder above a folder."""
    return files.folder_of(root.rstrip("/")) if files.is_remote(root) else os.path.dirname(os.path.abspath(root))


def shown(folder: str) -> str:
    """The first names in a folder, for a message."""
    names = files.listing(folder)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
