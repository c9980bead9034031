"""What all tools share: they find the package beside them, take main.py's options and end as its commands do."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package need not be installed

from mtl_tf import flags  # noqa: E402
from mtl_tf.errors import MtlError  # noqa: E402


def run_tool(job, own=None, argv=None) -> int:
    """Runs a tool; the exit status is 0, or that of the error, which is one line on standard error.

    Args:
        job: function of the parsed command line (`flags.Parsed`); its module's docstring is the help.
        own: dataclass of the options that only this tool has.
        argv: the arguments; default: those of the process.
    """
    try:
        parsed = flags.parse(sys.argv[1:] if argv is None else argv, own)
        if parsed.help:
            print(flags.help_text(sys.modules[job.__module__].__doc__, own))
        else:
            job(parsed)
        return 0
    except MtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has had enough; nothing more can be said
        return 0
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'a file'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 4
