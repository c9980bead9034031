"""The command line: one absl flag per leaf of the configuration, and `run.flags`.

absl alone lets a later flag file override the command line, leaves with status 1, hides the flags of other modules
from `--helpshort` and gives no hint for a misspelt nested name; this module mends those four.
"""

import dataclasses
import os
import pathlib
import re
import textwrap
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags as absl_flags

from mtl_tf import config as configuration
from mtl_tf.config import Config
from mtl_tf.errors import UsageError, did_you_mean, one_line
from mtl_tf.options import Entry, Section, coerce, format_value, merged, quoted, unquoted

_HELP = ("help", "helpshort", "helpfull", "h")
_NESTED = re.compile(r"--?flagfile(?:\s*=|\s)\s*(.*)")

# What would make a copy of a run overwrite it, or undo its continuation, is not written to run.flags.
_NOT_SAVED = ("run_dir", "input", "output", "scale", "weights", "baseline", "train.resume", "train.fresh")


class Parsed(NamedTuple):
    """What a command line says: configuration, a tool's own options, the names given, whether help is asked for."""

    config: Config
    own: Any
    given: frozenset[str]
    help: bool


class _OptionParser(absl_flags.ArgumentParser):
    """Lets absl convert a flag by the rules of the configuration's leaf."""

    def __init__(self, field):
        self.field = field
        self.syntactic_help = ""

    def parse(self, argument):
        return coerce(self.field, argument)

    def flag_type(self):
        return "option"


class _OptionSerializer(absl_flags.ArgumentSerializer):
    def serialize(self, value):
        return format_value(value)


class _AddedUp(absl_flags.Flag):
    """A flag that adds to what it was given before: entries, of which it changes those it names, or files."""

    def parse(self, argument):
        before = self.value if self.present else ()
        super().parse(argument)
        entries = self.value and isinstance(self.value[0], Entry)
        self.value = merged(before, self.value) if entries else (*before, *self.value)


def _define(fields: dict[str, dataclasses.Field]) -> absl_flags.FlagValues:
    flag_values = absl_flags.FlagValues()
    absl_flags.DEFINE_multi_string(
        "flagfile", [], "File of flags; the command line overrides it.", flag_values=flag_values
    )
    for name, field in fields.items():
        boolean = field.type is bool
        added_up = name == "plugin" or field.type == tuple[Entry, ...]
        flag = (_AddedUp if added_up else absl_flags.Flag)(
            _OptionParser(field),
            _OptionSerializer(),
            name,
            field.default,
            field.metadata["help"],
            boolean=boolean,
        )
        absl_flags.DEFINE_flag(flag, flag_values, module_name=__name__)  # absl would look for it in the stack
    return flag_values


# Of an option's dotted name and field, whether a command or a tool takes it.
Takes = Callable[[str, dataclasses.Field], bool]


def parse(
    argv: list[str], own: type[Section] | None = None, base: Config | None = None, takes: Takes | None = None
) -> Parsed:
    """Reads a command line.

    Args:
        argv: the arguments after the command's name. `--flagfile=FILE` may stand anywhere; flags given on the command
            line win over those in files, and later files over earlier ones.
        own: a dataclass of further options (tools have some).
        base: the configuration that unnamed options are taken from (default: the defaults).
        takes: which options of the configuration the command takes; others may stand in files only. None = all.

    Returns:
        The configuration, the tool's own options, the dotted names that were given, and whether help is asked for.

    Raises:
        UsageError: an unknown flag (with a hint), a value that is not allowed, a stray argument, an unreadable file,
            an option that the command does not take.
    """
    arguments = _with_plugins(argv)
    fields = configuration.leaves() | (configuration.leaves(own) if own else {})
    if any(argument.lstrip("-") in _HELP for argument in argv if argument.startswith("-")):
        return Parsed(base or Config(), own() if own else None, frozenset(), True)
    flag_values = _define(fields)
    try:
        # Unknown ones are left to us: absl looks for similar names in a time that grows with the square of the length.
        rest = flag_values(["", *_by_leaf(arguments)], known_only=True)[1:]
    except (absl_flags.Error, ValueError) as error:
        raise UsageError(_one_line(error, fields)) from None
    if rest:
        raise UsageError(_not_understood(rest[0], fields))
    given = frozenset(name for name in fields if flag_values[name].present)
    named = {name: flag_values[name].value for name in given}
    own_names = set(configuration.leaves(own)) if own else set()
    if takes:
        _refuse_others(argv, fields, takes, own_names)
    changes = {name: value for name, value in named.items() if name not in own_names}
    config = configuration.from_values(configuration.changed(configuration.values(base) if base else {}, changes))
    of_own = {name: value for name, value in named.items() if name in own_names}
    return Parsed(config, configuration.built(own, of_own) if own else None, given, False)


def _refuse_others(argv, fields, takes, own_names):
    """Raises a UsageError if the command line itself names an option that the command does not take."""
    direct = _define(fields)
    direct(["", *_by_leaf(_direct(argv))], known_only=True)
    for name in fields:
        if direct[name].present and name not in own_names and not takes(name, fields[name]):
            of = fields[name].metadata["of"]
            whose = f"; it is an option of {', '.join(of)}" if of else ""
            raise UsageError(f"--{name} is not used here{whose}; leave it out (--helpshort lists what is)")


def _direct(argv):
    """The arguments but for flag files."""
    found, arguments = [], iter(argv)
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            found.append(argument)
        elif not equals:
            next(arguments, None)
    return found


