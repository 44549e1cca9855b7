"""Movies reconstructed from the responses of visual cortex, with any encoding model in torch."""

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f"reconstructing movies needs torch, which cannot be imported ({_error}); install it "
        "with: pip install 'iosfast[reconstruct]'"
    ) from _error

from .encoder import ClipEncoder, predict
from .figures import comparison, comparison_video, side_by_side
from .movie import Reconstruction, reconstruct
from .movies import behaviour_traces, natural_movies
from .population import GaborPopulation, noisy_responses
from .prior import Prior
from .published import Architecture, PublishedModel, published_encoder
from .scoring import correlation_by_lag, score
from .sensorium import Mouse, Trial
from .small_encoder import SmallEncoder, train
from .transparency import transparency_mask

__all__ = [
    "Architecture",
    "ClipEncoder",
    "GaborPopulation",
    "Mouse",
    "Prior",
    "PublishedModel",
    "Reconstruction",
    "SmallEncoder",
    "Trial",
    "behaviour_traces",
    "comparison",
    "comparison_video",
    "correlation_by_lag",
    "natural_movies",
    "noisy_responses",
    "predict",
    "published_encoder",
    "reconstruct",
    "score",
    "side_by_side",
    "train",
    "transparency_mask",
]
