"""Movies reconstructed from the responses of visual cortex, with any encoding model in torch."""

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f"reconstructing movies needs torch, which cannot be imported ({_error}); install it "
        "with: pip install 'iosfast[reconstruct]'"
    ) from _error

from .encoder import ClipEncoder, predict
from .movie import Reconstruction, reconstruct
from .movies import behaviour_traces, natural_movies
from .population import GaborPopulation, noisy_responses
from .prior import Prior
from .scoring import correlation_by_lag, score

__all__ = [
    "ClipEncoder",
    "GaborPopulation",
    "Prior",
    "Reconstruction",
    "behaviour_traces",
    "correlation_by_lag",
    "natural_movies",
    "noisy_responses",
    "predict",
    "reconstruct",
    "score",
]
