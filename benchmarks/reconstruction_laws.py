"""The laws that any reconstruction of movies must show, on simulated neurons: one table.

``python benchmarks/reconstruction_laws.py`` runs all of it (see --help for smaller runs).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from iosfast.reconstruct import (
    ClipEncoder,
    GaborPopulation,
    Prior,
    Reconstruction,
    SmallEncoder,
    behaviour_traces,
    correlation_by_lag,
    natural_movies,
    noisy_responses,
    predict,
    reconstruct,
    score,
    train,
)

SKIP = 10


@dataclass(frozen=True)
class Size:
    """Of a run."""

    shape: tuple[int, int] = (16, 16)
    frames: int = 48
    seeds: int = 5
    neurons: tuple[int, ...] = (125, 250, 500, 1000)
    trained_neurons: int = 200
    members: int = 7
    training_movies: int = 40
    epochs: int = 10
    map_iterations: int = 100
    bauer_iterations: int = 200
    published_iterations: int = 1000
    exponents: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)


#: For the answers only.
SMALL = Size(
    shape=(12, 12), frames=36, seeds=1, neurons=(50, 200), trained_neurons=40, members=2,
    training_movies=6, epochs=4, map_iterations=40, bauer_iterations=40,
    published_iterations=60, exponents=(1.0, 1.5),
)  # fmt: skip


@dataclass
class Session:
    """A movie of a seed, and the responses of single neurons to it."""

    seed: int
    size: Size
    most: int
    movie: np.ndarray = field(init=False)
    behaviour: np.ndarray = field(init=False)
    expected: np.ndarray = field(init=False)
    responses: np.ndarray = field(init=False)

    def __post_init__(self):
        size = self.size
        self.population = GaborPopulation(self.most, size.shape, seed=self.seed)
        self.movie = natural_movies(1, size.frames, size.shape, seed=1000 + self.seed)[0]
        self.behaviour = behaviour_traces(1, size.frames, seed=1000 + self.seed)[0]
        self.expected = predict(self.true(), self.movie, self.behaviour)
        self.responses = noisy_responses(self.expected, seed=self.seed)

    def true(self) -> ClipEncoder:
        return ClipEncoder(self.population, frames=None)

    def trained(self, member: int) -> ClipEncoder:
        size = self.size
        count, seed = size.training_movies, 2000 + self.seed
        movies = natural_movies(count, size.frames, size.shape, seed=seed)
        traces = behaviour_traces(count, size.frames, seed=seed)
        known = [predict(self.true(), m, b) for m, b in zip(movies, traces, strict=True)]
        responses = noisy_responses(np.stack(known), seed=seed)
        model = SmallEncoder(self.most, size.shape, features=12, seed=member)
        train(model, movies, responses, traces, epochs=size.epochs, learning_rate=0.02, seed=member)
        return ClipEncoder(model, frames=None)

    def read(self, encoder, method: str, **options) -> Reconstruction:
        size = self.size
        steps = size.map_iterations if method == "map" else size.bauer_iterations
        options = {"iterations": steps, "responses": self.responses, **options}
        return reconstruct(
            encoder, options.pop("responses"), shape=size.shape, behaviour=self.behaviour,
            method=method, progress=False, **options,
        )  # fmt: skip

    def score(self, found: Reconstruction | np.ndarray) -> float:
        movie = found.movie if isinstance(found, Reconstruction) else found
        return score(movie, self.movie, skip=SKIP) if np.ptp(movie[SKIP:]) else 0.0


class Rows:
    """Values of each seed, by what they are."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begin = time.perf_counter()
        self._values: dict[str, list[list[float]]] = {}

    def keep(self, name: str, values: list[float]) -> None:
        self._values.setdefault(name, []).append(values)
        shown = " ".join(f"{value:.3f}" for value in values)
        self._say(f"{time.perf_counter() - self._begin:6.0f} s  {name}: {shown}")

    def table(self) -> list[str]:
        lines = ["| what | seeds | r |", "|---|---|---|"]
        for name, rows in self._values.items():
            cells = [
                f"{of.mean():.3f} ({of.min():.3f} to {of.max():.3f})" for of in np.array(rows).T
            ]
            lines.append(f"| {name} | {len(rows)} | {'; '.join(cells)} |")
        return lines


def described(size: Size) -> list[str]:
    shape = f"{size.shape[0]} x {size.shape[1]} pixels, {size.frames} frames"
    return [
        f"Simulated Gabor neurons, single trials, movies of {shape}.",
        f"r over all pixels and the frames from {SKIP} on: mean over seeds (lowest to highest).",
        "Trained encoders are SmallEncoder,",
        f"trained on {size.training_movies} movies of the same length.",
    ]


