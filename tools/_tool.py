"""What all tools share: they find the package beside them, take main.py's options and end as its commands do."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package need not be installed

from mtl_tf import config as configuration  # noqa: E402
from mtl_tf import flags  # noqa: E402
from mtl_tf.errors import exit_status  # noqa: E402
from mtl_tf.options import format_value  # noqa: E402


def run_tool(job, own=None, argv=None) -> int:
    """Runs a tool; the exit status is 0, or that of the error, which is one line on standard error.

    Args:
        job: function of the parsed command line (`flags.Parsed`); its module's docstring is the help.
        own: dataclass of the options that only this tool has.
        argv: the arguments; default: those of the process.

    The module's USES are the options of main.py that the tool uses: names, and sections such as "data".
    """
    uses = sys.modules[job.__module__].USES

    def takes(name, field):
        return any(f"{name}.".startswith(f"{used}.") for used in ("plugin", *uses))

    def run():
        parsed = flags.parse(sys.argv[1:] if argv is None else argv, own, takes=takes)
        if parsed.help:
            print(flags.help_text(sys.modules[job.__module__].__doc__, own, takes))
        else:
            job(parsed)

    return exit_status(run)


def given_options(parsed: flags.Parsed, without: tuple[str, ...] = ()) -> list[str]:
    """The options of main.py that a command line names, as arguments for another process."""
    given = parsed.given - set(without)
    values = configuration.values(parsed.config).items()
    return [f"--{name}={format_value(value)}" for name, value in values if name in given]
