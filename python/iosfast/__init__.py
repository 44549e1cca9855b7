"""iosfast: camera recordings of the cortex to maps of activity, at the speed of the disk."""

from importlib.metadata import version as _version

__version__ = _version("iosfast")

try:
    from . import _core as _core
except ImportError as _error:
    raise ImportError(
        "iosfast's compiled core is missing or does not fit this Python; install iosfast with "
        "pip (pip install .) instead of importing it from its source folder"
    ) from _error

from . import figures, sam2, simulate
from .annotations import Annotations
from .batch import batch, verify
from .clips import Clip, read_clip
from .comparison import Comparison, compare
from .episode_clips import extract_clips
from .episode_tables import read_episodes, write_episodes
from .episodes import Episode, find_episodes
from .errors import IosfastWarning, ReadError, WriteError
from .evaluate import Evaluation, Scoring, evaluate
from .live import Preprocessor
from .maps import Map, Maps
from .masks import cortex_mask, read_mask
from .metrics import Measurement, measure
from .preprocess import preprocess
from .prompts import Prompt, read_prompts, write_prompts
from .readers import Recording, open_recording
from .recipe import Recipe
from .segment import Segmentation, propose_prompts, segment
from .session_report import report
from .storage import load
from .video import tracking_video

__all__ = [
    "Annotations",
    "Clip",
    "Comparison",
    "Episode",
    "Evaluation",
    "IosfastWarning",
    "Map",
    "Maps",
    "Measurement",
    "Preprocessor",
    "Prompt",
    "ReadError",
    "Recipe",
    "Recording",
    "Scoring",
    "Segmentation",
    "WriteError",
    "__version__",
    "batch",
    "compare",
    "cortex_mask",
    "evaluate",
    "extract_clips",
    "figures",
    "find_episodes",
    "load",
    "measure",
    "open_recording",
    "preprocess",
    "propose_prompts",
    "read_clip",
    "read_episodes",
    "read_mask",
    "read_prompts",
    "report",
    "sam2",
    "segment",
    "simulate",
    "tracking_video",
    "verify",
    "write_episodes",
    "write_prompts",
]
