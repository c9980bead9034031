"""Damage that knows what it damages: in JSON and TOML values of other types, keys of others, numbers without bounds."""

import copy
import json
import math

import numpy as np

WEIRD = (
    *(None, True, False, 0, -1, 1, 255, 256, 2**31, 2**60, 2**63, -(2**63), 10**400, 0.0, -0.0, 1e308, 5e-324),
    *(
        math.nan,
        math.inf,
        -math.inf,
        "",
        " ",
        "\n",
        "a\nb",
        "a,b",
        "\u2028",
        "\x1b[31m",
        "\ud800",
        "\x00",
        "\U0001f600",
    ),
    *("\u0663", "1e999", "0x10", "1_0", "-", "none", "true", "nan", "{}", "%s", "x" * 300, "y" * 70_000),
    *("../../outside", "/outside", "a/../../b", "<script>alert(1)</script>", '"', "'", "--seed=3", "# a", "imagenet"),
    *([], {}, [[]], [None], {"": {}}, [1] * 300, [[[[[]]]]], ["a", "a"], [0.5, "b"]),
)


def pick(random: np.random.Generator, choices):
    """One of several things, of any types."""
    return choices[int(random.integers(len(choices)))]


def weird(random: np.random.Generator):
    """A value that belongs nowhere."""
    value = copy.deepcopy(pick(random, WEIRD))
    if random.random() < 0.02:  # deeper than Python's own limits
        for _ in range(int(random.integers(20, 100))):
            value = [value] if random.random() < 0.5 else {"a": value}
    return value


def _places(tree, found=None):
    """(container, key) of every value below the root."""
    found = [] if found is None else found
    if isinstance(tree, dict | list):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            found.append((tree, key))
            _places(value, found)
    return found


def damage_tree(random: np.random.Generator, tree, keys=()):
    """A copy with one to four changes.

    Args:
        random: what it draws from.
        tree: dicts, lists and values.
        keys: names that stand for something elsewhere.
    """
    tree = copy.deepcopy(tree)
    for _ in range(int(random.choice([1, 1, 1, 2, 4]))):
        places = _places(tree)
        if not places:
            return weird(random)
        container, key = pick(random, places)
        other, other_key = pick(random, places)
        kind = int(random.integers(8))
        if kind < 2:
            container[key] = weird(random)
        elif kind == 2:
            del container[key]
        elif kind == 3:
            container[key] = copy.deepcopy(other[other_key])
        elif kind == 4 and isinstance(container, dict):
            names = [*keys, *(str(name) for _, name in places), "", "a.b", "../x", "x" * 200, "\n", "é"]
            container[pick(random, names)] = container.pop(key)
        elif kind == 5:
            container[key] = [container[key]]
        elif kind == 6:
            container[key] = str(container[key])[:1000]
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(other[other_key]) if random.random() < 0.5 else container[key])
        elif isinstance(container, dict) and keys:
            container[pick(random, keys)] = weird(random)
    return tree


def json_bytes(random: np.random.Generator, tree) -> bytes:
    """A tree as JSON, with NaN and lone surrogates where it has them; now and then a key twice, or very deep."""
    text = json.dumps(tree, ensure_ascii=bool(random.integers(2)))
    kind = random.random()
    colons = [place for place, sign in enumerate(text[:5000]) if sign == ":"]
    if kind < 0.05 and colons:
        place = text.rindex('"', 0, pick(random, colons) - 1 + 1)
        start = text.rindex('"', 0, place) if '"' in text[:place] else place
        text = f"{text[:start]}{text[start : place + 1]}: 1, {text[start:]}"
    elif kind < 0.08 and colons:
        place, depth = pick(random, colons) + 1, int(random.choice([40, 900, 2000, 100_000]))
        text = text[:place] + "[" * depth + "]" * depth + "," + text[place:]
    elif kind < 0.1:
        text = text.replace("1", "1" * int(random.choice([20, 400, 6000])), 1)
    return text.encode("utf-8", "surrogatepass")


def toml_bytes(random: np.random.Generator, tree) -> bytes:
    """A tree as TOML, one line a key; what TOML has not (null, other keys) becomes no TOML."""
    lines = (
        [f"{_key(random, key)} = {_toml(value)}" for key, value in tree.items()] if isinstance(tree, dict) else ["a"]
    )
    if random.random() < 0.03:
        lines.append(".".join(["a"] * int(random.choice([50, 3000]))) + " = 1")
    if random.random() < 0.03:
        depth = int(random.choice([40, 900, 50_000]))
        lines.append("deep = " + "[" * depth + "]" * depth)
    if random.random() < 0.03:
        lines.append(f"long = {pick(random, ['9' * 6000, '0x' + 'f' * 6000, '1e' + '9' * 20, '1979-05-27'])}")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _key(random, key):
    plain = str(key).replace(".", "").isalnum()
    return key if plain and random.random() < 0.5 else json.dumps(str(key), ensure_ascii=False)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k), ensure_ascii=False)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")
