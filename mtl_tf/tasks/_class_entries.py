"""What dataset.json says of class maps: classes by name or by a list in a file, their colours, what is stored."""

from mtl_tf import keys
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.storage import files
from mtl_tf.storage.class_lists import read_classes
from mtl_tf.storage.strange import LARGEST

ENCODINGS = ("index", "colour")
SMALLEST = -128  # number that may be stored
OTHER, IGNORE = "other", "ignore"  # in values: every other stored value; no class


def entries_of(entry: keys.Keys) -> dict:
    """The attributes of `ClassLabels` that a section has, but for those that are measured."""
    encoding = entry.take("encoding", keys.one_of(*ENCODINGS), default="index")
    classes, palette, values = _classes(entry, encoding)
    if not classes or len(classes) > 255:
        entry.fail("classes", "1 to 255 names", f"{len(classes)} names")
    if len(palette) != len(classes):
        entry.fail("palette", f"one colour for each of the {len(classes)} classes", f"{len(palette)} colours")
    ignore = entry.take("ignore", keys.whole, default=255)
    if not len(classes) <= ignore <= 255:
        entry.fail("ignore", f"a value of no class, {len(classes)}..255", ignore)
    if encoding == "colour" and len(set(palette)) < len(palette):
        entry.fail("palette", "different colours, since classes are read by colour", "one colour twice")
    values |= dict(entry.take("values", _named, default=()))
    for value, name in values.items():
        if value != OTHER and not _is_stored(value, encoding):
            kind = (
                f'whole numbers "{SMALLEST}" to "{LARGEST}"' if encoding == "index" else 'colours such as "128,64,128"'
            )
            entry.fail("values", f'an object whose keys are {kind}, or "{OTHER}"', value)
        if name not in (*classes, IGNORE):
            known = f'an object whose values are names of classes ({some(classes)}), or "{IGNORE}"'
            hint = did_you_mean(name, (*classes, IGNORE))
            entry.fail("values", known, f'"{name}" for "{value}"{f" ({hint})" if hint else ""}')
    if values and IGNORE in classes:
        entry.fail("classes", f'names other than "{IGNORE}", which means no class in {entry.prefix}values', IGNORE)
    found = dict(classes=classes, palette=palette, ignore=ignore, encoding=encoding, values=tuple(values.items()))
    return found | {"key": entry.take("key", keys.text, default="")}


def _classes(entry, encoding):
    """Names and colours of the classes, and the stored values that they say something of."""
    if not isinstance(entry.content.get("classes"), str):
        return entry.take("classes", keys.names), entry.take("palette", _colours), {}
    path = files.join(files.folder_of(entry.place), entry.take("classes", keys.text))
    listed = read_classes(path)
    named = [name for name, _ in listed]
    coloured = [colour for _, colour in listed if colour]
    if len(set(named) - {IGNORE}) < len(named) - named.count(IGNORE):
        raise UsageError(f"{path}: a class of one name twice; expected different names")
    if coloured and len(coloured) < len(listed):
        raise UsageError(f"{path}: {len(coloured)} of {len(listed)} classes have a colour; expected all, or none")
    classes = tuple(name for name in named if name != IGNORE)
    colours = tuple(colour for name, colour in listed if colour and name != IGNORE)
    values = {}
    if IGNORE in named and encoding == "colour":
        values = {",".join(map(str, colour)): IGNORE for name, colour in listed if colour and name == IGNORE}
    elif IGNORE in named:
        values = {str(number): name for number, name in enumerate(named)}
    has_colours = colours and "palette" not in entry.content
    return classes, colours if has_colours else entry.take("palette", _colours), values


def some(names) -> str:
    """The first names, and how many there are if they are many."""
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")


def _is_stored(value, encoding):
    """Whether a key of `values` is a number, or a colour, as a label file may hold."""
    parts = value.split(",") if encoding == "colour" else [value]
    numbers, count = (range(256), 3) if encoding == "colour" else (range(SMALLEST, LARGEST + 1), 1)
    return len(parts) == count and all(_is_whole(part) and int(part) in numbers for part in parts)


def _is_whole(text):
    """Whether a text is a whole number as it is written: no zeros before it, no other digits."""
    return len(text) < 8 and text.removeprefix("-").isdecimal() and str(int(text)) == text


def shares(value):
    """a list of shares, 0..1, not all 0"""
    found = keys.numbers(value)
    if not all(0 <= share <= 1 for share in found) or not any(found):
        raise ValueError
    return found


def _named(value):
    """an object of stored values and names of classes, such as {"0": "ignore", "1": "road", "other": "ignore"}"""
    if not isinstance(value, dict) or not value:
        raise ValueError
    return tuple((keys.text(key), keys.text(entry)) for key, entry in value.items())


def _colours(value):
    """a list of RGB colours, each three whole numbers 0..255"""
    if not isinstance(value, list) or not all(isinstance(colour, list) and len(colour) == 3 for colour in value):
        raise ValueError
    if any(keys.whole(part) > 255 for colour in value for part in colour):
        raise ValueError
    return tuple(map(tuple, value))
