"""The command line: who wins, what is refused and how it says so, and run.flags that describe a run exactly."""

import random
import re
from dataclasses import fields

import pytest

from mtl_tf import flags
from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.config import Config, differences, from_values, leaves, values
from mtl_tf.errors import UsageError
from mtl_tf.flags import help_text, parse, read_run_flags, run_flags
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.options import Entry, Section, format_value, option
from mtl_tf.tasks import KINDS
from tests.helpers import methods_for

LEAVES = leaves()


@pytest.fixture
def flag_file(tmp_path):
    """Writes a flag file and returns its path."""

    def write(name, *lines):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    return write


def refused(*argv):
    """The one line of a refusal."""
    with pytest.raises(UsageError) as error:
        parse(list(argv))
    assert "\n" not in str(error.value)
    return str(error.value)


# === Values ===


def test_nothing_given_is_the_default():
    parsed = parse([])
    assert parsed.config == Config()
    assert parsed.given == frozenset() and not parsed.help and parsed.own is None


@pytest.mark.parametrize("argv", [["--train.epochs=3"], ["--train.epochs", "3"], ["-train.epochs=3"]])
def test_forms_of_an_option(argv):
    parsed = parse(argv)
    assert parsed.config.train.epochs == 3
    assert parsed.given == {"train.epochs"}


@pytest.mark.parametrize("name", [name for name, field in LEAVES.items() if field.type is bool])
def test_booleans_both_ways(name):
    for argument, value in (
        (f"--{name}", True),
        (f"--no{name}", False),
        (f"--{name}=true", True),
        (f"--{name}=false", False),
        (f"--{name}=1", True),
        (f"--{name}=0", False),
    ):
        needed = [f"--{key}={method}" for key, method in methods_for(name).items()]
        assert values(parse([argument, *needed]).config)[name] is value, argument


def test_the_last_of_a_repeated_option_counts():
    assert parse(["--seed=1", "--seed=2"]).config.seed == 2


def test_lists_and_empty_values():
    config = parse(["--model.dilation=0,1,1", "--data.crop_size=64,96", "--data.image_size=", "--tasks=depth"]).config
    assert config.model.dilation == (0, 1, 1)
    assert config.data.crop_size == (64, 96)
    assert config.data.image_size == ()
    assert config.tasks == ("depth",)


def test_unnamed_options_come_from_the_base():
    base = from_values({"train.epochs": 5, "seed": 9})
    parsed = parse(["--seed=1"], base=base)
    assert (parsed.config.train.epochs, parsed.config.seed) == (5, 1)
    assert parsed.given == {"seed"}


# === Flag files ===


@pytest.mark.parametrize("position", range(3))
def test_the_command_line_wins_wherever_the_flag_file_stands(position, flag_file):
    path = flag_file("a.flags", "# a comment", "", "--seed=1", "  --train.epochs=7  ", "// another", "--nomodel.aspp")
    argv = ["--seed=2", "--data.limit=3"]
    argv.insert(position, f"--flagfile={path}")
    parsed = parse(argv)
    assert (parsed.config.seed, parsed.config.train.epochs, parsed.config.data.limit) == (2, 7, 3)
    assert parsed.config.model.aspp is False
    assert parsed.given == {"seed", "train.epochs", "data.limit", "model.aspp"}


def test_the_command_line_wins_with_a_default_and_with_a_boolean(flag_file):
    path = flag_file("a.flags", "--seed=1", "--nomodel.skip", "--data.cache")
    config = parse(["--seed=0", "--model.skip", "--nodata.cache", "--flagfile", path]).config
    assert (config.seed, config.model.skip, config.data.cache) == (0, True, False)


def test_a_later_file_wins_over_an_earlier_one(flag_file):
    first = flag_file("a.flags", "--seed=1", "--train.epochs=3")
    second = flag_file("b.flags", "--seed=2")
    assert parse([f"--flagfile={first}", f"--flagfile={second}"]).config.seed == 2
    config = parse([f"--flagfile={second}", "--data.limit=1", f"--flagfile={first}"]).config
    assert (config.seed, config.train.epochs) == (1, 3)


