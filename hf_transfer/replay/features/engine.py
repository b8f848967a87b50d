"""The interface of what computes features elsewhere than in this process."""

from collections.abc import Iterable
from typing import Protocol

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.replay.features.stored import StoredFeatures


class FeatureEngine(Protocol):
    """Computes features elsewhere. When its method returns, they are in the cache of this machine."""

    def fill(self, wanted: Iterable[StoredFeatures]) -> None:
        """Have those features computed that are not stored yet.

        Args:
            wanted: Taken one by one; each holds a model.

        Raises:
            ConfigError: If they cannot be carried, or there is no room for them here.
            RunError: If some did not come back.
        """
        ...


def fill(engine: FeatureEngine | None, config: RunConfig, wanted: Iterable[StoredFeatures]) -> None:
    """Have features computed by an engine if there is one; without, they are computed when they are read.

    Raises:
        ConfigError: If the settings name an engine, and there is none.
    """
    if engine is not None:
        engine.fill(wanted)
    elif config.engine != "here":
        raise ConfigError(
            f"engine={config.engine!r} is for fine_tune and cross_validate here. Leave it out, or use the "
            "command line, where other verbs take it too."
        )
