"""The training run, from a configuration to a finished run directory, in the order in which it happens."""

import contextlib
import statistics
import time

import numpy as np
import tensorflow as tf

from mtl_tf.atomic import WriteError, write_json
from mtl_tf.config import Config
from mtl_tf.data.fingerprint import fingerprint
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.plausibility import look
from mtl_tf.data.sets import describe_training, open_training, open_validation
from mtl_tf.data.sets.settle import settled
from mtl_tf.errors import DivergedError, MtlError, UsageError
from mtl_tf.evaluation import finite
from mtl_tf.models import build_model
from mtl_tf.models.weights import load_pretrained
from mtl_tf.options import format_value
from mtl_tf.progress import Progress, format_seconds
from mtl_tf.training import headline, runtime
from mtl_tf.training.checkpoints import Checkpoints
from mtl_tf.training.cluster import Cluster, cluster, noticing_lost_workers
from mtl_tf.training.memory import naming_what_to_lower
from mtl_tf.training.nonfinite import FILE_NAME, LOSS_SCALE, Skipped, broken_sample, broken_variable, reason_of
from mtl_tf.training.profiling import Profile
from mtl_tf.training.run_directory import RunDirectory, Table, continued, open_directory
from mtl_tf.training.schedules import learning_rate_at
from mtl_tf.training.step import build_step
from mtl_tf.training.stopping import StopSignal
from mtl_tf.training.summaries import Summaries, as_arrays
from mtl_tf.training.usage import Usage
from mtl_tf.training.validation import Validation


def train(config: Config) -> dict:
    """Trains a network, or continues to, and returns what metrics.json holds.

    Raises:
        UsageError: the configuration, the data or the run directory is wrong.
        DivergedError: a loss was not finite.
        StoppedError: a signal stopped it; everything is saved.
    """
    config = settled(config, continued(config))
    processes = cluster()
    with open_directory(config, chief=not processes.worker) as run, StopSignal() as stop:
        training = None

        def where():
            return training.where() if training else "before the first step"

        with noticing_lost_workers(processes, config.run_dir, where), naming_what_to_lower(config, where):
            training = _Training(config, run, stop, processes)
            return training.run()