def test_a_file_may_name_another_at_its_place(flag_file):
    inner = flag_file("inner.flags", "--seed=1", "--train.epochs=2", "--data.limit=3")
    outer = flag_file("outer.flags", "--seed=7", f"--flagfile={inner}", "--train.epochs=8")
    config = parse([f"--flagfile={outer}"]).config
    assert (config.seed, config.train.epochs, config.data.limit) == (1, 8, 3)
    assert parse([f"--flagfile={outer}", "--data.limit=9"]).config.data.limit == 9
    # The same file twice, but not inside itself, is no circle.
    assert parse([f"--flagfile={inner}", f"--flagfile={outer}"]).config.seed == 1


@pytest.mark.parametrize("form", ["--flagfile={}", "--flagfile {}", "-flagfile={}"])
def test_a_nested_file_may_be_named_in_any_form(form, flag_file):
    inner = flag_file("inner.flags", "--seed=1")
    outer = flag_file("outer.flags", form.format(inner), "--train.epochs=8")
    config = parse([f"--flagfile={outer}", "--data.limit=2"]).config
    assert (config.seed, config.train.epochs, config.data.limit) == (1, 8, 2)
    assert parse(["--seed=5", f"--flagfile={outer}"]).config.seed == 5


def test_a_file_that_includes_itself_is_refused(flag_file, tmp_path):
    flag_file("b.flags", f"--flagfile={tmp_path / 'a.flags'}")
    path = flag_file("a.flags", f"--flagfile={tmp_path / 'b.flags'}")
    assert "includes itself" in refused(f"--flagfile={path}")


def test_flag_files_that_cannot_be_read(tmp_path, flag_file):
    missing = str(tmp_path / "missing.flags")
    assert refused(f"--flagfile={missing}") == f"cannot read flag file {missing}: No such file or directory"
    nested = flag_file("nested.flags", f"--flagfile={missing}")
    assert missing in refused(f"--flagfile={nested}")
    binary = tmp_path / "binary.flags"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in refused(f"--flagfile={binary}")
    assert "takes the path" in refused("--flagfile")
    assert "takes the path" in refused("--flagfile=")
    assert "expected --name=value, got 'train.epochs=2'" in refused(
        f"--flagfile={flag_file('stray.flags', 'train.epochs=2')}"
    )


# === Refusals ===


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("--train.epoch=2", "--train.epochs"),
        ("--trian.epochs=2", "--train.epochs"),
        ("--epochs=2", "--train.epochs"),
        ("--epoch=2", "--train.epochs"),
        ("--batch_size=2", "--train.batch_size"),
        ("--optim.lerning_rate=2", "--optim.learning_rate"),
        ("--model.architecure=joint", "--model.architecture"),
        ("--sed=2", "--seed"),
        ("--nomodel.asp", "--model.aspp"),
        ("--rundir=x", "--run_dir"),
    ],
)
def test_a_misspelt_option_gets_a_hint(wrong, right, flag_file):
    message = refused(wrong)
    name = wrong.lstrip("-").partition("=")[0]
    assert message.startswith(f"unknown flag --{name}; did you mean ")
    assert right in message.replace("?", " ").split()
    assert refused(f"--flagfile={flag_file('wrong.flags', wrong)}") == message


def test_every_option_of_that_last_part_is_offered():
    assert refused("--name=adam").endswith("did you mean --data.name or --optim.name?")


def test_what_resembles_nothing_points_to_the_help():
    assert refused("--xyzzy=2") == "unknown flag --xyzzy; see --helpshort for the options"


def test_a_negated_option_takes_no_value():
    assert refused("--nomodel.aspp=1") == "--nomodel.aspp=1 does not take an argument"


def test_an_unknown_option_may_be_long():
    assert refused(f"--{'x' * 10_000}=2").startswith("unknown flag --xxx")


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("--model.encoder=vgg", ("resnet18", "resnet50_keras", "vgg")),
        ("--train.epochs=two", ("a whole number", "two")),
        ("--train.epochs=0", ("at least 1", "0")),
        ("--train.epochs=", ("a whole number",)),
        ("--optim.learning_rate=fast", ("a number", "fast")),
        ("--optim.learning_rate=-1", ("at least 0", "-1")),
        ("--optim.momentum=1.5", ("at most 1", "1.5")),
        ("--model.aspp=maybe", ("true or false", "maybe")),
        ("--data.image_size=64", ("0 or 2 values", "64")),
        ("--model.dilation=0,0,2", ("0, 1", "2")),
    ],
)
def test_a_wrong_value_says_what_is_allowed(argument, parts, flag_file):
    message = refused(argument)
    name = argument.partition("=")[0]
    assert message.startswith(f"{name}: ") or message.startswith(f"{name} ")
    assert message.count(name.rpartition(".")[2].lstrip("-")) == 1
    for part in parts:
        assert part in message
    assert refused(f"--flagfile={flag_file('wrong.flags', argument)}") == message