def laws(size: Size, lines: list[str], say: Callable[[str], None] = lambda line: None) -> None:
    """Run the laws; raise if an exact one is broken.

    The lines of the report are put in place after each seed, for runs that are cut off.
    """
    rows = Rows(say)
    keep = rows.keep
    counts = ", ".join(map(str, size.neurons))
    for seed in range(size.seeds):
        session = Session(seed, size, max(size.neurons))
        encoder = session.true()
        last = None
        for method in ("map", "bauer2026"):
            found = [session.read(encoder, method, neurons=np.arange(n)) for n in size.neurons]
            keep(f"{method}, true encoder, {counts} neurons", [session.score(one) for one in found])
            last = found[-1]
            by_lag = correlation_by_lag(last.movie, session.movie, skip=SKIP, max_lag=8)
            keep(f"{method}, lag of the peak (frames)", [float(by_lag.argmax() - 8)])
            clean = session.read(encoder, method, responses=session.expected)
            keep(f"{method}, noise-free minus noisy", [session.score(clean) - session.score(last)])
            mixed = np.random.default_rng(seed).permutation(session.most)
            shuffled = session.read(
                encoder, method, responses=session.responses[mixed], holdout=0, patience=None
            )
            keep(f"{method}, neurons shuffled", [session.score(shuffled)])
            kept = np.arange(0, session.most, 2)
            wild = session.responses.copy()
            wild[1::2] = 1e6
            pair = [
                session.read(encoder, method, neurons=kept, responses=r, iterations=8)
                for r in (session.responses, wild)
            ]
            if pair[0].movie.tobytes() != pair[1].movie.tobytes():
                raise AssertionError(f"{method}: left-out neurons changed the movie")
        # The held-out neurons choose the movie, but do not stop the search.
        once, thrice = (
            session.read(encoder, "map", iterations=n * size.map_iterations, patience=None)
            for n in (1, 3)
        )
        keep("map, three times the iterations", [session.score(thrice) - session.score(once)])
        small = Session(seed, size, size.trained_neurons)
        encoders = [small.trained(member) for member in range(size.members)]
        for method in ("map", "bauer2026"):
            ensemble = small.read(encoders, method)
            single = float(np.mean([small.score(m) for m in ensemble.members]))
            keep(
                f"{method}, trained encoders of {small.most}: mean single, mean of {size.members}",
                [single, small.score(ensemble)],
            )
        lines[:] = [
            *described(size),
            f"bauer2026 has at most {size.bauer_iterations} iterations, map {size.map_iterations};",
            "both stop early by the held-out tenth of neurons, but for three times the iterations,",
            "and but for shuffled neurons, where none are held out.",
            "",
            *rows.table(),
            "",
            "Left-out neurons' values changed nothing, to the bit, in every seed.",
        ]


def methods(size: Size, lines: list[str], say: Callable[[str], None] = lambda line: None) -> None:
    """Compare the methods, with wrong priors and with encoders that were trained; as `laws`."""
    rows = Rows(say)
    count = size.trained_neurons
    for seed in range(size.seeds):
        session = Session(seed, size, count)
        for kind, encoder in (("true", session.true()), ("trained", session.trained(0))):
            for exponent in size.exponents:
                found = session.read(encoder, "map", prior=Prior(exponent=exponent))
                name = f"map, exponent {exponent:g} of the prior, {kind} encoder"
                rows.keep(name, [session.score(found)])
            many = {"iterations": size.published_iterations}
            found = session.read(encoder, "bauer2026", **many)
            rows.keep(f"bauer2026, stopped early, {kind} encoder", [session.score(found)])
            found = session.read(encoder, "bauer2026", holdout=0, patience=None, **many)
            rows.keep(f"bauer2026, as published, {kind} encoder", [session.score(found)])
        lines[:] = [
            *described(size),
            f"{count} neurons, one encoder; bauer2026 has {size.published_iterations} iterations,",
            "at most or (as published) always, and then no neurons are held out.",
            "",
            *rows.table(),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="seconds instead of an hour")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--run", choices=("all", "laws", "methods"), default="all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = SMALL if options.small else Size(seeds=options.seeds)
    runs = {"laws": laws, "methods": methods}
    for run in runs.values() if options.run == "all" else [runs[options.run]]:
        lines: list[str] = []
        try:
            run(size, lines, lambda line: print(line, flush=True))
        finally:
            print("\n".join(lines))


if __name__ == "__main__":
    main()
