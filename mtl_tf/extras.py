"""Libraries that only some formats need: what to install where one is missing."""

import importlib.util
from collections.abc import Sequence

from mtl_tf.errors import UsageError


def demand(what: str, extra: str, modules: Sequence[str]) -> None:
    """Raises a UsageError if one of the modules is not installed.

    Args:
        what: needs them, for the message.
        extra: of this package that brings them.
        modules: their names.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{what} needs {', '.join(missing)}; install with: pip install 'mtl_tf[{extra}]'")
