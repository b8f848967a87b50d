"""Hand pieces of work over to what carries them to machines, and take back what comes of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from hf_transfer import _guard  # noqa: F401

Plain = dict[str, Any]  # texts, numbers, lists, mappings of them, and arrays of bytes
Owner = TypeVar("Owner")


@dataclass(frozen=True)
class Outcome:
    """What became of a piece of work.

    Attributes:
        found: What the work gives; None if it was lost.
        lost: Why, in words.
    """

    found: Plain | None
    lost: str = ""

    @property
    def error(self) -> str | None:
        """Why there is no result, in words."""
        return self.lost if self.found is None else self.found["error"]


class Carrier(Protocol):
    """Carries pieces of work to machines: what each engine has of its own."""

    gpus: float
    """GPUs for each piece of work."""
    places: int
    """Pieces of work that are done at the same time, 1 or more."""

    def put(self, value: Plain) -> Any:
        """Store plain data once for all machines; give what stands for them."""
        ...

    def start(self, order: Plain, about: Any, bulk: Any) -> Any:
        """Have `work` called somewhere, again if a machine is lost; give a ticket.

        Args:
            order: Of the work.
            about: What stands for it, as `put` gave it.
            bulk: The same.
        """
        ...

    def wait(self, tickets: Sequence[Any]) -> tuple[Any, Outcome]:
        """Wait until one of some tickets is done; give it and what came of it."""
        ...


@dataclass(frozen=True)
class Piece(Generic[Owner]):
    """A piece of work.

    Attributes:
        order: What to do.
        about: What stands for the settings, as the carrier gave it.
        bulk: The same for what is large.
        owner: Whom what comes of it is for.
    """

    order: Plain
    about: Any
    bulk: Any
    owner: Owner


def done(carrier: Carrier, pieces: Iterable[Piece[Owner]], *, ahead: int) -> Iterator[tuple[Owner, Outcome]]:
    """Hand work over, never more than `ahead` pieces at once; yield whose it was and what came of it."""
    tickets: dict[Any, Owner] = {}
    for piece in pieces:
        order = piece.order | {"threads": torch.get_num_threads()}  # which decides the bits of a result
        tickets[carrier.start(order, piece.about, piece.bulk)] = piece.owner
        if len(tickets) >= ahead:
            yield _next(carrier, tickets)
    while tickets:
        yield _next(carrier, tickets)


def _next(carrier: Carrier, tickets: dict[Any, Owner]) -> tuple[Owner, Outcome]:
    ticket, outcome = carrier.wait(list(tickets))
    return tickets.pop(ticket), outcome
