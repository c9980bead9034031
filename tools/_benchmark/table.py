"""The result as text."""


def table(result: dict) -> str:
    """A few lines for a terminal."""
    network = "{architecture} {encoder}, {parameters:,} parameters, {precision}".format(**result)
    size = "x".join(map(str, result["size"])) or "as it is"
    network += f", {' + '.join(result['tasks'])}"
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


def table_of_parts(results: dict[str, dict]) -> str:
    """A line for each part, and for each size of single pictures."""
    train = results["train"]
    network = "{architecture} {encoder}, {parameters:,} parameters, {precision}, {backend}".format(**train)
    columns = ("images/s", "ms", "best", "worst", "waiting", "peak MiB", "of machine")
    lines = [
        f"{network} on {', '.join(train['devices'])}, batch {train['batch_size']}, {' + '.join(train['tasks'])}",
        f"{'':<24}" + "".join(f"{name:>11}" for name in columns),
    ]
    for part, result in results.items():
        rows = {f"{part}, {result['data']} data": result}
        if "latency" in result:
            rows = {f"one picture of {size}": found for size, found in result["latency"].items()}
        lines += [f"{name:<24}{_cells(found)}".rstrip() for name, found in rows.items()]
    if "data" not in results:
        lines.append(f"data and run are left out: --backend={train['backend']} has no part that reads a data set")
    return "\n".join(lines)


def _cells(found):
    share, waiting = (f"{found[name]:.1%}" if name in found else "" for name in ("machine_share", "wait_share"))
    took = [found.get(f"step_ms{name}", found.get(f"{name[1:] or 'median'}_ms")) for name in ("", "_best", "_worst")]
    speed = found.get("images_per_second", 1e3 / took[0])
    numbers = "".join(f"{value:>11.2f}" if value else f"{'':>11}" for value in (speed, *took))
    return f"{numbers}{waiting:>11}{found['peak_memory_mb']:>11.0f}{share:>11}"


def _network(result, network):
    if result["export"]:
        return f"SavedModel {result['export']}"
    return network if result["parameters"] else "no network"


def _speeds(result):
    yield f"{', '.join(result['devices']):<12}{'median':>10}{'best':>10}{'worst':>10}"
    for label, name in (("images/s", "images_per_second"), ("ms a batch", "step_ms")):
        yield f"{label:<12}" + "".join(f"{result[name + suffix]:>10.2f}" for suffix in ("", "_best", "_worst"))
    windows = f" in {result['windows']} windows" if "windows" in result else ""
    line = (
        f"{result['steps']} batches{windows} in {result['seconds']:.1f} s, {result['wait_share']:.1%} waiting for input"
    )
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
