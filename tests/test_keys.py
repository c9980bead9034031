"""Values of a file by key: what each kind takes, what is said of anything else, and hints at what was meant."""

import datetime
import math

import pytest

from mtl_tf import keys
from mtl_tf.errors import UsageError, did_you_mean


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (keys.string, ["", "a\nb"], [1, None, ["a"]]),
        (keys.text, ["a\nb"], ["", " ", 1]),
        (keys.line, ["a b"], ["", "a\nb", 1]),
        (keys.one_of("a", "b"), ["a"], ["", "c", 1, ["a"]]),
        (keys.strings, [[], ["a", "a", ""]], ["a", [1], {}]),
        (keys.names, [[], ["a", "b"]], ["ab", ["a", "a"], [""], [1]]),
        (keys.boolean, [True, False], [0, 1, "true"]),
        (keys.whole, [0, 7], [True, -1, 1.0, "1"]),
        (keys.number, [0, -1.5], [True, math.inf, math.nan, "1"]),
        (keys.positive, [1, 0.5], [True, 0, -1, math.inf, "1"]),
        (keys.table, [{}, {"a": 1}], [[], "a"]),
        (keys.tables, [[], [{}]], [{}, [1]]),
    ],
)
def test_a_kind_takes_what_it_says(kind, good, bad):
    for value in good:
        found = keys.Keys("FILE", {"a": value}, ["a"]).take("a", kind)
        assert (list(found) if isinstance(found, tuple) else found) == value
    for value in [*bad, datetime.date(2020, 2, 2)]:
        with pytest.raises(UsageError) as error:
            keys.Keys("FILE", {"a": value}, ["a"], "b.").take("a", kind, default=None)
        assert str(error.value).startswith(f'FILE: "b.a" should be {kind.__doc__}; it is ')
        assert str(error.value).endswith(": edit the file")


def test_what_is_missing_has_its_default_or_is_said_to_be():
    entry = keys.Keys("FILE", {}, ["a"])
    assert entry.take("a", keys.text, default=None) is None
    assert entry.take_all({"a": keys.text}, needed=()) == {}
    with pytest.raises(UsageError, match='FILE: "a" should be a text that is not empty; it is missing: edit the file'):
        entry.take_all({"a": keys.text}, needed=("a",))


def test_a_text_is_told_from_what_it_says():
    with pytest.raises(UsageError, match='should be a number; it is "2"'):
        keys.Keys("FILE", {"a": "2"}, ["a"]).take("a", keys.number)


def test_objects_of_a_list_are_called_by_their_names():
    top = keys.Keys("FILE", {"table": [{"name": "A"}, {"rows": [{"name": "x"}, {}]}]}, ["table"])
    found = top.each("table", ": table", ["name", "rows"])
    assert [entry.place for entry in found] == ["FILE: table A", "FILE: table 2"]
    rows = found[1].each("rows", ", row", ["name"])
    assert [entry.place for entry in rows] == ["FILE: table 2, row x", "FILE: table 2, row 2"]
    assert found[0].each("rows", ", row", ["name"]) == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("name", "did you mean data.name or optim.name?"),
        ("sed", "did you mean seed?"),
        ("rat", "did you mean optim.rate?"),
        ("xyzzy", ""),
    ],
)
def test_what_may_have_been_meant(name, hint):
    known = ["seed", "data.name", "optim.name", "optim.rate"]
    assert did_you_mean(name, known) == hint
    assert did_you_mean(name, known, "there are others") == f"{hint} there are others".strip()
