"""A weight file in our names."""

import dataclasses

from mtl_tf.models.weights.tensors import Tensor, UnreadableError


@dataclasses.dataclass
class Translation:
    """A file in our names.

    Attributes:
        layout: whose names it has.
        tensors: by the path of our variable; what has no counterpart keeps its name.
        beside: what is known to have no counterpart, with the number of its tensors.
        notes: what should be known about what it is used for here.
        said: which of several sets of weights in the file it is.
    """

    layout: str
    tensors: dict[str, Tensor]
    beside: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    said: str = ""

    def put(self, path: str, tensor: Tensor):
        """Files a tensor under the path of our variable."""
        if path in self.tensors:
            raise UnreadableError(f"holds {path} twice; it is damaged, or of another network")
        self.tensors[path] = tensor

    def leave(self, what: str, count: int = 1):
        """Counts tensors that are left out."""
        self.beside[what] = self.beside.get(what, 0) + count
