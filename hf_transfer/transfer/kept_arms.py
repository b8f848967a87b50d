"""Arms that have been trained, kept until all are, so that a run that is killed loses no more than one."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.digests import bytes_digest, json_digest
from hf_transfer.machine.files import write_bytes

_OUTPUTS = "outputs"  # for the rows of the target; names of weights have a prefix
_WEIGHT = "model."


@dataclass(frozen=True)
class KeptArms:
    """A folder of trained arms.

    Attributes:
        folder: Where they are; it is made when the first one is kept.
        identity: Digest of all that decides their training; those of another one are not taken.
    """

    folder: Path
    identity: str

    def keep(self, name: str, model: nn.Module, outputs: Tensor) -> None:
        """Write an arm to the disk.

        Raises:
            DiskFullError: If there is no room.
        """
        weights = {f"{_WEIGHT}{key}": one.detach().cpu().clone() for key, one in model.state_dict().items()}
        tensors = {key: one.contiguous() for key, one in {**weights, _OUTPUTS: outputs}.items()}
        content = save(tensors)
        about = {"identity": json_digest([self.identity, name]), "digest": bytes_digest(content)}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._path(name), content)
        write_bytes(self._about(name), json.dumps(about).encode())  # the last, as it says the other is whole

    def load(self, name: str, model: nn.Module) -> Tensor | None:
        """Give a model the weights of an arm, and return its outputs; None where it was not kept whole."""
        try:
            about = json.loads(self._about(name).read_text(encoding="utf-8"))
            content = self._path(name).read_bytes()
        except (OSError, ValueError):
            return None
        if not isinstance(about, dict) or about.get("identity") != json_digest([self.identity, name]):
            return None
        if about.get("digest") != bytes_digest(content):
            print(f"Arm {name} is trained again: {self._path(name)} is damaged.", file=sys.stderr)
            return None
        tensors = load(content)
        outputs = tensors.pop(_OUTPUTS)
        model.load_state_dict({key.removeprefix(_WEIGHT): one for key, one in tensors.items()})
        return outputs

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _about(self, name: str) -> Path:
        return self.folder / f"{name}.json"
