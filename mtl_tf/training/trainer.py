"""The training run, from a configuration to a finished run directory, in the order in which it happens."""

import contextlib
import time

import tensorflow as tf

from mtl_tf.atomic import WriteError, write_json
from mtl_tf.config import Config
from mtl_tf.data.fingerprint import fingerprint
from mtl_tf.data.known_statistics import with_statistics_of
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.plausibility import look
from mtl_tf.data.sets import describe_training, open_training, open_validation
from mtl_tf.data.sets.measuring import completed
from mtl_tf.data.sets.settle import settled
from mtl_tf.errors import MtlError, UsageError
from mtl_tf.models import build_model
from mtl_tf.models.costs import parameters
from mtl_tf.models.epochs import begin_epoch
from mtl_tf.models.weights import load_pretrained, record_of
from mtl_tf.models.weights.single_runs import load_single_runs
from mtl_tf.options import format_value
from mtl_tf.progress import Progress, format_seconds
from mtl_tf.training import headline, runtime
from mtl_tf.training.build_step import build_step
from mtl_tf.training.checkpoints import Checkpoints
from mtl_tf.training.cluster import Cluster, cluster, noticing_lost_workers
from mtl_tf.training.guard import Guard
from mtl_tf.training.journal import Journal
from mtl_tf.training.memory import naming_what_to_lower
from mtl_tf.training.nonfinite import FILE_NAME
from mtl_tf.training.profiling import Profile
from mtl_tf.training.run_directory import RunDirectory, continued, open_directory
from mtl_tf.training.schedules import learning_rate_at
from mtl_tf.training.state import State
from mtl_tf.training.stopping import StopSignal
from mtl_tf.training.summaries import as_arrays
from mtl_tf.training.usage import Usage
from mtl_tf.training.validation import Validation

