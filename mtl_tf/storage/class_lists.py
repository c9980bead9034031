"""Lists of classes as labelling programs and data sets write them: a name a line or a row, many with a colour."""

import csv

from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.texts import read_text

Colour = tuple[int, int, int]

# As CVAT, the makers of CamVid, labelme and others call them; the first that is there is meant.
FILE_NAMES = ("labelmap.txt", "class_dict.csv", "class_names.txt", "label_colors.txt", "classes.txt", "classes.csv")

_NAME, _RED, _GREEN, _BLUE = ("name", "class", "label", "class_name"), ("r", "red"), ("g", "green"), ("b", "blue")
_HEADINGS = ("name", "class_name")  # of files with one column


def find_classes(folder: str) -> str:
    """The path of the list of classes in a folder; "" where there is none."""
    paths = (files.join(folder, name) for name in FILE_NAMES)
    return next(filter(files.is_file, paths), "")


def read_classes(path: str) -> list[tuple[str, Colour | None]]:
    """The classes of a list: name, and colour or None.

    A line is `name`, `name 128 64 128`, `128 64 128 name`, the same with commas, semicolons or tabs, or CVAT's
    `name:128,64,128:parts:actions`. A heading such as `name,r,g,b` says what columns are; others are passed over. Lines
    that begin with # are comments.

    Raises:
        UsageError: the file cannot be read, a line has no name or no such colour, or there is no class in it.
    """
    lines = [(place, line.strip()) for place, line in enumerate(read_text(path).lstrip("\ufeff").splitlines(), 1)]
    lines = [(place, line) for place, line in lines if line and not line.startswith("#")]
    if lines and lines[0][1].lower() in _HEADINGS:
        lines = lines[1:]
    columns = _columns(lines[0][1]) if lines else None
    found = []
    for place, line in lines[1:] if columns else lines:
        try:
            found.append(_by_columns(_cells(line), columns) if columns else parse_class(line))
        except (ValueError, IndexError):
            raise UsageError(
                f"{path}: line {place} should be a name, or a name and a colour of three numbers 0..255; it is "
                f"{line[:60]!r}: correct it"
            ) from None
    if not found:
        raise UsageError(f"{path}: no classes in it; expected a name a line, with a colour or without")
    return found


def _cells(line):
    """The parts of a line: of one with three commas, semicolons or tabs between these, else between blanks."""
    sign = next((sign for sign in ",;\t" if line.count(sign) > 2), None)
    cells = next(csv.reader([line], delimiter=sign, skipinitialspace=True)) if sign else line.split()
    return [cell.strip() for cell in cells]


def _columns(line):
    """Where name, red, green and blue stand by a heading; None where the line is none."""
    cells = [cell.lower() for cell in _cells(line)]
    places = [next((cells.index(name) for name in names if name in cells), -1) for names in (_RED, _GREEN, _BLUE)]
    if -1 in places:
        return None
    others = [place for place in range(len(cells)) if place not in places]
    named = [place for place in others if cells[place] in _NAME] or others
    return [named[0], *places] if named else None


def _by_columns(cells, columns):
    name, *colour = (cells[place] for place in columns)
    return _named(name), _colour(colour)


def parse_class(line: str) -> tuple[str, Colour | None]:
    """Name and colour in a line, see `read_classes`; raises a ValueError where there is no name, or a wrong colour."""
    name, *rest = line.split(":")
    if rest and rest[0].count(",") == 2:  # CVAT
        return _named(name), _colour(rest[0].split(","))
    cells = _cells(line)
    if len(cells) > 3:
        for colour, words in ((cells[-3:], cells[:-3]), (cells[:3], cells[3:])):
            if all(cell.isdecimal() for cell in colour):
                return _named(" ".join(words)), _colour(colour)
    return _named(line.rstrip(",;")), None


def _named(name):
    if not name:
        raise ValueError
    return name


def _colour(cells):
    found = tuple(map(int, cells))
    if len(found) != 3 or not all(0 <= part <= 255 for part in found):
        raise ValueError
    return found