def test_a_missing_value_is_refused():
    assert "seed" in refused("--seed")


def test_stray_arguments_are_refused():
    assert "unexpected argument 'train'" in refused("--seed=1", "train")
    assert "unexpected argument 'epochs=3'" in refused("epochs=3")


def test_contradictions_are_refused():
    assert "at least two" in refused("--model.architecture=distilled", "--tasks=depth")


# === Options of a tool ===


class TestOwnOptions:
    """A tool adds a section of its own."""

    @staticmethod
    def section():
        import dataclasses

        @dataclasses.dataclass(frozen=True)
        class Own(Section):
            part: str = option("train", "What is measured.", choices=("train", "data"))
            seconds: float = option(10.0, "How long, seconds.", minimum=0.0)

        return Own

    def test_they_are_read_beside_the_configuration(self):
        parsed = parse(["--part=data", "--seed=3"], own=self.section())
        assert (parsed.own.part, parsed.own.seconds, parsed.config.seed) == ("data", 10.0, 3)
        assert parsed.given == {"part", "seed"}

    def test_they_are_checked_and_hinted_at(self):
        with pytest.raises(UsageError, match="--part: takes one of train, data"):
            parse(["--part=all"], own=self.section())
        with pytest.raises(UsageError, match="did you mean --seconds"):
            parse(["--second=1"], own=self.section())

    def test_they_stand_in_the_help(self):
        text = help_text("tool", self.section())
        assert "--seconds" in text and "How long, seconds." in text and "--train.epochs" in text


# === run.flags ===


def random_value(field, dice):
    """Any value that the option allows and that is not its default."""
    metadata = field.metadata

    def element(kind):
        if metadata["choices"]:
            return dice.choice(tuple(metadata["choices"]))
        low = 0 if metadata["minimum"] is None else metadata["minimum"]
        high = low + 1000 if metadata["maximum"] is None else metadata["maximum"]
        if kind is int:
            return dice.randint(low, high)
        if kind is float:
            return dice.choice([low, high, dice.uniform(low, high), low + (high - low) * 10 ** -dice.uniform(0, 12)])
        if kind is Entry:
            return Entry(dice.choice(("semseg", "depth", "normals_2")), element(float))
        return "".join(dice.choices("ab/ .,=#-_'\"$\\\u00e9", k=dice.randint(0, 12))).strip()

    while True:
        if field.type is bool:
            value = dice.random() < 0.5 if field.default is None else not field.default
        elif field.type in (int, float, str):
            value = element(field.type)
        else:
            kind = field.type.__args__[0]
            # Lists of names and rates may not repeat themselves.
            value = tuple(dict.fromkeys(element(kind) for _ in range(dice.choice(metadata["lengths"] or (0, 1, 3)))))
            if field.name in ("dilation",):
                value = tuple(element(kind) for _ in range(3))
            if metadata["lengths"] and len(value) not in metadata["lengths"]:
                continue
        if value != field.default:
            return value


def random_balance(dice):
    """Options of balancing that go together: each method has some of its own."""
    scalarizer, aggregator = dice.choice(["fixed", "uw", "stch"]), dice.choice(["cagrad", "fairgrad", "graddrop"])
    own = [field.name for kind in (SCALARIZERS[scalarizer], AGGREGATORS[aggregator]) for field in fields(kind.Options)]
    named = {"balance.scalarizer": scalarizer, "balance.aggregator": aggregator, "balance.scale": "own"}
    named |= {
        name: random_value(LEAVES[name], dice) for name in (f"balance.{part}" for part in own) if dice.random() < 0.7
    }
    if "balance.alpha" in named:
        named["balance.alpha"] += 0.25  # 0 is the mean
    if scalarizer == "uw":
        named["balance.rate"] = dice.random() + 0.01
    return named


