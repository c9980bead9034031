"""Files of data sets, as bytes or texts: read, or the error that names the file."""

from mtl_tf.errors import UsageError
from mtl_tf.storage import files


def read_bytes(path: str) -> bytes:
    """The content of a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return files.read(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except PermissionError:
        raise UsageError(f"{path}: no permission to read it") from None
    except OSError as error:
        tries = f", in {1 + len(files.PAUSES)} tries" if files.may_pass(error) else ""
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}{tries}); repair disk or network, or replace the file"
        ) from None


def read_text(path: str) -> str:
    """The content of a UTF-8 text file.

    Raises:
        UsageError: it is not there or not a text.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a UTF-8 text; replace it") from None


def read_colour_names(path: str, name_first: bool) -> dict[tuple[int, int, int], str]:
    """Colour -> name, of a text with a name and three numbers 0..255 a line; a heading without numbers is passed over.

    Args:
        path: of the file.
        name_first: whether the name stands before the numbers or after them.

    Raises:
        UsageError: the file cannot be read, or a line is of another kind.
    """
    found = {}
    for position, line in enumerate(read_text(path).splitlines()):
        words = line.split()
        if not words or (position == 0 and not any(word.isdecimal() for word in words)):
            continue
        name, numbers = (words[0], words[1:]) if name_first else (words[-1], words[:-1])
        if len(numbers) != 3 or not all(word.isdecimal() and len(word) < 4 and int(word) < 256 for word in numbers):
            order = "a name and three numbers" if name_first else "three numbers"
            raise UsageError(
                f"{path}: line {position + 1} should be {order} 0..255{'' if name_first else ' and a name'}; it is "
                f"{line.strip()[:60]!r}"
            )
        found[tuple(map(int, numbers))] = name
    if not found:
        raise UsageError(f"{path}: no colours in it; replace the file")
    return found
