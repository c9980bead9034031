"""The result as text."""


def table(result: dict) -> str:
    """A few lines for a terminal."""
    network = "{architecture} {encoder}, {parameters:,} parameters, {precision}".format(**result)
    size = "x".join(map(str, result["size"])) or "as it is"
    lines = [
        f"{result['part']}: {_network(result, network)}, {result['backend']}",
        f"{result['data']} data, batch {result['batch_size']}, size {size}",
    ]
    if "latency" in result:
        lines[-1] = f"one picture on {', '.join(result['devices'])}"
        lines += _latencies(result["latency"])
    else:
        lines += _speeds(result)
    if result.get("machine_share"):
        rates = ", ".join(f"{value:,.0f} in {dtype}" for dtype, value in result["machine_gflops"].items())
        lines.append(
            f"{result['gflops_per_second']:,.0f} GFLOP/s of the machine's {rates} (3x3 convolutions): "
            f"{result['machine_share']:.1%}"
        )
    return "\n".join(lines)


def _network(result, network):
    if result["export"]:
        return f"SavedModel {result['export']}"
    return network if result["parameters"] else "no network"


def _speeds(result):
    yield f"{', '.join(result['devices']):<12}{'median':>10}{'best':>10}{'worst':>10}"
    for label, name in (("images/s", "images_per_second"), ("ms a batch", "step_ms")):
        yield f"{label:<12}" + "".join(f"{result[name + suffix]:>10.2f}" for suffix in ("", "_best", "_worst"))
    line = f"{result['steps']} batches in {result['seconds']:.1f} s, {result['wait_share']:.1%} waiting for input"
    if "startup_seconds" in result:
        line += (
            f"; first step done after {result['startup_seconds']:.1f} s, from then on "
            f"{result['whole_images_per_second']:.1f} images/s with validation and checkpoints"
        )
    else:
        line += f"; {result['images_per_cpu_second']:.1f} images a second of CPU time"
    yield f"{line}; peak memory {result['peak_memory_mb']:.0f} MiB"


def _latencies(sizes):
    yield f"{'size':<12}{'median ms':>10}{'95 % ms':>10}{'best ms':>10}{'peak MiB':>10}"
    for size, found in sizes.items():
        cells = (found[name] for name in ("median_ms", "p95_ms", "best_ms", "peak_memory_mb"))
        yield f"{size:<12}" + "".join(f"{cell:>10.1f}" for cell in cells)
