"""One line that says how far long work has come, how fast it goes and how long it will take."""

import sys
import time

_SECONDS_BETWEEN_LINES = 15  # where the output is no terminal


class Progress:
    """Progress over a known number of items, on standard error.

    On a terminal one line is rewritten; elsewhere (a log file) a line is added every 15 seconds.

    Args:
        label: what is being done.
        total: how many items there are.
        unit: what an item is, for the rate.
        done: items that were done before, which do not count for the rate.
    """

    def __init__(self, label: str, total: int, unit: str = "images", done: int = 0):
        self._label, self._total, self._unit = label, total, unit
        self._done = self._before = done
        self._start = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def advance(self, items: int = 1, note: str = ""):
        """Counts items; `note` is shown behind the label."""
        self._done += items
        now = time.monotonic()
        if now - self._shown >= (0.2 if self._terminal else _SECONDS_BETWEEN_LINES):
            self._shown = now
            self._write(self._line(note), "\r\033[K" if self._terminal else "", "" if self._terminal else "\n")

    def close(self):
        """Clears the line of a terminal."""
        if self._terminal:
            self._write("", "\r\033[K", "")

    def _line(self, note):
        elapsed = time.monotonic() - self._start
        rate = (self._done - self._before) / max(elapsed, 1e-9)
        left = format_seconds(max(self._total - self._done, 0) / rate) if rate else "?"
        return f"{self._label} {self._done}/{self._total}  {note}  {rate:.1f} {self._unit}/s  {left} left"

    @staticmethod
    def _write(text, before, after):
        sys.stderr.write(before + text + after)
        sys.stderr.flush()


def format_seconds(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
