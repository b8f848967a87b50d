"""The words of `rank`."""

import pytest

from hf_transfer.cli.rank import read_priors
from hf_transfer.errors import ConfigError


def test_priors_are_numbers_by_name():
    assert read_priors(["a=1", "timm:x=y=0.5"]) == {"a": 1.0, "timm:x=y": 0.5}
    with pytest.raises(ConfigError, match="'a=b' is not NAME=VALUE"):
        read_priors(["a=b"])
