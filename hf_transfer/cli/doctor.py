"""`hf-transfer doctor`: check this machine, and say how to fix what is missing."""

import argparse
import os
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from typing import Any

from hf_transfer import _guard
from hf_transfer.cli.verb import add_verb, show
from hf_transfer.machine.environment import device_name, processor_name, versions
from hf_transfer.machine.wording import aligned

# What the kit was run with at either end.
_OLDEST = {
    "torch": "2.11",
    "transformers": "5.17",
    "datasets": "5.2",
    "accelerate": "1.15",
    "huggingface_hub": "1.31",
}
_OPTIONAL = {"timm": "vision", "torchvision": "vision", "seqeval": "text"}


def add_doctor(verbs: Any) -> None:
    """Add `doctor` to the command line."""
    add_verb(verbs, "doctor", _doctor, "check versions, devices, the Hub and the package's name")


def _doctor(options: argparse.Namespace) -> int:
    checks, text, healthy = examine()
    show(options, (checks, text))
    return 0 if healthy else 2


def examine() -> tuple[list[dict[str, str]], str, bool]:
    """Check versions, devices, the Hub, and the package's name.

    Returns:
        Each check as `name`, `state` (`ok`, `note` or `wrong`) and `found`; the same as text; and
        whether nothing is wrong.
    """
    checks = [*_version_checks(), _device_check(), _name_check(), *_hub_checks(), _metric_check()]
    rows = [[check["state"], check["name"], check["found"]] for check in checks]
    return checks, aligned(rows), all(check["state"] != "wrong" for check in checks)


def _check(name: str, state: str, found: Any) -> dict[str, str]:
    return {"name": name, "state": state, "found": str(found)}


def _version_checks() -> list[dict[str, str]]:
    found = versions()
    checks = [_check("python", "ok", found["python"])]
    for name, oldest in _OLDEST.items():
        if name not in found:
            checks.append(_check(name, "wrong", f"missing; pip install {name}"))
        elif _parts(found[name]) < _parts(oldest):
            checks.append(
                _check(name, "wrong", f"{found[name]} is older than {oldest}; pip install -U {name}")
            )
        else:
            checks.append(_check(name, "ok", found[name]))
    for name, extra in _OPTIONAL.items():
        missing = f'missing; pip install "hf-transfer-kit[{extra}]" if you need it'
        checks.append(_check(name, "ok" if name in found else "note", found.get(name, missing)))
    return checks


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())


def _device_check() -> dict[str, str]:
    import torch

    if kind := torch.accelerator.current_accelerator(check_available=True):
        numbers = range(torch.accelerator.device_count())
        names = [device_name(torch.device(kind.type, number)) for number in numbers]
        return _check("devices", "ok", ", ".join(names))
    return _check("devices", "ok", f"cpu: {processor_name()}, {torch.get_num_threads()} threads")


def _name_check() -> dict[str, str]:
    """Whether the download accelerator of the same import name shares this environment."""
    owners = set(packages_distributions().get("hf_transfer", []))
    try:
        distribution("hf_transfer")
        owners.add("hf_transfer")
    except PackageNotFoundError:
        pass
    if _guard.accelerator_beside() or any(owner.replace("_", "-") == "hf-transfer" for owner in owners):
        return _check("package name", "wrong", f"the accelerator hf_transfer is installed too. {_guard.MEND}")
    return _check("package name", "ok", "hf_transfer is hf-transfer-kit")


def _hub_checks() -> list[dict[str, str]]:
    from huggingface_hub import constants, get_token

    checks = [_check("Hub address", "ok", constants.ENDPOINT)]
    token = get_token()  # never shown
    advice = "none; `hf auth login` before pushing"
    checks.append(_check("Hub token", "ok" if token else "note", "there is one" if token else advice))
    if constants.HF_HUB_OFFLINE:
        checks.append(_check("Hub network", "note", "HF_HUB_OFFLINE is set"))
    if os.environ.get("HF_HUB_ENABLE_HF_TRANSFER"):
        checks.append(_check("HF_HUB_ENABLE_HF_TRANSFER", "note", "is set, but no longer used; unset it"))
    return checks


def _metric_check() -> dict[str, str]:
    from hf_transfer.scores.class_scorer import ClassificationScorer

    ClassificationScorer(("a", "b"))
    return _check("metrics", "ok", f"work without a network (evaluate {version('evaluate')})")
