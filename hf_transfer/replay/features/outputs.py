"""Record the output of each layer group in a forward pass."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.groups import LayerGroup, layer_groups

Output = Tensor | dict[str, Tensor]  # of a model, or of parts that run side by side, by their names


class GroupOutputs:
    """The output of each layer group in a forward pass; for the head, the input of its last layer.

    A group ends where the last of its modules ends that holds nothing of another group: for a
    transformer's block the block itself, residual connection included. Of parts that run side by side, the
    model's `branches`, each has an output, until something joins them.

    Args:
        model: With a head, whose last layer has `num_labels` outputs.
        num_labels: Number of labels.
        head: Whether what the head makes before its last layer (a pooler, a final norm) counts as a
            layer of its own. It does not where those weights are new, or where there are none.

    Attributes:
        ends: For each group the modules of which the last to finish puts out what the group does.
        output_layer: The head's last layer, where the head counts.
        tensors: Names of all parameters and buffers that what is recorded can depend on.
    """

    def __init__(self, model: nn.Module, num_labels: int, *, head: bool) -> None:
        self.model = model
        groups = layer_groups(model)
        self.ends = _ends(model, groups)
        self._branches: Mapping[str, str] = getattr(model, "branches", {})
        top = groups[-1]
        self.output_layer = output_layer(model, top, num_labels) if head else None
        below = [*groups[:-1], top] if self.output_layer is not None else groups[:-1]
        self.tensors = tuple(
            name
            for group in below
            for name in (*group.parameters, *group.buffers)
            if name.rpartition(".")[0] != self.output_layer
        )

    @contextmanager
    def recorded(self) -> Iterator[dict[str, Output]]:
        """Record the outputs by group while the model runs; the last run counts."""
        outputs: dict[str, Output] = {}
        hooks = [
            self.model.get_submodule(end).register_forward_hook(
                lambda _module, _inputs, output, name=name, end=end: _keep(
                    outputs, name, output, self._branch_of(end)
                )
            )
            for name, ends in self.ends.items()
            for end in ends
        ]
        if self.output_layer is not None:
            hooks.append(
                self.model.get_submodule(self.output_layer).register_forward_pre_hook(
                    lambda _module, inputs: _keep(outputs, "head", inputs)
                )
            )
        try:
            yield outputs
        finally:
            for hook in hooks:
                hook.remove()

    def _branch_of(self, module: str) -> str | None:
        found = (name for name, top in self._branches.items() if f"{module}.".startswith(f"{top}."))
        return next(found, None)


def output_layer(model: nn.Module, head: LayerGroup, num_labels: int) -> str | None:
    """The last module of the head with weights, if it has one output a label."""
    with_weights = [
        name
        for name in head.modules
        if any(True for _ in model.get_submodule(name).parameters(recurse=False))
    ]
    for name in reversed(with_weights):
        weight = getattr(model.get_submodule(name), "weight", None)
        if isinstance(weight, Tensor) and weight.ndim >= 2 and len(weight) == num_labels:
            return name
    return None


def below_output(model: nn.Module, num_labels: int) -> tuple[str, ...]:
    """Names of the head's parameters before its last layer."""
    head = layer_groups(model)[-1]
    layer = output_layer(model, head, num_labels)
    return tuple(name for name in head.parameters if layer is None or name.rpartition(".")[0] != layer)


def _ends(model: nn.Module, groups: Sequence[LayerGroup]) -> dict[str, tuple[str, ...]]:
    """The largest modules that contain only modules of one group, for each group.

    Tables of positions are left out: what a decoder's rotary embedding puts out is the same for all rows.
    """
    held: defaultdict[str, set[str]] = defaultdict(set)
    for group in groups:
        for name in group.modules:
            for around in _around(name):
                held[around].add(group.name)
    whole = {name: next(iter(names)) for name, names in held.items() if len(names) == 1}
    ends: dict[str, list[str]] = {group.name: [] for group in groups[:-1]}
    for name, group_name in whole.items():
        if group_name in ends and not any(above in whole for above in _around(name)[:-1]):
            ends[group_name].append(name)
    passing = {name: [one for one in found if not _is_table(model, one)] for name, found in ends.items()}
    return {name: tuple(passing[name] or found) for name, found in ends.items() if found}


def _is_table(model: nn.Module, name: str) -> bool:
    """Whether a module holds stored values and nothing that was learned."""
    module = model.get_submodule(name)
    return any(True for _ in module.buffers()) and not any(True for _ in module.parameters())


def _around(name: str) -> list[str]:
    """A module and its parents, outermost first, without the model itself."""
    return [name[:i] for i, letter in enumerate(name) if letter == "."] + [name] if name else []


def _keep(outputs: dict[str, Output], name: str, output: Any, branch: str | None = None) -> None:
    tensor = _first_tensor(output)
    if tensor is None:
        return
    before = outputs.get(name)
    others = before if isinstance(before, dict) else {}
    outputs[name] = tensor if branch is None else {**others, branch: tensor}


def _first_tensor(value: Any) -> Tensor | None:
    """The first floating-point tensor in a module's output, which may be a tuple or a mapping."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    values = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    )
    return next((tensor for item in values if (tensor := _first_tensor(item)) is not None), None)
