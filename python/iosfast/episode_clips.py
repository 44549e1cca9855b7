"""Episodes as folders of images and label files, in the layout of the published data set."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .clips import map_names
from .episodes import Episode
from .errors import WriteError
from .maps import Maps
from .staging import Staging, write_error
from .storage import with_start, write_image

#: Bytes of a label file without objects, and of the tags of an image, at most.
_OVERHEAD_BYTES = 4096


def extract_clips(maps: Maps, episodes: Sequence[Episode], out: str | PathLike[str]) -> list[Path]:
    """Write a folder for each episode: one image and one label file for each map.

    The folders are ``segment_<k>_<first map>_<last map>``, k from 0, as in the published data set.
    Images are 8-bit RGB TIFF with the size of a pixel; label files are ISAT's, of the same name,
    and hold no objects yet. `read_clip` reads such a folder.

    Parameters
    ----------
    maps : Maps
    episodes : sequence of Episode
        Of these maps.
    out : path
        A new folder; it appears when it is complete.

    Returns
    -------
    list of Path
        The folders, one for each episode.

    Raises
    ------
    WriteError
        If the folder is there and not empty, or cannot be written; nothing is left.
    ValueError
        If there are no episodes, or they are of other maps.
    """
    if not isinstance(maps, Maps):
        raise TypeError(f"maps must be Maps, as preprocess and load return them, not {maps!r}")
    info = with_start(maps.info)
    names = map_names(info)
    folders = [_folder_name(episode, number, names) for number, episode in enumerate(episodes)]
    if not folders:
        raise ValueError("episodes is empty: there is nothing to write")
    height, width = info.shape
    count = sum(len(episode) for episode in episodes)
    place = Path(out).absolute()
    with Staging(place, False, count * (height * width * 3 + _OVERHEAD_BYTES)) as staging:
        try:
            for episode, folder in zip(episodes, folders, strict=True):
                (staging.work / folder).mkdir()
                for number in range(episode.start, episode.end + 1):
                    path = staging.work / folder / f"{names[number]}.tiff"
                    write_image(path, maps.rgb[number], info)
                    label = _no_labels(place / folder / path.name, info.shape)
                    path.with_suffix(".json").write_text(label, encoding="utf-8")
        except WriteError:
            raise
        except OSError as error:
            raise write_error(staging.out, error) from error
        staging.finish()
    return [place / folder for folder in folders]


def _folder_name(episode: Episode, number: int, names: tuple[str, ...]) -> str:
    if not isinstance(episode, Episode):
        raise TypeError(f"episodes must be a sequence of Episode, not of {episode!r}")
    if not 0 <= episode.start <= episode.end < len(names):
        raise ValueError(
            f"episode {episode.number} has the maps {episode.start} to {episode.end}, but there "
            f"are {len(names)}"
        )
    first, last = names[episode.start], names[episode.end]
    if episode.names != (first, last):
        raise ValueError(
            f"episode {episode.number} is {' to '.join(episode.names)}, but these maps are called "
            f"{first} to {last}: it is of other maps"
        )
    return f"segment_{number}_{first}_{last}"


def _no_labels(image: Path, shape: tuple[int, int]) -> str:
    """Return ISAT's label file of an RGB image in which nothing is outlined yet."""
    from .annotations.isat import text_of
    from .annotations.labels import LabelledImage

    folder, name = str(image.parent), image.name
    return text_of(LabelledImage(image.stem, shape, file_name=name, folder=folder, depth=3))
