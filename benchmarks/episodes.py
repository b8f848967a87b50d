"""Write a set of robots' episodes whose answers are known: see docs/how-to/simulation-to-reality.md.

    python benchmarks/episodes.py FOLDER

`frames/` are frames of episodes. Each episode has a scene of its own, and its label is drawn by lot: of new
episodes nobody can know it. `simulation/` and `reality/` show a bright cube; whether it lies left or right
can be learned, and in reality scenes, noise and less contrast come on top. `outcomes.csv` are 50 seeds of two
policies and of doing nothing: the first policy has no skill.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE, CUBE = 32, 8  # pixels of a frame and of the cube
Frame = NDArray[np.float64]


def scene(draw: np.random.Generator) -> Frame:
    """What the camera sees in one episode: blurred patches of light."""
    return np.kron(draw.uniform(40, 180, (4, 4)), np.ones((SIZE // 4, SIZE // 4)))


def frames(draw: np.random.Generator, episodes: int, length: int) -> Iterator[tuple[Frame, dict[str, Any]]]:
    """Frames of one scene an episode, whose light drifts; as many episodes succeed as fail, by lot."""
    results = draw.permutation(["success", "failure"] * (episodes // 2))
    for episode, result in enumerate(results):
        shown, light = scene(draw), 0.0
        for frame in range(length):
            light = 0.9 * light + draw.normal(0, 4)
            about = {"episode_index": episode, "frame_index": frame, "label": result}
            yield shown + light + draw.normal(0, 4, shown.shape), about


def cubes(
    draw: np.random.Generator, episodes: int, length: int, *, real: bool
) -> Iterator[tuple[Frame, dict[str, Any]]]:
    """Frames with a cube, left or right and at any height: as simulated, or as a camera would show it."""
    for episode in range(episodes):
        shown = 0.7 * scene(draw) if real else np.full((SIZE, SIZE), 60.0)
        for frame in range(length):
            left = int(draw.integers(0, SIZE - CUBE + 1))
            top = int(draw.integers(0, SIZE - CUBE + 1))
            picture = shown + draw.normal(0, 12 if real else 2, shown.shape)
            picture[top : top + CUBE, left : left + CUBE] += 70 if real else 150
            side = "left" if left < (SIZE - CUBE) / 2 else "right"
            about = {
                "episode_index": episode,
                "frame_index": frame,
                "label": side,
                "cube_x": left,
                "cube_y": top,
            }
            yield picture, about


def outcomes(draw: np.random.Generator, seeds: int) -> Iterator[dict[str, int]]:
    """Two policies and doing nothing on the same seeds, some of which are easy for all."""
    for seed in range(seeds):
        ease = draw.random()
        chances = {"policy_a": 0.1 + 0.6 * ease, "policy_b": 0.45 + 0.55 * ease, "idle": 0.1 + 0.6 * ease}
        yield {"seed": seed, **{name: int(draw.random() < p) for name, p in chances.items()}}


def write_frames(folder: Path, rows: Iterator[tuple[Frame, dict[str, Any]]]) -> None:
    """Write pictures, and beside them what is known of each."""
    folder.mkdir(parents=True)
    table = []
    for number, (picture, about) in enumerate(rows):
        name = f"{number:04}.png"
        Image.fromarray(picture.clip(0, 255).round().astype(np.uint8)).convert("RGB").save(folder / name)
        table.append({"file_name": name, **about})
    write_csv(folder / "metadata.csv", table)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a table with a header."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write(folder: Path, seed: int = 0, episodes: int = 40) -> None:
    """Write all parts; each draws from a generator of its own."""
    of_frames, simulated, real, tried = (np.random.default_rng([seed, part]) for part in range(4))
    write_frames(folder / "frames", frames(of_frames, 2 * episodes, 6))
    write_frames(folder / "simulation", cubes(simulated, episodes, 6, real=False))
    write_frames(folder / "reality", cubes(real, episodes, 6, real=True))
    write_csv(folder / "outcomes.csv", list(outcomes(tried, 50)))


def main() -> None:
    """Write the set into a new folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.folder, options.seed)


if __name__ == "__main__":
    main()