def random_configuration(seed):
    dice = random.Random(seed)
    named = {name: random_value(field, dice) for name, field in LEAVES.items() if not name.startswith("data.mix_")}
    further = dice.randint(0, 3)
    named["data.mix_names"] = tuple(dice.choices(tuple(LEAVES["data.name"].metadata["choices"]), k=further))
    named["data.mix_roots"] = tuple(f"a b/{dice.random()}" for _ in range(further))
    named["data.mix_weights"] = tuple(dice.random() + 0.01 for _ in range(dice.choice((0, further + 1))))
    named["data.mix_classes"] = tuple(f"a {dice.random()}=b,c" for _ in range(dice.randint(0, 2) if further else 0))
    named["augment.scale_min"], named["augment.scale_max"] = 0.25 + dice.random() / 3, 1.25 + dice.random() / 3
    named["model.skip"], named["model.skip_strides"] = True, (8, 2)  # falling, and only with skips
    named["augment.cutmix"], named["augment.classmix"] = dice.random() / 2, dice.random() / 2  # at most 1 together
    named["augment.cutmix_area"] = (dice.random() / 2, 1 - dice.random() / 2)
    named["optim.step_epochs"] = (2, 5) if named["optim.schedule"] == "step" else ()
    for name in ("model.encoder_weights", "model.weights"):
        named[name] = "a" + named[name]  # not empty
    named["model.encoder_weights" if seed % 2 else "model.weights"] = "none"  # one of them names the encoder
    if named["train.average"] == "swa":
        named["train.extend"] = ()  # its average is of the last epochs
    named["train.accumulate"], named["log.profile"] = 1, (3, 4)
    for name in ("data.train_split", "data.val_split", "data.split"):
        named[name] = "a" + re.sub(r"[/\\]", "", named[name])  # no way out of the data set
    named["tasks"] = tuple(dice.sample(("semseg", "depth", "lanes_2"), dice.randint(0, 3)))
    named["plugin"] = ()  # files would be run
    named |= {name: LEAVES[name].default for name in named if name.startswith("balance.")} | random_balance(dice)
    named["train.batch_size"] += 1  # pasting needs a partner
    for name in ("arch.invpt.embed", "arch.invpt.extra"):
        named[name] = 8 * (named[name] or 1)  # parted by eight
    if len(named["tasks"]) < 2:
        # Some choices need both tasks.
        named["model.architecture"], named["train.best_metric"] = "branched", "loss"
        named["augment.classmix"] = 0.0
    others = [name for name in named if name.startswith("arch.") and name.split(".")[1] != named["model.architecture"]]
    named |= {name: LEAVES[name].default for name in others}
    for name, field in LEAVES.items():
        if field.type == tuple[str, ...]:
            named[name] = tuple(each or "a" for each in named[name])  # none of them is empty
    return from_values(named)


# What a copy of a run must not repeat.
NOT_SAVED = {"run_dir", "input", "output", "scale", "weights", "baseline", "train.resume", "train.fresh"}


@pytest.mark.parametrize("seed", range(20))
def test_run_flags_describe_any_configuration_exactly(seed, tmp_path):
    config = random_configuration(seed)
    path = tmp_path / "run.flags"
    path.write_text(run_flags(config, "made by a test\nof two lines"), encoding="utf-8")
    found, expected, default = values(read_run_flags(path)), values(config), values(Config())
    for name in LEAVES:
        assert found[name] == (default if name in NOT_SAVED else expected)[name], name
        assert type(found[name]) is type(expected[name]), name


def test_run_flags_name_every_option_but_the_ones_of_one_command_and_those_not_set():
    config = Config()
    text = run_flags(config, "header")
    assert text.startswith("# header\n")
    named = re.findall(r"^--([a-z0-9_.]+)=", text, flags=re.MULTILINE)
    assert named == [name for name, value in values(config).items() if name not in NOT_SAVED and value is not None]
    assert "balance.every" in named and "balance.c" not in named


