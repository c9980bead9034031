"""`--balance.OPTION`: which options there are, what is refused before data are read, and the balance of a run."""

import dataclasses
import subprocess
import sys
import types

import numpy as np
import pytest

import mtl_tf
from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.balancing import AGGREGATORS, SCALARIZERS, Balance, balance_of, scalarize
from mtl_tf.config import Config, from_values, leaves, value_of, values
from mtl_tf.config.balance import check_options
from mtl_tf.config.kinds import methods
from mtl_tf.errors import UsageError
from mtl_tf.study.plan import identity
from mtl_tf.tuning.space import read_space
from tests.helpers import ROOT, as_built_in, in_this_process, one_line_error

LEAVES = {name.removeprefix("balance."): field for name, field in leaves().items() if name.startswith("balance.")}
COMMON = [field.name for field in dataclasses.fields(Config().balance) if field.name != "options"]


def config_of(**options):
    """The configuration of options of balancing, `tasks`, and others by their dotted names."""
    return from_values(
        {key if "." in key or key == "tasks" else f"balance.{key}": value for key, value in options.items()}
    )


def refusal(job, *args, **kwargs):
    with pytest.raises(UsageError) as error:
        job(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


# === Which options there are ===


@pytest.mark.parametrize(("method", "kind"), methods())
def test_every_option_of_a_method_is_one_of_balance(method, kind):
    check_options(kind)
    for field in dataclasses.fields(kind.Options):
        leaf = LEAVES[field.name]
        assert leaf.default is None and leaf.type == field.type
        shown = configuration.format_value(field.default)
        assert f"{method}: {field.metadata['help']} ({shown or 'empty'})" in leaf.metadata["help"]


def test_there_are_no_others():
    own = {field.name for _, kind in methods() for field in dataclasses.fields(kind.Options)}
    assert set(LEAVES) == own | set(COMMON) and not own & set(COMMON)


def test_bounds_are_the_widest_of_all_methods_and_choices_those_of_any():
    assert LEAVES["max_norm"].metadata["minimum"] == 0.0
    assert LEAVES["beta"].metadata["maximum"] is None  # of db_mtl there is none in the table
    assert LEAVES["leak"].metadata["maximum"] == 1.0
    assert LEAVES["rescale"].metadata["choices"] == (0, 1, 2)
    assert LEAVES["init"].metadata["minimum"] is None  # auto_lambda has one, uw none


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import mtl_tf.config", ""),
        ("from mtl_tf.commands import main; main(['train', '--helpshort'])", "--balance.max_norm"),
        ("from mtl_tf.commands import main; main(['train', '--balance.aggregator=cagard'])", ""),
        ("from mtl_tf.balancing import Balance; Balance(3, 'uw', 'cagrad', smooth=0.5).state", ""),
    ],
)
def test_options_help_and_refusals_need_no_tensorflow(code, expected):
    code += "; import sys; sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and expected in done.stdout


# === An option that is not set ===


def test_what_is_not_set_is_the_methods_own():
    config = config_of(aggregator="cagrad")
    assert value_of(config, "balance.c") is None and config.balance.made().aggregator.options.c == 0.4
    assert config_of(aggregator="cagrad", c=0.5).balance.made().aggregator.options.c == 0.5
    assert config_of(aggregator="cagrad", c="") == config_of(aggregator="cagrad", c=None) == config


def test_an_option_goes_to_the_method_that_has_it():
    made = config_of(scalarizer="dwa", aggregator="db_mtl", temperature=3, beta=0.9).balance.made()
    assert (made.scalarizer.options.temperature, made.aggregator.options.beta) == (3.0, 0.9)
    assert made.aggregator.input == "rows"


def test_run_flags_keep_what_is_set_and_what_is_not(tmp_path):
    file = tmp_path / "run.flags"
    config = config_of(aggregator="graddrop", leak=(0.25, 0.5), scalarizer="uw", half=False, rate=0.1)
    text = flags.run_flags(config)
    assert "--balance.leak=0.25,0.5\n" in text and "--balance.half=false\n" in text and "--balance.c=" not in text
    file.write_text(text)
    assert values(flags.read_run_flags(file)) == values(config)
    assert flags.parse(flags.arguments_of(config)).config == config


