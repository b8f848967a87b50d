"""Other runs on the same folds, as compare.json records them for a run's card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.machine.files import plain
from hf_transfer.report.words.pairs import sentence
from hf_transfer.runs.results import compared
from hf_transfer.scores.paired import Pair

# What the answer to "is the pretrained model a good start?" must leave the same in both runs.
SAME_BUDGET = (
    "base_model", "trainable", "num_epochs", "learning_rate", "weight_decay", "batch_size", "optimizer",
    "layer_decay", "schedule", "augmentation", "early_stopping", "head_solver",
)  # fmt: skip


COMPARE_FILE = "compare.json"


@dataclass(frozen=True)
class Other:
    """Another run, and how this one differs from it.

    Attributes:
        name: Of its folder.
        from_scratch: Whether it started from random weights.
        settings: Those of `SAME_BUDGET`.
        pair: The other run first, this one second.
    """

    name: str
    from_scratch: bool
    settings: Mapping[str, Any]
    pair: Pair

    @classmethod
    def of(cls, results: Mapping[str, Any], pair: Pair) -> "Other":
        """Take from another run's results what a card tells."""
        settings = {name: results["config"].get(name) for name in SAME_BUDGET}
        return cls(pair.first, bool(results["from_scratch"]), settings, pair)


def others_to_json(results: Mapping[str, Any], others: Sequence[Other]) -> dict[str, Any]:
    """Give the content of compare.json, beside the results that it is about.

    Args:
        results: What results.json holds.
        others: The runs that this one was compared with.
    """
    listed = [
        asdict(other) | {"verdict": other.pair.verdict, "sentence": sentence(other.pair)} for other in others
    ]
    return plain({"kit_version": __version__, **compared(results), "others": listed})  # type: ignore[no-any-return]


def others_from_json(compare: Mapping[str, Any] | None) -> list[Other]:
    """Read the runs that compare.json tells of; none where it is not there."""
    return (
        []
        if compare is None
        else [
            Other(other["name"], other["from_scratch"], other["settings"], pair_from_json(other["pair"]))
            for other in compare["others"]
        ]
    )


def pair_from_json(values: Mapping[str, Any]) -> Pair:
    """A pair from its JSON, leaving out what a later version may have added."""
    known = {field.name: values[field.name] for field in fields(Pair)}
    interval = known["interval"] and tuple(known["interval"])
    return Pair(**known | {"left_out": tuple(known["left_out"]), "interval": interval})
