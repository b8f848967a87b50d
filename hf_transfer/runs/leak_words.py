"""Say what related rows are worth to a split, in sentences. No torch."""

import shlex

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import inline, interval, number, probability
from hf_transfer.runs.leak_record import Candidate, Leak, Price


def kept_words(leak: Leak) -> str:
    """How related rows are kept apart from the others: "by 'speaker'", "in blocks of the order"."""
    found = leak.found
    if found is not None:
        if found.is_order:
            return f"in blocks of the {found.name}" if not found.column else f"in blocks of {found.column!r}"
        return f"by {found.column!r}" if found.column else f"by the {found.name}"
    how = {"groups": "by", "times": "in blocks of", "folds": "in the folds of"}[str(leak.kept)]
    return f"{how} {leak.column!r}" if leak.column else f"{how} {str(leak.kept).removesuffix('s')}"


def price_line(leak: Leak, price: Price) -> str:
    """Both scores in one clause, e.g. "random folds would say 0.939 accuracy, by 'speaker' 0.682"."""
    say = "random folds say" if leak.found else "random folds would have said"
    return f"{say} {number(price.random.mean)} {price.metric}, {kept_words(leak)} {number(price.apart.mean)}"


def price_words(leak: Leak, price: Price) -> str:
    """Both scores of the linear model, and whether their difference is more than noise."""
    line = price_line(leak, price)
    said = f"{line[0].upper()}{line[1:]} (a linear model on the same stored features)."
    if price.interval is None:
        return f"{said} The folds are too few or too alike to say how sure that is."
    ends = f"{number(price.difference)} ({interval(price.interval)}, p {probability(price.p)})"
    if price.is_paid:
        said += f" On the same rows random folds flatter by {ends}."
    elif price.misleads:
        said += (
            f" On the same rows that is {ends}: rows that belong together mislead about each other more than "
            "they help, and random folds say too little."
        )
    elif price.is_small:
        said += (
            f" On the same rows that is {ends}, within noise: keeping rows apart costs nothing measurable."
        )
    else:
        said += f" On the same rows that is {ends}: with these few folds it can't be told from noise."
    rows = (price.random.num_train, price.apart.num_train)
    if max(rows) > 1.1 * min(rows):
        said += f" They learn from {rows[0]:,.0f} and from {rows[1]:,.0f} rows."
    return said


def price_answer(price: Price) -> str:
    """Whether random folds would have said too much."""
    if price.is_paid or price.misleads:
        return "too much" if price.is_paid else "too little"
    return "the same, within noise" if price.is_small else "can't tell"


def related_words(leak: Leak) -> str:
    """Whether rows of a run whose folds keep nothing together belong together, and by what to group them."""
    found = leak.found
    if found is None:
        names = ", ".join(one.name for one in leak.tested)
        return f"By none of these are rows more alike in features and errors than by chance (5 %): {names}."
    rows = "Rows that follow each other" if found.is_order else "Rows of one value"
    where = found.name if found.column else f"the {found.name}"
    said = (
        f"{rows} in {where} are more alike in features and errors than by chance (p {probability(found.p)})."
    )
    if leak.price:
        said += f" {price_words(leak, leak.price)}"
    return f"{said} {_advice(found)}"


def _advice(found: Candidate) -> str:
    if found.is_order:
        how = "name the column that says which: --group_by NAME"
        return f"If they come from one source (a film, an author, a patient), {how}."
    if found.column:
        column = inline(shlex.quote(found.column))
        return f"If they come from one source, keep them together: --group_by {column}."
    return (
        f"If they come from one source, write the {found.name} into a column, and name it: --group_by NAME."
    )


def leak_lines(leak: Leak | None) -> list[str]:
    """What a summary says: the price that is paid or spared, or which rows belong together."""
    if leak is None:
        return []
    if leak.found:
        return [f"related rows: {related_words(leak)}"]
    return [f"the folds' worth: {price_words(leak, leak.price)}"] if leak.price else []
