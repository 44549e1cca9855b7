"""The demonstration: a simulated cortex, encoders trained on it, and what can be read back."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import WriteError
from ..figures import save
from ..staging import file_beside
from .encoder import ClipEncoder, predict
from .figures import comparison, comparison_video
from .movie import reconstruct
from .movies import behaviour_traces, natural_movies
from .population import GaborPopulation, noisy_responses
from .scoring import score
from .small_encoder import SmallEncoder, train

#: Small, so that the demo takes about two minutes on two cores.
SHAPE, FRAMES = (18, 32), 64
NEURONS = (75, 150, 300)
MEMBERS, TRAINING_MOVIES, TRAINING_FRAMES, EPOCHS, FEATURES = 3, 40, 60, 15, 12
ITERATIONS, PATIENCE = 60, 15
SKIP = 10


def run_demo(out: Path | None = None, seed: int = 0) -> None:
    """Simulate, train, reconstruct, score and draw, in a new folder.

    Parameters
    ----------
    out : Path, optional
        The folder; default ``iosfast-reconstruct-demo``, or with ``-2`` if that exists, ...
    seed : int
        Of everything.

    Raises
    ------
    WriteError
        If the folder exists and is not empty, or cannot be written.
    """
    if out is None:
        base = "iosfast-reconstruct-demo"
        names = (base if n == 1 else f"{base}-{n}" for n in itertools.count(1))
        out = next(path for path in map(Path, names) if not path.exists())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WriteError(f"{out}: exists already; remove it, or choose another --out")
    created = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        _run(out, seed)
    except BaseException:
        if created:
            shutil.rmtree(out, ignore_errors=True)
        raise


def _run(out: Path, seed: int) -> None:
    most = max(NEURONS)
    print(f"simulating {most} neurons that see movies of {SHAPE[0]} x {SHAPE[1]} pixels")
    population = ClipEncoder(GaborPopulation(most, SHAPE, seed=seed), frames=None)
    shown, traces, responses = _recorded(population, TRAINING_MOVIES, TRAINING_FRAMES, seed)
    encoders = []
    for member in range(MEMBERS):
        print(f"training encoder {member + 1} of {MEMBERS} on {TRAINING_MOVIES} movies")
        model = SmallEncoder(most, SHAPE, features=FEATURES, seed=seed + member)
        train(
            model, shown, responses, traces, epochs=EPOCHS, learning_rate=0.02,
            seed=seed + member, progress=True,
        )  # fmt: skip
        encoders.append(ClipEncoder(model, frames=None))
    new, behaviour, answers = _recorded(population, 1, FRAMES, seed + 1_000_000)
    truth = new[0]
    print(f"reconstructing {FRAMES} frames that no encoder has seen, from a single trial")
    by_neurons: dict[int, list[float]] = {}
    found = None
    for count in NEURONS:
        found = reconstruct(
            encoders, answers[0], shape=SHAPE, behaviour=behaviour[0],
            neurons=np.arange(count), iterations=ITERATIONS, patience=PATIENCE, seed=seed,
        )  # fmt: skip
        by_neurons[count] = [_scored(m, truth) for m in found.members]
    assert found is not None
    members = found.members
    by_members = {
        n: [
            _scored(members[list(some)].mean(axis=0), truth)
            for some in itertools.combinations(range(MEMBERS), n)
        ]
        for n in range(1, MEMBERS + 1)
    }
    whole = _scored(found.movie, truth)
    figure = comparison(
        truth, found.movie, by_neurons=by_neurons, by_members=by_members,
        title=f"Simulated cortex, {most} neurons, {MEMBERS} trained encoders: r = {whole:.2f}",
    )  # fmt: skip
    picture = save(figure, out / "reconstruction.png", dpi=150)
    video = comparison_video(out / "reconstruction.mp4", truth, found.movie)
    table = out / "scores.json"
    text = json.dumps({"r": whole, "by_neurons": by_neurons, "by_members": by_members}, indent=1)
    with file_beside(table) as work:
        work.write_text(text + "\n", encoding="utf-8")
    for count, values in by_neurons.items():
        print(f"{count:>4} neurons, one encoder:  r = {np.mean(values):.2f}")
    print(f"{most:>4} neurons, {MEMBERS} encoders:   r = {whole:.2f}")
    print(f"look at:   {picture}, {video}")
    print(f"numbers:   {table}")
    print("These are simulated neurons; r says nothing about what recordings would give.")


def _scored(movie: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Score a movie; a grey one, which tells nothing, is 0."""
    return score(movie, truth, skip=SKIP) if np.ptp(movie[SKIP:]) > 0 else 0.0


def _recorded(
    population: ClipEncoder, count: int, frames: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Give movies, behaviour, and the responses of single trials."""
    movies = natural_movies(count, frames, SHAPE, seed=seed)
    traces = behaviour_traces(count, frames, seed=seed)
    expected = np.stack(
        [predict(population, movie, trace) for movie, trace in zip(movies, traces, strict=True)]
    )
    return movies, traces, noisy_responses(expected, seed=seed)
