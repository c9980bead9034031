"""Relational contexts between tasks: Bruggemann et al., ICCV 2021 (ATRC), whose kinds are given, not searched for."""

import dataclasses
import functools
import itertools

from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import Architecture
from mtl_tf.options import Section, format_value, option

KINDS = {"t-label": "T", "s-label": "S", "global": "G", "local": "L", "none": "-"}


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of atrc."""

    contexts: tuple[str, ...] = option(
        ("s-label",),
        "Contexts of all pairs: s-label, t-label, global, local or none; or a row of letters T, S, G, L or - for each "
        "task as target, with one for each as source.",
        before=("s-label",),
    )
    regions_weight: float = option(
        1.0, "Weight of the regions' loss beside the answer's in a task's loss.", minimum=0.0, before=1.0
    )
    dropout: float = option(
        0.05,
        "Share of the channels before the answer that are left out while training.",
        minimum=0.0,
        maximum=0.99,
        before=0.05,
    )


def build(config, tasks, backbone):
    """A feature for every task from all of the encoder's, joined with what it finds in those of all tasks."""
    from keras import ops

    from mtl_tf.models.branch import in_memory
    from mtl_tf.models.contexts import RegionVectors, build_context, build_joined
    from mtl_tf.models.decoder import build_raw
    from mtl_tf.models.heads import build_fuse, pyramid_names, side_by_side
    from mtl_tf.models.outputs import Raw

    options, by_name = backbone.options, {task.name: task for task in tasks}
    kinds = kinds_of(options.contexts, list(by_name))
    together = side_by_side([backbone[name] for name in pyramid_names(backbone)])
    width, channels = together.shape[-1], together.shape[-1] // 4
    features = {name: build_fuse(width, channels, 3, f"{name}/fcn")(together) for name in by_name}
    fixed = ops.stop_gradient(together)  # regions must not shape the encoder
    regions = {}

    @functools.cache
    def vectors(divider, source):
        """The feature of a task at each region of another."""
        if divider not in regions:
            found = by_name[divider].regions
            if found is None:
                raise UsageError(
                    f"{_of(options.contexts)}: task {divider} divides a picture into no regions; give rows in which no "
                    "T has it as target, and no S as source"
                )
            feature = in_memory(config, build_fuse(width, width, 1, f"{divider}/regions"))(fixed)
            regions[divider] = Raw(build_raw(by_name[divider], feature, "@regions", found.channels))
        return RegionVectors(name=f"{source}_by_{divider}")(regions[divider].tensor, features[source])

    def context(kind, target, source):
        path = f"{target}/context/{source}"
        seen = vectors({"t-label": target, "s-label": source}[kind], source) if "label" in kind else features[source]
        return in_memory(config, build_context(kind, channels, path))([features[target], seen])

    answers = {}
    for name, task in by_name.items():
        feature = features[name]
        found = [context(kind, *pair) for pair, kind in kinds.items() if pair[0] == name and kind != "none"]
        if found:
            widths = [channels, *(each.shape[-1] for each in found)]
            joined = in_memory(config, build_joined(widths, options.dropout, f"{name}/joined"))
            feature = joined([feature, *found])
        answers[name] = Raw(build_raw(task, feature, deviation=0.01))
    return {"": answers, "@regions": regions} if regions else {"": answers}


def kinds_of(contexts, names):
    """(target, source) -> the kind of their context, in the order of the tasks' names."""
    pairs = list(itertools.product(names, names))
    if len(contexts) == 1 and contexts[0] in KINDS:
        return dict.fromkeys(pairs, contexts[0])
    by_letter, count = {letter: kind for kind, letter in KINDS.items()}, len(names)
    if [len(row) for row in contexts] != [count] * count or not set("".join(contexts)) <= set(by_letter):
        raise UsageError(
            f"{_of(contexts)}: expected one of {', '.join(KINDS)}, or {count} rows with commas of {count} letters "
            f"{', '.join(by_letter)}: a row for each target, a letter for each source, in the order {', '.join(names)}"
        )
    return {pair: by_letter[letter] for pair, letter in zip(pairs, "".join(contexts), strict=True)}


def _of(contexts):
    return f"arch.atrc.contexts={format_value(contexts)}"


ARCHITECTURE = Architecture(
    "atrc", build, Options, exchanges=True, weights=lambda options: {"@regions": options.regions_weight}
)
