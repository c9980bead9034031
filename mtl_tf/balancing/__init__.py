"""Loss weighting and gradient balancing: how much each task's loss, and each task's gradient, counts in a step.

A scalarizer gives the weight of every loss, an aggregator the weight of every row of the Jacobian (K tasks x shared
parameters). They are pure functions of tensors and of their state, for a training step as well as for arrays. Here are
their names; TensorFlow is imported when a method is first used.
"""

import importlib

from mtl_tf.registry import Lazy, Registry

_PUBLIC = {
    "aggregate": "mtl_tf.balancing.arrays",
    "scalarize": "mtl_tf.balancing.arrays",
    "Balance": "mtl_tf.balancing.balance",
    "balance_of": "mtl_tf.balancing.configured",
    "Aggregator": "mtl_tf.balancing.methods",
    "DirectionAggregator": "mtl_tf.balancing.methods",
    "Scalarizer": "mtl_tf.balancing.methods",
    "Slot": "mtl_tf.balancing.methods",
}
__all__ = ["AGGREGATORS", "SCALARIZERS", *_PUBLIC]


def _table(what, **modules):
    rows = {}
    for module, classes in modules.items():
        rows |= {name: Lazy(f"balancing.{module}:{each}") for name, each in classes.items()}
    return Registry(what, rows)


SCALARIZERS: Registry = _table(
    "scalarizer",
    scalarizers={"fixed": "Fixed", "uw_so": "UwSo", "dwa": "Dwa", "rlw": "Rlw", "gls": "Gls", "log": "Log"},
    nadirs={"stch": "Stch", "igb": "Igb"},
    learned={
        **{"uw": "Uw", "imtl_l": "ImtlL", "famo": "Famo", "gradnorm": "GradNorm"},
        "auto_lambda": "AutoLambda",
    },
)
AGGREGATORS: Registry = _table(
    "aggregator",
    aggregators={
        **{"none": "Unbalanced", "mgda": "Mgda", "imtl_g": "ImtlG", "cagrad": "CaGrad", "nash": "Nash"},
        **{"fairgrad": "FairGrad", "aligned": "Aligned", "upgrad": "UpGrad", "dualproj": "DualProj"},
        "config": "ConFig",
    },
    surgery={"pcgrad": "PcGrad", "gradvac": "GradVac", "graddrop": "GradDrop"},
    tracked={
        **{"moco": "MoCo", "modo": "MoDo", "sdmgrad": "SdmGrad", "excess": "Excess", "db_mtl": "DbMtl"},
        "pcd": "Pcd",
    },
)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)  # noqa: TID251 (ours)
    raise AttributeError(f"module 'mtl_tf.balancing' has no attribute {name!r}; it has {', '.join(__all__)}")
