"""The errors a command turns into one line and an exit status."""

import contextlib
import difflib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

_LONGEST = 2000  # characters of an error


def one_line(text: str) -> str:
    """A text as it is shown: line breaks and control characters that came with the data escaped, the middle cut."""
    return _cut(_escaped(_cut(text)))


def _cut(text):
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 500]} ... {text[-400:]}"


def _escaped(text):
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


class MtlError(Exception):
    """Base of the errors with an exit status of their own; the text is the one line that a user reads."""

    exit_status = 2

    def __str__(self):
        return one_line(super().__str__())


class UsageError(MtlError, ValueError):
    """Wrong usage, configuration, data or file: says what was expected, what came, and how to repair it."""

    exit_status = 2


class DivergedError(MtlError):
    """Training met a non-finite loss; checkpoints up to the last good state are kept."""

    exit_status = 3


class StoppedError(MtlError):
    """Training was stopped early by a signal or a lost worker; the same command continues it."""

    exit_status = 4


def did_you_mean(name: str, known: Iterable[str], rest: str = "", sign: str = "") -> str:
    """The hint "did you mean ...?" for a name that is not known, and the rest; only that where nothing is like it.

    Args:
        name: what a person wrote; may be dotted.
        known: the names that there are. All with the same last part are offered, else the one that is most like it, or
            those whose last part is.
        rest: what follows.
        sign: put before a name, as "--".
    """
    last = {each: each.rpartition(".")[2] for each in known}
    part = name.rpartition(".")[2]
    found = [each for each in last if last[each] == part] or difflib.get_close_matches(name, last, n=1)
    if not found:
        close = difflib.get_close_matches(part, last.values(), n=1)
        found = [each for each in last if last[each] in close]
    hint = f"did you mean {' or '.join(sign + each for each in found)}?" if found else ""
    return f"{hint} {rest}".strip()


@contextlib.contextmanager
def said_of(place: str) -> Iterator[None]:
    """Inside, a UsageError says first what it is about: a file, an option, a row."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def exit_status(job: Callable[[], None]) -> int:
    """Runs a command or a tool; a user's mistake becomes one line on standard error, never a traceback.

    Returns:
        0 done; 2 wrong usage, configuration, data or file; 3 training diverged; 4 stopped early, resumable.
    """
    with contextlib.suppress(AttributeError, ValueError):  # what is printed may hold any file's name
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _ending_in_order():
            job()
        return 0
    except MtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has had enough; nothing more can be said
        return 0
    except OSError as error:
        # A full disk or a vanished folder, wherever it struck; what was complete stays.
        where = error.filename or "a file"
        print(f"error: {one_line(f'{error.strerror or error}: {where}')}; repair it and run again", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"error: {_OUT_OF_MEMORY}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 4
    except Exception as error:
        line = _tensorflow_line(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2


@contextlib.contextmanager
def _ending_in_order():
    """Inside, SIGTERM ends the work as Ctrl-C does, so that what is half written is removed; training takes it over."""
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice; TensorFlow's ResourceExhaustedError is also raised for a full disk."""
    text = str(getattr(error, "message", ""))
    return isinstance(error, MemoryError) or "memory" in text.lower() or "OOM" in text


# Training and `predict` know more, and say more.
_OUT_OF_MEMORY = "out of memory; free memory, or use a machine with more; smaller pictures and batches need less"


def _tensorflow_line(error):
    """One line for an error of TensorFlow's kernels or file system; None for any other."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    text = " ".join(str(error.message).split())[:300]
    if isinstance(error, tensorflow.errors.ResourceExhaustedError):
        return f"{_OUT_OF_MEMORY} ({text})" if is_out_of_memory(error) else text
    return f"TensorFlow: {type(error).__name__}: {text}"
