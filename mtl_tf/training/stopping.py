"""Stopping in good order: SIGTERM and SIGINT ask, the run leaves at its next safe place."""

import contextlib
import signal

from mtl_tf.errors import StoppedError

ELSEWHERE = -1


class StopSignal:
    """While entered, the first SIGTERM or SIGINT is noted; a second one ends the process at once.

    Attributes:
        asked: the number of the signal that came, or 0.
    """

    def __init__(self):
        self.asked = 0
        self._before = {}

    def __enter__(self):
        self.listen()
        return self

    def listen(self):
        """Takes the signals, again where a library has taken them since (TensorFlow's cluster does)."""
        with contextlib.suppress(ValueError):  # outside the main thread the caller decides
            for number in (signal.SIGTERM, signal.SIGINT):
                before = signal.signal(number, self._note)
                self._before.setdefault(number, before)

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.asked = number
        signal.signal(number, signal.SIG_DFL)

    def leave_if_asked(self, where: str):
        """Raises a StoppedError, which says where the run stands, if a signal came."""
        if self.asked:
            raise StoppedError(f"stopped by {self._name()} {where}")

    def ask(self):
        """Notes that another process was asked to stop."""
        self.asked = self.asked or ELSEWHERE

    def _name(self):
        return "a signal to another worker" if self.asked == ELSEWHERE else signal.Signals(self.asked).name
