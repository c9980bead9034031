"""What a run does about values that are not finite: steps are passed over or end it, weights are never saved."""

from collections.abc import Sequence

from mtl_tf.atomic import write_json
from mtl_tf.config import Config
from mtl_tf.errors import DivergedError
from mtl_tf.training.nonfinite import LOSS_SCALE, Skipped, broken_sample, broken_variable, reason_of
from mtl_tf.training.run_directory import RunDirectory
from mtl_tf.training.runtime import Runtime
from mtl_tf.training.state import State
from mtl_tf.training.summaries import as_arrays


class Guard:
    """Looks at the steps and the weights of a run.

    Args:
        config: of the run.
        run: its directory; skipped.csv and diverged.json are written.
        machine: where it is.
        state: how far the run is.
        ids: of the samples.
        saved: whose `variables` have to be finite before they are saved.
    """

    def __init__(
        self, config: Config, run: RunDirectory, machine: Runtime, state: State, ids: Sequence[str], saved: Sequence
    ):
        self._config, self._run, self._machine, self._state = config, run, machine, state
        self._ids, self._saved = ids, saved
        self._skipped = Skipped(run.path, run.home, state.step)
        (run.path / "diverged.json").unlink(missing_ok=True)

    def counts(self) -> dict[str, int]:
        """How many steps were passed over, by their kind."""
        return self._skipped.counts()

    def without_loss(self, after: int) -> int:
        """How many steps after this one had no loss."""
        return self._skipped.after(after)

    def note_loss_scale(self):
        """The step under way changed nothing, since float16's loss scale was too large."""
        self._skipped.add(self._state.step + 1, LOSS_SCALE)

    def pass_over(self, batch, losses: dict[str, float], gradient: str) -> DivergedError | None:
        """A step that changed no weight, since its loss or a gradient is not finite; every process comes here.

        Args:
            batch: of the step.
            losses: of the step, by name.
            gradient: the variable whose gradient is not finite.

        Returns:
            None where the step is noted and the run goes on; else the error that is to end it.
        """
        self.demand_finite_weights()
        arrays = as_arrays(self._machine.strategy, batch)
        share = [self._ids[index] for index in arrays["index"].tolist()]
        shares = self._machine.exchange([share, broken_sample(arrays, share)])
        samples = [sample for share, _ in shares for sample in share]
        reason = reason_of([found for _, found in shares], losses["loss"], gradient)
        step, allowed = self._state.step, self._config.train.skip_non_finite
        named = ", ".join(f"{name} {value}" for name, value in losses.items())
        told = f"non-finite {reason} at step {step + 1} ({named}), samples {', '.join(samples)}"
        if self._skipped.in_a_row(step) < allowed:
            self._skipped.add(step + 1, reason, samples)
            print(f"passed over: {told}", flush=True)
            return None
        return self._diverged(
            f"{told}; everything up to step {step} is saved: start a new run with a lower "
            f"--optim.learning_rate (now {self._config.optim.learning_rate}), or pass over such steps with the same "
            f"command and --train.skip_non_finite=N in a row (now {allowed})",
            {"samples": samples, "losses": {name: repr(value) for name, value in losses.items()}, "reason": reason},
        )

    def demand_finite_weights(self):
        """Raises a DivergedError if something is not finite that is to be saved: it could not be trained on."""
        broken = broken_variable(variable for thing in self._saved for variable in thing.variables)
        if broken:
            state = self._state
            kept = f"the last checkpoint, of step {state.saved_step}" if state.saved_step else "its beginning"
            raise self._diverged(
                f"{broken} is not finite after step {state.step}, and was not saved: the same command continues from "
                f"{kept}; should it end here again, start a new run with a lower --optim.learning_rate (now "
                f"{self._config.optim.learning_rate})",
                {"samples": [], "losses": {}, "reason": broken},
            )

    def _diverged(self, told, found):
        write_json(self._run.path / "diverged.json", {"step": self._state.step + 1, **found})
        return DivergedError(f"training diverged: {told}")