def _with_plugins(argv):
    """The arguments with those of flag files, after the plugins that they name are loaded: they add options."""
    arguments = _expand_flagfiles(argv, configuration.leaves())
    paths = []
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--plugin", "-plugin"):
            value = value if equals else "".join(arguments[position + 1 : position + 2])
            paths += coerce(configuration.leaves()["plugin"], value)
    if paths:
        from mtl_tf import plugins  # which needs the options

        plugins.load(*paths)
    return arguments


def _by_leaf(arguments):
    """The arguments by the names of leaves, where they have older names or that of one entry: --loss.weights.NAME=1."""
    found, arguments = [], iter(arguments)
    for argument in arguments:
        name, equals, value = argument.lstrip("-").partition("=")
        leaf, entry = configuration.leaf_of(name)
        if leaf != name and argument.startswith("-"):
            value = value if equals else next(arguments, "")
            argument = f"--{leaf}={entry}:{value}" if entry else f"--{leaf}={value}"
        found.append(argument)
    return found


def _expand_flagfiles(argv, fields):
    """The arguments with the contents of every flag file in front, so that the command line is read last and wins."""
    from_files, direct, position = [], [], 0
    while position < len(argv):
        argument = argv[position]
        name, equals, path = argument.partition("=")
        if name in ("--flagfile", "-flagfile"):
            if not equals:
                position += 1
                path = argv[position] if position < len(argv) else ""
            from_files += _read_flagfile(path, (), fields)
        else:
            direct.append(argument)
        position += 1
    return from_files + direct


def _read_flagfile(path, above, fields):
    if not path:
        raise UsageError("--flagfile takes the path of a file of flags: --flagfile=configs/NAME.flags")
    path = os.path.expanduser(path)
    if path in above:
        raise UsageError(f"flag file {path} includes itself")
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:  # bytes that are no UTF-8, a path that can be none
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UsageError(f"cannot read flag file {path}: {reason}") from None
    found = []
    for line in map(str.strip, lines):
        if not line or line.startswith(("#", "//")):
            continue
        if not line.startswith("-"):
            raise UsageError(f"flag file {path}: expected --name=value, got {line!r}")
        nested = _NESTED.fullmatch(line)
        if nested:
            found += _read_flagfile(unquoted(nested[1]), (*above, path), fields)
        else:
            found.append(_without_quotes(line, fields))
    return found


def _without_quotes(line, fields):
    """A line whose value is what a shell would have made of it; the values of a list keep theirs."""
    name, equals, value = line.partition("=")
    field = fields.get(name.lstrip("-"))
    if not equals or (field and isinstance(field.type, types.GenericAlias) and not value.startswith("'")):
        return line
    return f"{name}={unquoted(value)}"


def _not_understood(argument, fields):
    name = argument.lstrip("-").partition("=")[0]
    if not argument.startswith("-") or not name:
        return f"unexpected argument {argument!r}; options are written --name=value (see --helpshort)"
    return f"unknown flag --{name}; {did_you_mean(name, fields, sign='--') or 'see --helpshort for the options'}"


def _one_line(error, fields):
    text = " ".join(str(error).split())
    # absl puts "flag --NAME=VALUE: " before the leaf's own message, which repeats the last part of the name.
    head, separator, message = text.partition(": ")
    name = head.removeprefix("flag --").partition("=")[0]
    if separator and name in fields:
        return f"--{name}: {message.removeprefix(name.rpartition('.')[2]).strip()}"
    return text


def run_flags(config: Config, header: str = "") -> str:
    """The text of run.flags: every option of a run but its directory, one flag a line; none for what is not set."""
    lines = [f"# {one_line(line)}" for line in header.splitlines()]
    for name, value in configuration.values(config).items():
        if name not in _NOT_SAVED and value is not None:
            lines.append(f"--{name}={quoted(value) if isinstance(value, str) else format_value(value)}")
    return "\n".join(lines) + "\n"


def arguments_of(config: Config) -> list[str]:
    """The same options as arguments of a process."""
    values = configuration.values(config).items()
    return [f"--{name}={format_value(value)}" for name, value in values if name not in _NOT_SAVED and value is not None]


def read_run_flags(path: str | pathlib.Path) -> Config:
    """The configuration that a run.flags describes; an option that is younger than it means what runs did then."""
    before = {name: field.metadata["before"] for name, field in configuration.leaves().items()}
    base = configuration.from_values({name: value for name, value in before.items() if value is not None})
    return parse([f"--flagfile={path}"], base=base).config


def help_text(usage: str, own: type[Section] | None = None, listed: Takes | None = None) -> str:
    """The options with help, default and choices, by section: the own ones, and those of main.py that are `listed`."""
    lines = [usage, ""]
    section = None
    fields = {name: field for name, field in configuration.leaves().items() if not listed or listed(name, field)}
    for name, field in {**(configuration.leaves(own) if own else {}), **fields}.items():
        if name.rpartition(".")[0] != section:
            section = name.rpartition(".")[0]
            lines += ["", f"{section or 'general'}:"]
        metadata = field.metadata
        default = "unset" if field.default is None else format_value(field.default) or "empty"
        notes = [f"default: {default}"]
        if metadata["choices"]:
            notes.append("one of: " + ", ".join(map(str, metadata["choices"])))
        lines.append(f"  --{name}")
        lines += textwrap.wrap(
            f"{metadata['help']} ({'; '.join(notes)})",
            100,
            initial_indent="      ",
            subsequent_indent="      ",
        )
    return "\n".join(lines) + "\n"
