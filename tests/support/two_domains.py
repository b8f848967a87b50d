"""Two domains of rows with classes, the second of which is moved and scaled."""

import numpy as np

from hf_transfer.transfer.arms import Domains


def two_domains(seed=0, *, num_rows=120, width=6, num_classes=3, moved=2.0, scaled=3.0):
    """A source of three classes, and a target whose features are moved and scaled; with its true labels."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(num_classes, width)) * 2
    labels, truth = (random.integers(0, num_classes, num_rows) for _ in range(2))
    source = centres[labels] + random.normal(size=(num_rows, width))
    scales = np.exp(random.normal(size=width) * np.log(scaled) / 2)
    target = (centres[truth] + random.normal(size=(num_rows, width))) * scales + moved * random.normal(
        size=width
    )
    return Domains(source, labels, target, num_classes), truth
