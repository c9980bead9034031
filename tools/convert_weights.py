"""tools/convert_weights.py --input=FILE --model.encoder=NAME [--output=NAME.h5]: weights of others as ours.

Says what of a weight file fits the network that the options of main.py describe: keras.applications (.h5,
.weights.h5), safetensors, PyTorch (.pth, .pt), whole DeepLabV3(+) networks of torchvision and
segmentation_models.pytorch, runs. Of a file with several sets of weights (trained, averaged) --model.weights_key takes
another than the usual one. --input=imagenet, or the name of a checkpoint, fetches published weights. With --output what
fits is written to one HDF5 file, which --model.encoder_weights and --model.weights take. See docs/weights.md.
"""

import dataclasses
import pathlib

from _tool import run_tool

from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.quiet import start_tensorflow

USES = ("model", "input", "output")  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    whole: bool = option(True, "Take what fits of ASPP, decoder and heads too, not only the encoder.")


def convert(parsed):
    """Loads, reports and writes."""
    config, own = parsed.config, parsed.own
    if not config.input:
        raise UsageError(
            "--input=FILE is missing: a weight file, the directory of a run, imagenet, or a checkpoint's name"
        )
    start_tensorflow()
    from mtl_tf import build_model, cityscapes_tasks
    from mtl_tf.models.encoders import encoder_of
    from mtl_tf.models.weights import load_from
    from mtl_tf.training.checkpoints import save_variables

    model = config.model
    network = build_model(model, cityscapes_tasks(), config.arch_options) if own.whole else encoder_of(model)
    report = load_from(config.input, network, config.model, f"--input={config.input}")
    print(report)
    if config.output:
        taken = [variable for variable in network.variables if report.took(variable.path)]
        save_variables(taken, pathlib.Path(config.output))
        print(f"{config.output}: {len(taken)} tensors")


if __name__ == "__main__":
    raise SystemExit(run_tool(convert, Options))