def test_run_flags_can_be_overridden(tmp_path):
    path = tmp_path / "run.flags"
    path.write_text(run_flags(from_values({"seed": 4, "data.limit": 5})))
    config = parse(["--data.limit=6", f"--flagfile={path}", "--run_dir=copy"]).config
    assert (config.seed, config.data.limit, config.run_dir) == (4, 6, "copy")


# === Help ===


@pytest.mark.parametrize("argument", ["--help", "--helpshort", "--helpfull", "-h", "-help"])
def test_help_is_recognised_anywhere(argument):
    assert parse(["--seed=1", argument]).help
    assert parse([argument, "--no_such_option=1"]).help


def test_help_lists_every_option_with_help_default_and_choices():
    text = help_text("main.py train --option=value ...")
    assert text.startswith("main.py train --option=value ...\n")
    entries = dict(re.findall(r"^  --([a-z0-9_.]+)\n((?:      .*\n)+)", text, flags=re.MULTILINE))
    assert list(entries) == list(LEAVES)
    for name, field in LEAVES.items():
        entry = " ".join(entries[name].split())
        assert field.metadata["help"] in entry, name
        default = values(Config())[name]
        shown = {True: "true", False: "false"}[default] if isinstance(default, bool) else default
        if isinstance(default, tuple):
            shown = ",".join(map(format_value, default))
        shown = {"": "empty", None: "unset"}.get(shown, shown)
        assert f"(default: {shown}" in entry, name
        if field.metadata["choices"]:
            assert "one of: " + ", ".join(map(str, field.metadata["choices"])) in entry, name
    assert max(map(len, text.splitlines())) <= 100


def test_help_is_in_sections():
    text = help_text("usage")
    headings = re.findall(r"^([a-z_.]+):$", text, flags=re.MULTILINE)
    own = [f"arch.{name}" for name, kind in ARCHITECTURES.items() if kind.Options]
    tasks = [f"task.{kind.kind}" for kind in KINDS.values() if kind.Options]
    rest = ["balance", "optim", "train", "log"]
    assert headings == ["general", "data", "augment", "model", *own, "loss", *tasks, *rest]


def test_flags_import_no_tensorflow():
    """So that help and wrong usage answer at once."""
    import subprocess
    import sys

    code = "import sys, mtl_tf.flags as f; f.parse(['--seed=1']); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=flags.__file__.rpartition("mtl_tf")[0]).returncode == 0


# === Names from before, and of one entry ===


@pytest.mark.parametrize(
    ("arguments", "weights", "loss"),
    [
        (["--loss.semseg_weight=0.2", "--loss.weights=normals:3"], "semseg:0.2,depth:0.5,normals:3.0", "l2"),
        (["--loss.weights=depth:2,depth:3", "--loss.depth", "l1"], "semseg:0.5,depth:3.0", "l1"),
        (["--loss.weights.edges=4", "--loss.weights.edges=5"], "semseg:0.5,depth:0.5,edges:5.0", "l2"),
    ],
)
def test_names_from_before_and_of_one_entry(arguments, weights, loss):
    config = parse(arguments).config
    assert (format_value(config.loss.weights), config.task["depth"].loss) == (weights, loss)


def test_of_a_name_from_before_and_one_of_today_the_command_line_wins(tmp_path):
    file = tmp_path / "old.flags"
    file.write_text("--loss.semseg_weight=0.2\n--loss.depth_weight=0.3\n--loss.depth_space=log\n")
    found = parse(["--loss.weights=semseg:1", f"--flagfile={file}", "--task.depth.space=linear"]).config
    assert format_value(found.loss.weights) == "semseg:1.0,depth:0.3"
    assert found.task["depth"].space == "linear"
    # A value of an older name is checked as that of today, and named so.
    with pytest.raises(UsageError, match=r"task.depth.space.* takes one of linear, log; got 'cubic'"):
        parse(["--loss.depth_space=cubic"])


def test_a_run_of_before_and_one_of_today_are_the_same(tmp_path):
    file = tmp_path / "run.flags"
    file.write_text("--loss.semseg_weight=0.5\n--loss.depth_weight=0.5\n--loss.depth=l2\n--loss.depth_space=linear\n")
    assert not differences(read_run_flags(file), from_values({"data.fit": "stretch", "data.val_by": "sample"}))
    assert parse([f"--flagfile={file}"]).config == Config()
