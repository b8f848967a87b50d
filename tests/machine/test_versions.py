import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def bounds() -> dict[str, Version]:
    """The lower bound of everything that the kit uses, tools for its development aside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = {"dev", "docs"}
    extras = {name: some for name, some in project["optional-dependencies"].items() if name not in tools}
    lines = [*project["dependencies"], *(line for some in extras.values() for line in some)]
    found = [Requirement(line) for line in lines if not line.startswith("hf-transfer-kit")]
    return {
        canonicalize_name(one.name): Version(next(s.version for s in one.specifier if s.operator == ">="))
        for one in found
    }


def test_the_oldest_versions_are_the_lower_bounds():
    lines = (ROOT / "requirements-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    oldest = {
        canonicalize_name(one.name): Version(next(s.version for s in one.specifier if s.operator == "=="))
        for one in pinned
    }
    assert {name: oldest.get(name) for name in bounds()} == bounds()
