"""How tensor shapes inside a model depend on the number of rows and the length of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401


@dataclass(frozen=True)
class Shape:
    """A shape relative to the batch: each dimension is a number, a multiple of its rows or of its length."""

    dims: tuple[tuple[int, bool, bool], ...]
    dtype: torch.dtype

    def at(self, rows: int, length: int) -> tuple[int, ...]:
        """The shape for a given batch."""
        return tuple(
            n * (rows if by_rows else 1) * (length if by_length else 1) for n, by_rows, by_length in self.dims
        )

    @property
    def is_row_by_row(self) -> bool:
        """Whether it has one tensor a row, or one a token of a row."""
        rest = self.dims[1:]
        return (
            self.dims[:1] == ((1, True, False),)
            and not any(by_rows for _, by_rows, _ in rest)
            and not any(by_length for _, _, by_length in rest[1:])
            and (not self.by_token or rest[0] == (1, False, True))
        )

    @property
    def by_token(self) -> bool:
        """Whether the second dimension is the length of the batch."""
        return len(self.dims) > 1 and self.dims[1][2]


def rows_of(batch: Mapping[str, Tensor]) -> int:
    """Number of rows in a batch."""
    return len(next(iter(batch.values())))


def length_of(batch: Mapping[str, Tensor], model: nn.Module | None = None) -> int:
    """Tokens a row after padding, or frames that a model's filters make of waveforms; 1 without either."""
    if "input_ids" in batch:
        return batch["input_ids"].shape[1]
    waves, config = batch.get("input_values"), getattr(model, "config", None)
    if waves is None or waves.ndim != 2:
        return 1
    length = waves.shape[1]
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True) if config else ():
        length = (length - kernel) // stride + 1
    return length


def fit_shape(
    shapes: Sequence[tuple[int, ...]], sizes: Sequence[tuple[int, int]], dtype: torch.dtype
) -> Shape | None:
    """Infer the rule behind the shapes that several batches gave; None if there is none."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    dims = []
    for values in zip(*shapes, strict=True):
        rule = next((r for r in _rules(values[0], *sizes[0]) if _follows(r, values, sizes)), None)
        if rule is None:
            return None
        dims.append(rule)
    return Shape(tuple(dims), dtype)


def _rules(value: int, rows: int, length: int) -> list[tuple[int, bool, bool]]:
    """Rules that fit one batch, the simplest first."""
    units = {(False, False): 1, (True, False): rows, (False, True): length, (True, True): rows * length}
    return [(value // unit, *kind) for kind, unit in units.items() if value % unit == 0]


def _follows(rule: tuple[int, bool, bool], values: Sequence[int], sizes: Sequence[tuple[int, int]]) -> bool:
    number, by_rows, by_length = rule
    return all(
        value == number * (rows if by_rows else 1) * (length if by_length else 1)
        for value, (rows, length) in zip(values, sizes, strict=True)
    )


def fit_tree(outputs: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> Any:
    """Infer the rules of a module's output (tensors, tuples, lists, mappings); None if unknown."""
    first = outputs[0]
    if isinstance(first, Tensor):
        if not first.is_floating_point():
            return None
        return fit_shape([tuple(out.shape) for out in outputs], sizes, first.dtype)
    if isinstance(first, Mapping):
        parts = {
            key: fit_tree([out[key] for out in outputs], sizes) for key in first if first[key] is not None
        }
        return None if None in parts.values() or not parts else (type(first), parts)
    if isinstance(first, (tuple, list)):
        listed = [
            _NOTHING if item is None else fit_tree([o[i] for o in outputs], sizes)
            for i, item in enumerate(first)
        ]
        return None if None in listed or not listed else (type(first), listed)
    return None


_NOTHING = "nothing"


def stand_in(shapes: Any, rows: int, length: int, device: torch.device, *, copied: bool = False) -> Any:
    """NaN tensors in place of a module's output, which reveal whatever depends on them.

    Args:
        shapes: From `fit_tree`.
        rows: Of the batch.
        length: Of the batch.
        device: Where they are needed.
        copied: Whether each number has memory of its own, to be written to.
    """
    if isinstance(shapes, Shape):
        nan = torch.full((), float("nan"), dtype=shapes.dtype, device=device).expand(shapes.at(rows, length))
        return nan.clone() if copied else nan
    if shapes is _NOTHING:
        return None
    kind, rules = shapes
    if isinstance(rules, dict):
        return kind(**{key: stand_in(r, rows, length, device, copied=copied) for key, r in rules.items()})
    return kind(stand_in(rule, rows, length, device, copied=copied) for rule in rules)
