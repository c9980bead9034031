"""Compares steps of this project with those of an equal network in PyTorch, in alternating windows.

Needs torch and numpy, and nothing of this project, whose side is a command that --against names:

PYTHON_WITH_TORCH tools/benchmark_torch.py --reference=torch_reference.py --arch=joint --json=joint.json \\
    --against="PYTHON tools/benchmark.py --part=train --turns --seconds=5 --model.architecture=joint"

--infer compares answers (--part=inference), --bf16 sixteen-bit arithmetic (--train.precision=mixed_bfloat16). The
reference is a module with `Net(architecture)`, from images (B, 3, H, W) to [(logits, depth), ...], and
`loss_fn(outputs, classes, depth)`. Both sides get --threads threads. A window has at least one step that is not
counted before it. Told are images a second, elapsed and of CPU time, and the median, least and largest of the ratios
of each window to PyTorch's just before it.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import sys

from _turns import Command, take_turns, told, window_of

try:
    import torch
except ImportError:
    sys.exit("error: this comparison needs PyTorch: run it with a Python that has torch and numpy")


class Reference:
    """Steps of the reference network on one random batch, measured in windows."""

    def __init__(self, options):
        torch.manual_seed(0)
        module = _module(options.reference)
        network = module.Net(options.arch).to(memory_format=torch.channels_last)
        shape = options.batch, options.size, options.size
        images = torch.randn(options.batch, 3, *shape[1:]).to(memory_format=torch.channels_last)
        classes, depth = torch.randint(0, 19, shape), torch.rand(options.batch, 1, *shape[1:])
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

        def sixteen_bits():
            return torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)

        def train():
            optimizer.zero_grad(set_to_none=True)
            with sixteen_bits():
                loss = module.loss_fn(network(images), classes, depth)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        def infer():
            with torch.no_grad(), sixteen_bits():
                logits, _ = network(images)[-1]
                return logits.argmax(1)

        network.train(not options.infer)
        self._step = infer if options.infer else train
        self._seconds, self._batch = options.seconds, options.batch

    def window(self) -> dict:
        """Images, seconds and CPU seconds of a window."""
        self._step()
        return window_of(self._step, self._batch, self._seconds, [os.getpid()])


def _module(path):
    spec = importlib.util.spec_from_file_location("reference", path)  # noqa: TID251 (a program that the user names)
    if spec is None or not pathlib.Path(path).is_file():
        sys.exit(f"error: --reference={path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    """Measures, prints a line for each side, writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", required=True, help="file of the reference network")
    parser.add_argument("--against", action="append", required=True, help="a command; may be given several times")
    parser.add_argument("--arch", default="joint", help="architecture of the reference")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 arithmetic")
    parser.add_argument("--infer", action="store_true", help="answers instead of training steps")
    parser.add_argument("--threads", type=int, default=2, help="of each side")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a window of the reference")
    parser.add_argument("--rounds", type=int, default=7, help="windows of each")
    parser.add_argument("--json", help="file to write the result to")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threads = {"TF_NUM_INTRAOP_THREADS": str(options.threads), "TF_NUM_INTEROP_THREADS": str(options.threads)}
    measured = {f"PyTorch {torch.__version__} {options.arch}": Reference(options)}
    measured |= {command: Command(command, **threads) for command in options.against}
    rows = take_turns(measured, options.rounds)
    print(told(rows))
    if options.json:
        result = {"options": vars(options), "load": os.getloadavg(), "cores": os.cpu_count(), "rows": rows}
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
