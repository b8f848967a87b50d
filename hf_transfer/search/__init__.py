"""Which layers should learn, and at which rate: a search under cross-validation, with answers in words."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.search.asking import ask_hours, can_ask
from hf_transfer.search.candidates import Candidate, propose
from hf_transfer.search.recipe import load_recipe
from hf_transfer.search.report import cost_text, search_text
from hf_transfer.search.run import SearchOptions, open_study, predict_cost, search

__all__ = [
    "Candidate",
    "SearchOptions",
    "ask_hours",
    "can_ask",
    "cost_text",
    "load_recipe",
    "open_study",
    "predict_cost",
    "propose",
    "search",
    "search_text",
]