class _Training:
    def __init__(self, config: Config, run: RunDirectory, stop: StopSignal, processes: Cluster):
        self.config, self.run_directory, self.stop = config, run, stop
        self.runtime = runtime.start(config, processes)
        self.strategy = self.runtime.strategy
        self.stop.listen()

        # === Data ===
        descriptor = describe_training(config.data)
        self.tasks = descriptor.tasks(config)
        self.data = TrainingData(open_training(config, descriptor), config, descriptor)
        validated = EvaluationData(open_validation(config, descriptor), config, descriptor)
        samples = {"training": fingerprint(self.data.source), "validation": fingerprint(validated.source)}
        self.steps_per_epoch = self.data.steps_per_epoch
        self.steps = self.steps_per_epoch * config.train.epochs
        if config.log.profile and config.log.profile[1] > self.steps:
            raise UsageError(
                f"log.profile={format_value(config.log.profile)} ends after the last step of the run, {self.steps}; "
                "choose earlier steps"
            )

        # === Network and optimiser ===
        with self.strategy.scope():
            self.model = build_model(config.model, self.tasks)
            self.step_function = build_step(self.strategy, self.model, self.tasks, config)
        self.optimizer, self.averaging = self.step_function.optimizer, self.step_function.averaging
        self.parameters = sum(int(np.prod(variable.shape)) for variable in self.model.trainable_variables)
        self.validation = Validation(
            config, self.tasks, self.model, self.runtime, validated, self.data, self.averaging, run.path
        )

        # === Run directory: only now is anything written to it, by the chief first ===
        chief = self.runtime.cluster.worker == 0
        for turn in (chief, not chief):
            if turn:
                run.claim(descriptor, samples)
            self.runtime.exchange(None)

        # === State: all that continuing needs besides the network ===
        self.step = self.saved_step = 0
        self.validated_epochs = 0
        # Losses of the epoch so far, summed over its steps.
        self.loss_names = ["loss", *(f"loss_{task.name}" for task in self.tasks)]
        self.loss_sums = np.zeros(len(self.loss_names))
        self.saved_state = tf.Variable(np.zeros(4 + len(self.loss_names)), dtype=tf.float64, trainable=False)
        averages = {"best_averaged": self.validation.best_averaged, **self.averaging.state}
        self.checkpoints = Checkpoints(
            run.path / "checkpoints",
            config.train.keep_checkpoints,
            run.home / "checkpoints",
            model=self.model,
            optimizer=self.optimizer,
            state=self.saved_state,
            loss_scale=self.step_function.loss_scale,
            good_steps=self.step_function.good_steps,
            **(averages if self.averaging.on else {}),
        )
        self.wait_seconds = self.step_seconds = 0.0
        self.profile = Profile(run.path / "events", config.log.profile)
        # Whether all processes know that one was asked to stop: they leave at the end of a step, together.
        self.together = self.runtime.cluster.workers == 1
        self.usage = Usage(run.path / "timing.json", self.runtime.devices)

    # === The run ===

    def run(self) -> dict:
        self.stop.leave_if_asked("before the first step; the same command starts it")
        restored = self.checkpoints.restore()
        if restored:
            self._unpack_state()
            self.usage.read()
        else:
            self._start_weights()
            self.averaging.start()
        self._demand_one_start()
        if self._complete() and (self.run_directory.home / "metrics.json").exists():
            print(f"{self.run_directory.home} is finished: {self.step} steps; --train.fresh starts it anew")
            return {}
        begin = f"{self.run_directory.home} {f'continues after step {self.step}' if restored else 'starts'}"
        validated = self.validation.data.source
        told = headline.lines(self.config, begin, self.parameters, self.data, validated, self.runtime)
        print(*told, sep="\n", flush=True)
        for text in look(self.data.source):
            print(f"warning: {text}", flush=True)
        self.metrics_table = Table(self.run_directory.path / "metrics.csv", self.validated_epochs, "epoch")
        if self.config.train.best_metric == "loss":
            # A run that an earlier version began has kept another sum.
            losses = {row["epoch"]: row["val_loss"] for row in self.metrics_table.rows()}
            if (best := losses.get(self.validation.best_epoch)) is not None:
                self.validation.best_score = -best
        self.steps_table = Table(self.run_directory.path / "steps.csv", self.step)
        self.skipped = Skipped(self.run_directory.path, self.run_directory.home, self.step)
        self.summaries = Summaries(self.run_directory.path / "events", self.config.log.tensorboard, self.step)
        (self.run_directory.path / "diverged.json").unlink(missing_ok=True)
        with contextlib.closing(self.summaries), self.profile:
            self._train()
        result = self._result()
        write_json(self.run_directory.path / "metrics.json", result)
        self.runtime.exchange(None)
        return result

    def _demand_one_start(self):
        """Each process has taken the newest checkpoint that it can read."""
        steps = self.runtime.exchange(self.step)
        if len(set(steps)) > 1:
            raise UsageError(
                f"the workers of {self.run_directory.home} have read different checkpoints, workers 0, 1, ... those of "
                f"steps {', '.join(map(str, steps))} (0: none); see that all find the same files there, then run the "
                "same command on all again"
            )

    def _start_weights(self):
        report = load_pretrained(self.model, self.config.model)
        if report:
            print(report)

    # === Steps ===

    def _train(self):
        """Trains from the current step on and validates wherever an epoch ends."""
        batch_size = self.config.train.batch_size
        batches = iter(self.runtime.distribute(lambda share: self.data.dataset(self.step, share)))
        progress = Progress("training", self.steps * batch_size, "images", self.step * batch_size)
        while not self._complete():
            while self.step < (self.validated_epochs + 1) * self.steps_per_epoch:
                self._one_step(batches, progress)
            progress.close()
            self._finish_epoch()

    def _complete(self):
        """Whether all epochs are done, or the best one lies too far back (train.patience)."""
        patience = self.config.train.patience
        waited = self.validated_epochs - self.validation.last_best()
        return self.validated_epochs == self.config.train.epochs or (patience and waited >= patience)

    def _frozen(self):
        return self.config.train.encoder_frozen(self.validated_epochs + 1)

    def _one_step(self, batches, progress):
        self.profile.before(self.step + 1)
        rate = learning_rate_at(self.config.optim, self.step, self.steps_per_epoch, self.config.train.epochs)
        self.optimizer.learning_rate.assign(rate)
        before = time.perf_counter()
        batch = self._next(batches)
        waited = time.perf_counter() - before
        several = self.runtime.cluster.workers > 1
        asked = tf.constant(float(self.stop.asked != 0)) if several else None
        losses = {name: float(value) for name, value in self.step_function(batch, self._frozen(), asked).items()}
        if losses.pop("asked", 0.0):
            self.stop.ask()
            self.together = True
        seconds = time.perf_counter() - before
        good, updated, broken = (losses.pop(name) for name in ("good", "updated", "broken_gradient"))
        if not good:
            self._pass_over(batch, losses, int(broken))
        elif not updated:
            self.skipped.add(self.step + 1, LOSS_SCALE)
        self.step += 1
        self.profile.after(self.step)
        self.wait_seconds += waited
        self.step_seconds += seconds
        if good:
            self.loss_sums += [losses[name] for name in self.loss_names]
        note = f"epoch {self._epoch()}/{self.config.train.epochs}  loss {losses['loss']:.4f}"
        progress.advance(self.config.train.batch_size, note)
        self._log_step(batch, losses, rate, seconds, waited)
        at_epoch_end = self.step % self.steps_per_epoch == 0
        if self.step % self.config.train.checkpoint_every == 0 and not at_epoch_end:
            self._save()
        self._leave_if_stopped()

    def _next(self, batches):
        try:
            with self.data.naming_errors():
                return next(batches)
        except UsageError:
            self._save_what_is_new()  # no step is under way
            raise

    def _log_step(self, batch, losses, rate, seconds, waited):
        every, panels = self.config.log.every, self.config.log.panels_every
        if self.step % every == 0 or self.step == self.steps:
            losses = finite(losses)
            row = {"step": self.step, "epoch": self._epoch(), **losses, "learning_rate": rate}
            speed = {
                "images_per_second": round(self.config.train.batch_size / seconds, 3),
                "step_ms": round(seconds * 1e3, 2),
                "wait_ms": round(waited * 1e3, 2),
            }
            self.steps_table.append(row | speed | {"skipped": sum(self.skipped.counts().values())})
            named = {f"train/{name}": value for name, value in losses.items()}
            self.summaries.scalars(named | {"learning_rate": rate, **speed}, self.step)
        if panels and self.step % panels == 0:
            arrays = as_arrays(self.strategy, batch)
            self.summaries.samples("train", self.tasks, arrays, self.validation.answers(arrays["image"]), self.step, 4)

    # === What is not finite ===

    def _pass_over(self, batch, losses, broken):
        """A step that changed no weight, since its loss or a gradient is not finite: noted, or the end of the run."""
        self._demand_finite_weights()
        arrays = as_arrays(self.strategy, batch)
        share = [self.data.source.ids[index] for index in arrays["index"].tolist()]
        shares = self.runtime.exchange([share, broken_sample(arrays, share)])  # every process comes here
        samples = [sample for share, _ in shares for sample in share]
        gradient = self.step_function.trained(self._frozen())[broken].path
        reason = reason_of([found for _, found in shares], losses["loss"], gradient)
        named = ", ".join(f"{name} {value}" for name, value in losses.items())
        told = f"non-finite {reason} at step {self.step + 1} ({named}), samples {', '.join(samples)}"
        if self.skipped.in_a_row(self.step) < self.config.train.skip_non_finite:
            self.skipped.add(self.step + 1, reason, samples)
            print(f"passed over: {told}", flush=True)
            return
        self._save_what_is_new()  # no weight has changed since the last good step
        allowed = self.config.train.skip_non_finite
        self._diverge(
            f"{told}; everything up to step {self.step} is saved: start a new run with a lower "
            f"--optim.learning_rate (now {self.config.optim.learning_rate}), or pass over such steps with the same "
            f"command and --train.skip_non_finite=N in a row (now {allowed})",
            {"samples": samples, "losses": {name: repr(value) for name, value in losses.items()}, "reason": reason},
        )

    def _demand_finite_weights(self):
        """Nothing is saved that could not be trained on."""
        broken = broken_variable([*self.model.variables, *self.optimizer.variables, *self.averaging.variables])
        if broken:
            kept = f"the last checkpoint, of step {self.saved_step}" if self.saved_step else "its beginning"
            self._diverge(
                f"{broken} is not finite after step {self.step}, and was not saved: the same command continues from "
                f"{kept}; should it end here again, start a new run with a lower --optim.learning_rate (now "
                f"{self.config.optim.learning_rate})",
                {"samples": [], "losses": {}, "reason": broken},
            )

    def _diverge(self, told, found):
        write_json(self.run_directory.path / "diverged.json", {"step": self.step + 1, **found})
        raise DivergedError(f"training diverged: {told}")

    # === The end of an epoch ===

    def _finish_epoch(self):
        self._demand_finite_weights()
        epoch = self.validated_epochs + 1
        try:
            measured = self.validation.finish(epoch, self._stop_if_asked)
        except (MtlError, MemoryError, tf.errors.ResourceExhaustedError):
            self._save_what_is_new()  # validating changes nothing
            raise
        counted = self.steps_per_epoch - self.skipped.after(self.validated_epochs * self.steps_per_epoch)
        means = dict(zip(self.loss_names, self.loss_sums / (counted or np.nan), strict=True))
        row = {
            "epoch": epoch,
            "step": self.step,
            "learning_rate": float(self.optimizer.learning_rate.numpy()),
            **{f"train_{name}": float(value) for name, value in means.items()},
            **measured,
        }
        row = finite(row)
        self.metrics_table.append(row)
        self._show_epoch(row)
        self.validated_epochs = epoch
        self.loss_sums[:] = 0.0
        self._save()

    def _show_epoch(self, row):
        names = ("train_loss", "val_loss", *(task.headline for task in self.tasks), "total")
        shown = "  ".join(f"{name} {row[name]:.4g}" for name in names if row.get(name) is not None)
        print(f"epoch {row['epoch']}/{self.config.train.epochs}  {shown}", flush=True)
        skip = ("epoch", "step", "num_images", "learning_rate")
        scalars = {f"val/{name}": value for name, value in row.items() if name not in skip and "train_" not in name}
        scalars |= {f"epoch/{name}": value for name, value in row.items() if name.startswith("train_")}
        self.summaries.scalars(scalars, self.step)
        self.validation.observe(self.summaries, self.step)
        self.summaries.flush()

    # === State ===

    def _save(self):
        self._demand_finite_weights()
        best = self.validation.best_score, self.validation.best_epoch
        state = [self.step, self.validated_epochs, *best, *self.loss_sums]
        self.saved_state.assign(np.array(state))
        self.summaries.flush()  # what a process holds back that is killed would be missing
        self.checkpoints.save()
        self.saved_step = self.step
        # Of what cannot be written any more the next checkpoint tells, and names the last good one.
        with contextlib.suppress(WriteError):
            self.usage.write(self._bad_files())

    def _save_what_is_new(self):
        """Between two steps, before an error ends the run."""
        if self.step > self.saved_step:
            self._save()

    def _unpack_state(self):
        step, validated, self.validation.best_score, best_epoch, *sums = self.saved_state.numpy()
        self.step, self.validated_epochs, self.validation.best_epoch = int(step), int(validated), int(best_epoch)
        self.saved_step = self.step
        self.loss_sums = np.array(sums)

    def _leave_if_stopped(self):
        if self.stop.asked and self.together:
            self._save_what_is_new()
            self._stop_if_asked()

    def _stop_if_asked(self):
        if self.together:
            self.stop.leave_if_asked(f"after step {self.step} of {self.steps}, saved; the same command continues")

    def where(self):
        """For messages: the step under way, and what is kept of those before."""
        kept = f"step {self.saved_step} is the last that is saved" if self.saved_step else "none is saved yet"
        return f"at step {self.step + 1}; {kept}"

    def _epoch(self):
        return (self.step - 1) // self.steps_per_epoch + 1

    def _bad_files(self):
        return {**self.data.bad, **self.validation.data.bad}

    def _result(self):
        rows, seconds, best_epoch = self.metrics_table.rows(), self.usage.seconds(), self.validation.best_epoch
        speeds = [row["images_per_second"] for row in self.steps_table.rows()]
        bad = self.usage.bad_files(self._bad_files())
        for share in self.runtime.exchange(bad):
            bad.update(share)
        skipped = self.skipped.counts()
        if bad:
            print(f"skipped {len(bad)} bad files: {', '.join(sorted(bad))}")
        if any(skipped.values()):
            told = ", ".join(f"{count} ({kind.replace('_', ' ')})" for kind, count in skipped.items() if count)
            print(f"passed over steps: {told}; see {self.run_directory.path / FILE_NAME}")
        if self.validated_epochs < self.config.train.epochs:
            print(f"ended early: no better for {self.config.train.patience} epochs (train.patience)")
        share = self.wait_seconds / max(self.step_seconds, 1e-9)
        print(f"done in {format_seconds(seconds)}; best epoch {best_epoch}; {share:.1%} of the time waited for data")
        return {
            "epochs": self.validated_epochs,
            "steps": self.step,
            "best_epoch": best_epoch,
            **({"best_averaged_epoch": int(self.validation.best_averaged[1])} if self.averaging.on else {}),
            "best": next((row for row in rows if row["epoch"] == best_epoch), None),
            "final": rows[-1],
            "parameters": self.parameters,
            "seconds": seconds,
            "images_per_second": statistics.median(speeds) if speeds else None,
            "peak_memory_mb": round(self.usage.peak_memory() / 2**20, 1),
            "data_wait_share": round(share, 5),
            "bad_files": bad,
            "skipped_steps": skipped,
        }