def test_a_run_from_before_there_was_balancing_is_one_of_today(tmp_path):
    file = tmp_path / "run.flags"
    kept = [line for line in flags.run_flags(Config()).splitlines() if not line.startswith("--balance.")]
    file.write_text("\n".join(kept))
    assert flags.read_run_flags(file) == Config()
    assert not configuration.differences(flags.read_run_flags(file), Config())
    assert "balance" not in identity(Config())
    assert "--balance.c=0.5" in identity(config_of(aggregator="cagrad", c=0.5)).splitlines()


def test_a_plugin_that_comes_later_adds_options_to_configurations_of_before():
    before = config_of(aggregator="cagrad", c=0.5)
    with as_built_in():

        @mtl_tf.register
        class Mine(mtl_tf.Aggregator):
            name = "mine"

            @dataclasses.dataclass(frozen=True)
            class Options(mtl_tf.Section):
                keen: int = mtl_tf.option(3, "how keen", minimum=1)

            def weights(self, state, gramian, active, share, draws=None, losses=None):
                return share, state

        assert values(before)["balance.keen"] is None and value_of(before, "balance.c") == 0.5
        parsed = flags.parse(["--balance.aggregator=mine", "--balance.keen=4"], base=Config()).config
        assert parsed.balance.made(2).aggregator.options.keen == 4
        assert leaves()["balance.keen"].metadata["help"] == "mine: how keen (3)."
    assert "balance.keen" not in leaves() and before == config_of(aggregator="cagrad", c=0.5)


# === Searches and studies ===


