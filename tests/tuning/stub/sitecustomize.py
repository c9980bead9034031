"""With this folder on PYTHONPATH every process of a search runs the trials of `stub_trials`."""

import stub_trials

from mtl_tf.tuning import trial

trial.run_trial = stub_trials.run_trial
