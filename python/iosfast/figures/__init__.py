"""Pictures of maps and of waves, drawn without a display."""

from .color_scale import ColorScale
from .contact_sheet import contact_sheet
from .episodes_overview import episodes_overview
from .montage import montage
from .parts import save
from .traces import traces
from .wave_maps import isochrones, overlay, speed_map

__all__ = [
    "ColorScale",
    "contact_sheet",
    "episodes_overview",
    "isochrones",
    "montage",
    "overlay",
    "save",
    "speed_map",
    "traces",
]