def test_an_option_of_a_method_is_searched(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('[balance]\nc = {low = 0.1, high = 1.0}\naggregator = ["cagrad"]\nrescale = [0, 1]\n')
    space = read_space(str(file))
    assert space.names == ("balance.c", "balance.aggregator", "balance.rescale")
    chosen = {"balance.c": 0.3, "balance.aggregator": "cagrad", "balance.rescale": "1"}
    options = space.apply(Config(), chosen).balance.made().aggregator.options
    assert (options.c, options.rescale) == (0.3, 1)


def test_what_is_not_set_cannot_be_multiplied(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('"train.batch_size" = {values = [2, 4], multiply = {"balance.c" = [1, 0.5]}}\n')
    space = read_space(str(file))
    message = refusal(space.apply, config_of(aggregator="cagrad"), {"train.batch_size": "4"})
    assert message == "balance.c has no value that multiply could change; set it on the command line"
    found = space.apply(config_of(aggregator="cagrad", c=0.5), {"train.batch_size": "4"})
    assert value_of(found, "balance.c") == 0.25


# === What does not go together ===

CAGRAD = dict(aggregator="cagrad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(aggregator="cagard"), "aggregator takes one of none, mgda, "),
        (dict(aggregator="cagard"), "got 'cagard': did you mean cagrad?"),
        (dict(scalarizer="log", aggregator="mgda", c=1), "balance.c=1.0 is an option of cagrad, but"),
        (dict(alpha=1), "balance.alpha=1.0 is an option of gradnorm, fairgrad, but balance.scalarizer=fixed and"),
        (dict(aggregator="fairgrad", scalarizer="gradnorm", alpha=1), "could be meant for gradnorm or for fairgrad"),
        (dict(aggregator="fairgrad", alpha=0), "balance: fairgrad: alpha must be above 0"),
        (dict(aggregator="moco", beta=2), "balance: moco: beta must be at most 1.0, got 2.0"),
        (dict(scalarizer="famo", aggregator="moco"), "balance: scalarizer famo and aggregator moco control one"),
        (dict(aggregator="pcgrad", smooth=0.5), "balance: smooth averages no weights of pcgrad; set smooth=0, or"),
        (dict(smooth=0.5), "balance: smooth averages no weights of none"),
        (dict(smooth=1.0, **CAGRAD), "smooth must be at most 0.999999, got 1.0"),
        (dict(rate=0.1), "balance: rate is that of learned weights, and fixed learns none; leave it out, or take uw"),
        (dict(rate=-1), "rate must be at least 0.0"),
        (dict(preference="depth:1"), "balance.preference=depth:1.0 does not enter balance.aggregator=none; weigh"),
        (dict(preference="depth:1", aggregator="mgda"), "does not enter balance.aggregator=mgda; weigh the losses"),
        (dict(preference="depth:0,semseg:0", **CAGRAD), "is 0 for all tasks"),
        (
            {"preference": "depht:1", "tasks": ("semseg", "depth"), **CAGRAD},
            "names depht, which is not trained; the tasks are semseg, depth",
        ),
        (dict(every=0, **CAGRAD), "every must be at least 1, got 0"),
        (dict(every=2), "balance.every=2 is of the aggregator, and balance.aggregator=none has no weights"),
        (dict(every=2, aggregator="graddrop"), "balance.every=2 needs weights of a Gramian alone, but graddrop needs"),
        (dict(every=2, aggregator="db_mtl", beta=0.9), "but db_mtl needs the rows themselves"),
        (dict(every=2, aggregator="modo"), "but modo needs two halves of each batch"),
        (dict(groups="layer"), "balance.groups=layer is of the aggregator"),
        (dict(groups="layer", aggregator="moco"), "balance.groups=layer needs weights of a Gramian alone"),
        (dict(groups="layer", aggregator="sdmgrad"), "but sdmgrad needs two halves of each batch"),
        (dict(groups="layer", specific="weighted", **CAGRAD), "balance.specific=weighted (cagrad: weighted) needs one"),
        (dict(groups="layer", aggregator="mgda"), "balance.specific=auto (mgda: weighted) needs one; set"),
        (dict(groups="layer", source="features", **CAGRAD), "features are of no layer"),
        (dict(source="features"), "balance.source=features is of the aggregator"),
        (dict(source="features", aggregator="excess"), "but excess needs the rows themselves"),
        (dict(source="features", aggregator="modo"), "but modo needs two halves"),
        (dict(specific="unweighted"), "balance.specific=unweighted is of the aggregator"),
        (dict(every=4, groups="layer", **CAGRAD), "balance.groups=layer and balance.every=4: between"),
        ({"source": "features", "aggregator": "mgda", "train.xla": True}, "cannot be compiled by train.xla"),
        (dict(source="features", aggregator="mgda", scalarizer="gradnorm"), "gradnorm needs gradients by parameters"),
        ({"scalarizer": "auto_lambda", "model.recompute": True}, "auto_lambda needs gradients at other weights"),
        ({"aggregator": "modo", "train.batch_size": 1}, "compares the halves of a batch, but train.batch_size=1"),
        ({"aggregator": "sdmgrad", "train.accumulate": 3}, "train.accumulate=3 parts make no halves; make it even"),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_configuration_is_made(options, message):
    assert message in refusal(config_of, **options)


@pytest.mark.parametrize(
    "options",
    [
        dict(every=4, aggregator="db_mtl"),
        dict(every=4, smooth=0.9, **CAGRAD),
        dict(groups="layer", smooth=0.9, **CAGRAD),
        dict(groups="layer", specific="unweighted", aggregator="mgda"),
        dict(source="features", aggregator="pcgrad"),
        dict(specific="weighted", aggregator="modo"),
        {"aggregator": "modo", "train.accumulate": 4, "train.batch_size": 2},
        {"aggregator": "upgrad", "preference": "lanes:1,depth:0", "train.xla": True},
        dict(scalarizer="gradnorm", aggregator="fairgrad", rate=0.1),
    ],
)
def test_what_goes_together(options):
    assert config_of(**options).balance.made(2)


def test_a_wrong_balance_is_one_line_of_the_command(tmp_path):
    given = ["--balance.aggregator=moco", "--balance.every=2", "--data.root=nowhere", f"--run_dir={tmp_path / 'run'}"]
    done = in_this_process("train", *given)
    assert done.returncode == 2 and "balance.every=2 needs weights" in one_line_error(done.returncode, done.stderr)
    assert not (tmp_path / "run").exists()


# === The balance of a run ===


def task(name, weight=0.5, negative=False):
    return types.SimpleNamespace(name=name, standard_weight=weight, loss_may_be_negative=negative)


TASKS = (task("semseg"), task("depth"), task("lanes", 2.0))


def test_the_preference_is_that_of_the_losses():
    assert balance_of(Config(), TASKS).preference == (0.5, 0.5, 2.0)
    config = from_values({"loss.weights": "depth:0.25", "balance.aggregator": "mgda"})
    assert balance_of(config, TASKS).preference == (0.5, 0.25, 2.0)


def test_a_preference_of_its_own_keeps_the_sum_of_the_weights():
    config = config_of(preference="semseg:1,depth:2,lanes:3", **CAGRAD)
    assert balance_of(config, TASKS).preference == (0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("options", "tasks", "message"),
    [
        (
            dict(preference="semseg:1,depth:2", **CAGRAD),
            TASKS,
            "has no number for lanes; the tasks are semseg, ",
        ),
        (dict(aggregator="graddrop", leak="0.1,0.2"), TASKS, "balance: graddrop: leak takes one number or 3"),
        (dict(aggregator="pcd", primary=3), TASKS, "balance: pcd: primary is the index of a task, 0 to 2"),
        (dict(scalarizer="stch", reference="1,2"), TASKS, "balance: stch: reference takes 3 numbers"),
    ],
)
def test_what_does_not_go_with_the_tasks_is_refused(options, tasks, message):
    assert message in refusal(balance_of, config_of(**options), tasks)


@pytest.mark.parametrize("name", list(SCALARIZERS))
def test_losses_that_may_be_negative_are_refused_where_they_mean_nothing(name):
    signed = (*TASKS, task("signed", negative=True))
    if SCALARIZERS[name](4).positive:
        message = refusal(balance_of, config_of(scalarizer=name), signed)
        assert f"balance.scalarizer={name} takes losses of at least 0, but that of signed may be negative" in message
        assert ("set balance.base below" in message) == (name == "famo")
    else:
        assert balance_of(config_of(scalarizer=name), signed).count == 4


def test_famo_takes_them_above_its_base():
    signed = (task("signed", negative=True),)
    assert balance_of(config_of(scalarizer="famo", base=-2), signed).scalarizer.floor == -2


@pytest.mark.parametrize(("chosen", "meant"), [("auto", "weighted"), ("unweighted", "unweighted")])
def test_auto_is_what_the_authors_do(chosen, meant):
    config = config_of(aggregator="mgda", specific=chosen)
    assert config.balance.specific_of(config.balance.made(2).aggregator) == meant


# === The rate of learned weights ===


def test_the_rate_is_as_published_unless_it_is_given():
    learned = {name: kind.rate for name, kind in SCALARIZERS.items() if kind.rate}
    assert learned == {"uw": 0.025, "imtl_l": 0.025, "famo": 0.025, "gradnorm": 0.025, "auto_lambda": 1e-4}
    for rate, expected in ((None, 0.025), (0.5, 0.5)):
        state = {}
        scalarize("imtl_l", [3.0, 2.0], state=state, **({} if rate is None else dict(rate=rate)))
        np.testing.assert_allclose(state["log_scale"], -expected, rtol=1e-6)  # Adam's first step
    assert config_of(scalarizer="uw", rate=0.5).balance.made().scalarizer.rate == 0.5
    assert config_of(scalarizer="uw").balance.made().scalarizer.rate == 0.025


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [
        ("log", 0.1, "rate is that of learned weights, and log learns none"),
        ("uw", 0, "rate takes a number above 0, got 0"),
        ("uw", -1.0, "rate takes a number above 0, got -1.0"),
    ],
)
def test_a_rate_that_is_none_is_refused(name, rate, message):
    assert message in refusal(scalarize, name, [1.0, 2.0], rate=rate)


def test_a_balance_without_a_number_of_tasks_checks_all_the_rest():
    for name in AGGREGATORS:
        assert Balance(None, aggregator=name).aggregator.count is None
    assert "control one quantity" in refusal(Balance, None, "famo", "db_mtl")
