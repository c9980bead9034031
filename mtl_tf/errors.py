"""The errors a command turns into one line and an exit status."""


class MtlError(Exception):
    """Base of the errors with an exit status of their own; the text is the one line that a user reads."""

    exit_status = 2


class UsageError(MtlError, ValueError):
    """Wrong usage, configuration, data or file: says what was expected, what came, and how to repair it."""

    exit_status = 2


class DivergedError(MtlError):
    """Training met a non-finite loss; checkpoints up to the last good state are kept."""

    exit_status = 3


class StoppedError(MtlError):
    """Training was stopped early by a signal or a lost worker; the same command continues it."""

    exit_status = 4
