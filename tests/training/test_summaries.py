"""TensorBoard's files of a run that is continued."""

from mtl_tf.training.summaries import Summaries
from tests.helpers import events_of


def test_what_a_killed_process_wrote_of_steps_that_were_not_saved_is_cut_off(tmp_path):
    folder = tmp_path / "events"
    profile = folder / "plugins/profile/1/vm.xplane.pb"
    profile.parent.mkdir(parents=True)
    profile.write_bytes(b"profile")
    for start, stop in ((0, 3), (2, 5), (4, 6)):
        for path in folder.glob("events.*"):
            path.write_bytes(path.read_bytes() + b"half an event")
        summaries = Summaries(folder, True, start)
        for step in range(start + 1, stop + 1):
            summaries.scalars({"loss": 0.5, "rate": 1.0}, step)
        summaries.close()
    assert events_of(tmp_path) == [(step, name) for step in range(1, 7) for name in ("loss", "rate")]
    assert profile.read_bytes() == b"profile"