SECOND = 2**20  # from the seed of a run to that of its second order of the samples


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
            return training.state.where() if training else "before the first step"

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
        descriptor.assumed.tasks(config)  # what is wrong is said before anything is measured
        if kept := run.kept(descriptor):
            descriptor = with_statistics_of(descriptor, kept)
        descriptor = completed(config, descriptor, self._leave_if_asked)
        self.tasks = descriptor.tasks(config)
        self.data = TrainingData(open_training(config, descriptor), config, descriptor)
        validated = EvaluationData(open_validation(config, descriptor), config, descriptor)
        samples = {"training": fingerprint(self.data.source), "validation": fingerprint(validated.source)}
        self.steps_per_epoch = self.data.steps_per_epoch
        self.steps = self.steps_per_epoch * config.train.all_epochs
        if config.log.profile and config.log.profile[1] > self.steps:
            raise UsageError(
                f"log.profile={format_value(config.log.profile)} ends after the last step of the run, {self.steps}; "
                "choose earlier steps"
            )

        # === Network and optimiser ===
        with self.strategy.scope():
            self.model = build_model(config.model, self.tasks, config.arch_options)
            self.step_function = build_step(self.strategy, self.model, self.tasks, config)
        self.optimizer, self.averaging = self.step_function.optimizer, self.step_function.averaging
        self.parameters = parameters(self.model)
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
        self.state = State(["loss", *(f"loss_{task.name}" for task in self.tasks)])
        averages = {"best_averaged": self.validation.best_averaged, **self.averaging.state}
        self.checkpoints = Checkpoints(
            run.path / "checkpoints",
            config.train.keep_checkpoints,
            run.home / "checkpoints",
            model=self.model,
            optimizer=self.optimizer,
            state=self.state.variable,
            loss_scale=self.step_function.loss_scale,
            good_steps=self.step_function.good_steps,
            **self.step_function.tracked,
            **(averages if self.averaging.on else {}),
        )
        self.wait_seconds = self.step_seconds = 0.0
        self.profile = Profile(run.path / "events", config.log.profile)
        # Whether all processes know that one was asked to stop: they leave at the end of a step, together.
        self.together = self.runtime.cluster.workers == 1
        self.usage = Usage(run.path / "timing.json", self.runtime.devices)

    # === The run ===

    def run(self) -> dict:
        self._leave_if_asked()
        restored = self.checkpoints.restore()
        if restored:
            self.validation.best_score, self.validation.best_epoch = self.state.unpack()
            self.usage.read()
        else:
            self._start_weights()
            self._begin_epoch()
            self.averaging.start()
        self._demand_one_start()
        if self._complete() and self.run_directory.finished_epochs() == self.validated_epochs:
            more = format_value((*self.config.train.extend, "EPOCHS"))
            home = self.run_directory.home
            print(f"{home} is finished: {self.step} steps; --train.extend={more} goes on, --train.fresh starts it anew")
            return {}
        begin = f"{self.run_directory.home} {f'continues after step {self.step}' if restored else 'starts'}"
        validated = self.validation.data.source
        told = headline.lines(self.config, begin, self.tasks, self.parameters, self.data, validated, self.runtime)
        print(*told, *filter(None, [self.step_function.told]), sep="\n", flush=True)
        for text in look(self.data.source):
            print(f"warning: {text}", flush=True)
        self.journal = Journal(self.config, self.run_directory, self.state, self.tasks, self.step_function.record)
        self.validation.adopt(self.journal.epochs.rows())
        saved = self.model, self.optimizer, self.averaging, self.step_function
        self.guard = Guard(self.config, self.run_directory, self.runtime, self.state, self.data.source.ids, saved)
        with self.journal, self.profile:
            self._train()
        result = self._result()
        write_json(self.run_directory.path / "metrics.json", result)
        self.runtime.exchange(None)
        return result

    def _leave_if_asked(self):
        self.stop.leave_if_asked("before the first step; the same command starts it")

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
            self.run_directory.note(weights=record_of(self.config.model))
        runs = getattr(self.config.arch_options, "runs", ())
        if runs:
            option = f"--arch.{self.config.model.architecture}.runs"
            report = load_single_runs(self.model, self.tasks, runs, option)
        if report:
            print(report)

    # === Steps ===

    def _train(self):
        """Trains from the current step on and validates wherever an epoch ends."""
        batch_size = self.config.train.batch_size
        batches = self._batches(self.data)
        again = self.data.reordered(self.config.seed + SECOND) if self.step_function.needs_second_batch else None
        self.second = self._batches(again) if again else None
        progress = Progress("training", self.steps * batch_size, "images", self.step * batch_size)
        while not self._complete():
            self._begin_epoch()
            while self.step < (self.validated_epochs + 1) * self.steps_per_epoch:
                self._one_step(batches, progress)
            progress.close()
            self._finish_epoch()

    def _begin_epoch(self):
        begin, end = self.config.train.scheduled(self.validated_epochs)
        begin_epoch(self.model, self.validated_epochs - begin, end - begin)

    def _batches(self, data):
        return iter(self.runtime.distribute(lambda share: data.dataset(self.step, share)))

    def _complete(self):
        """Whether all epochs are done, or the best one lies too far back (train.patience)."""
        patience = self.config.train.patience
        waited = self.validated_epochs - self.validation.last_best()
        return self.validated_epochs == self.config.train.all_epochs or (patience and waited >= patience)

    def _frozen(self):
        return self.config.train.encoder_frozen(self.validated_epochs + 1)

    def _one_step(self, batches, progress):
        self.profile.before(self.step + 1)
        begin, end = self.config.train.scheduled(self.step // self.steps_per_epoch)
        since = self.step - begin * self.steps_per_epoch
        rate = learning_rate_at(self.config.optim, since, self.steps_per_epoch, end - begin)
        self.optimizer.learning_rate.assign(rate)
        before = time.perf_counter()
        batch = self._next(batches)
        second = self._next(self.second) if self.second else None
        waited = time.perf_counter() - before
        several = self.runtime.cluster.workers > 1
        asked = tf.constant(float(self.stop.asked != 0)) if several else None
        found = self.step_function(batch, self._frozen(), asked, **self.step_function.at(self.step, second))
        balance = found.pop("balance", None)
        losses = {name: float(value) for name, value in found.items()}
        if losses.pop("asked", 0.0):
            self.stop.ask()
            self.together = True
        seconds = time.perf_counter() - before
        good, updated, broken = (losses.pop(name) for name in ("good", "updated", "broken_gradient"))
        if not updated:
            try:
                self.step_function.demand_allowed(losses)
            except UsageError:
                self._save_what_is_new()
                raise
        if not good:
            gradient = self.step_function.trained(self._frozen())[int(broken)].path
            if error := self.guard.pass_over(batch, losses, gradient):
                self._save_what_is_new()  # no weight has changed since the last good step
                raise error
        elif not updated:
            self.guard.note_loss_scale()
        self.state.step += 1
        self.profile.after(self.step)
        self.wait_seconds += waited
        self.step_seconds += seconds
        if good:
            self.state.add(losses)
        note = f"epoch {self._epoch()}/{self.config.train.all_epochs}  loss {losses['loss']:.4f}"
        progress.advance(self.config.train.batch_size, note)
        self._log_step(batch, losses, balance, rate, seconds, waited)
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

    def _log_step(self, batch, losses, balance, rate, seconds, waited):
        every, panels = self.config.log.every, self.config.log.panels_every
        if self.step % every == 0 or self.step == self.steps:
            skipped = sum(self.guard.counts().values())
            self.journal.step(self._epoch(), losses, balance, rate, seconds, waited, skipped)
        if panels and self.step % panels == 0:
            arrays = as_arrays(self.strategy, batch)
            self.journal.panels(arrays, self.validation.answers(arrays["image"]))

    # === The end of an epoch ===

    def _finish_epoch(self):
        self.guard.demand_finite_weights()
        epoch = self.validated_epochs + 1
        try:
            measured = self.validation.finish(epoch, self._stop_if_asked)
        except (MtlError, MemoryError, tf.errors.ResourceExhaustedError):
            self._save_what_is_new()  # validating changes nothing
            raise
        counted = self.steps_per_epoch - self.guard.without_loss(self.validated_epochs * self.steps_per_epoch)
        row = {
            "epoch": epoch,
            "step": self.step,
            "learning_rate": float(self.optimizer.learning_rate.numpy()),
            **{f"train_{name}": value for name, value in self.state.means(counted).items()},
            **measured,
        }
        self.journal.epoch(row, self.validation)
        self.step_function.end_epoch()
        self.state.end_epoch()
        self._save()

    # === State ===

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def validated_epochs(self) -> int:
        """Epochs done, and validated."""
        return self.state.validated_epochs

    def _save(self):
        self.guard.demand_finite_weights()
        self.state.pack(self.validation.best_score, self.validation.best_epoch)
        self.journal.summaries.flush()  # what a process holds back that is killed would be missing
        self.checkpoints.save()
        self.state.saved_step = self.step
        # Of what cannot be written any more the next checkpoint tells, and names the last good one.
        with contextlib.suppress(WriteError):
            self.usage.write(self._bad_files())

    def _save_what_is_new(self):
        """Between two steps, before an error ends the run."""
        if self.step > self.state.saved_step:
            self._save()

    def _leave_if_stopped(self):
        if self.stop.asked and self.together:
            self._save_what_is_new()
            self._stop_if_asked()

    def _stop_if_asked(self):
        if self.together:
            self.stop.leave_if_asked(f"after step {self.step} of {self.steps}, saved; the same command continues")

    def _epoch(self):
        return (self.step - 1) // self.steps_per_epoch + 1

    def _bad_files(self):
        return {**self.data.bad, **self.validation.data.bad}

    def _result(self):
        rows, seconds, best_epoch = self.journal.epochs.rows(), self.usage.seconds(), self.validation.best_epoch
        bad = self.usage.bad_files(self._bad_files())
        for share in self.runtime.exchange(bad):
            bad.update(share)
        skipped = self.guard.counts()
        if bad:
            print(f"skipped {len(bad)} bad files: {', '.join(sorted(bad))}")
        if any(skipped.values()):
            told = ", ".join(f"{count} ({kind.replace('_', ' ')})" for kind, count in skipped.items() if count)
            print(f"passed over steps: {told}; see {self.run_directory.path / FILE_NAME}")
        if self.validated_epochs < self.config.train.all_epochs:
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
            "images_per_second": self.journal.images_per_second(),
            "peak_memory_mb": round(self.usage.peak_memory() / 2**20, 1),
            "data_wait_share": round(share, 5),
            "bad_files": bad,
            "skipped_steps": skipped,
        }
