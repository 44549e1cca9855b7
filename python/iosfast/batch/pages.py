"""The page that leads to everything a batch has made."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from .. import __version__
from ..staging import file_beside
from .quantities import size_of
from .summary import EVENTS, SUMMARY, Row
from .tasks import LOG

INDEX = "index.html"

#: What is linked of a recording, if it is there: text, path below its folder.
_LINKS = (
    ("report", "report/report.html"),
    ("episodes", "episodes/episodes.csv"),
    ("outlines", "segmented"),
    ("waves", "measures/events.csv"),
    ("log", LOG),
)
_PICTURES = ("maps/contact_sheet.png", "episodes/episodes.png")

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; }}
body {{ margin: 2em auto; max-width: 75em; padding: 0 1em; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .35em .7em; }}
td {{ border-top: 1px solid #ddd; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
th.number {{ text-align: right; }}
td.name, td.state {{ overflow-wrap: anywhere; min-width: 14em; }}
img {{ max-width: 16em; max-height: 8em; display: block; }}
.failed {{ color: #a00; }} .small {{ color: #666; font-size: 85%; overflow-wrap: anywhere; }}
nav a, td a {{ margin-right: .8em; }}
</style></head><body>
"""


def write_index(out: Path, rows: Sequence[Row]) -> Path:
    """Write ``index.html``: a table of all recordings, those that failed first."""
    states = [row.state for row in rows]
    counts = ", ".join(f"{states.count(s):,} {s}" for s in dict.fromkeys(states))
    parts = [_HEAD.format(title=html.escape(f"{out.name}: {len(rows)} recordings"))]
    parts.append(f"<h1>{html.escape(out.name)}</h1>\n")
    when = datetime.now().isoformat(" ", "minutes")
    parts.append(f"<p>{len(rows):,} recordings: {html.escape(counts)}.</p>\n<nav>")
    parts += [_link(name, name) for name in (SUMMARY, EVENTS) if (out / name).exists()]
    parts.append(f'</nav>\n<p class="small">{when}, iosfast {html.escape(__version__)}</p>\n')
    names = ("recording", "state", "size", "maps", "episodes", "waves", "results", "pictures")
    heads = [f'<th class="number">{n}</th>' if n in names[2:6] else f"<th>{n}</th>" for n in names]
    parts.append(f"<table><thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n")
    order = sorted(rows, key=lambda row: row.state != "failed")
    with file_beside(out / INDEX) as work, work.open("w", encoding="utf-8") as file:
        file.writelines(parts)
        file.writelines(_row(out, row) for row in order)
        file.write("</tbody></table>\n</body></html>\n")
    return out / INDEX


def _row(out: Path, row: Row) -> str:
    at = row.folder.relative_to(out).as_posix()
    facts = row.facts or {}
    about = ", ".join(filter(None, (row.planned.animal, row.planned.condition)))
    name = f"{_text(row.planned.name)}<div class='small'>{_text(about)}</div>"
    failed = " failed" if row.state == "failed" else ""
    state = f"{row.state}<div class='small'>{_text(row.error)}</div>"
    numbers = [
        size_of(row.planned.nbytes),
        *(facts.get(n, "") for n in ("maps", "episodes", "waves")),
    ]
    cells = "".join(f"<td class='number'>{_text(str(n))}</td>" for n in numbers)
    links = "".join(_link(t, f"{at}/{p}") for t, p in _LINKS if (row.folder / p).exists())
    pictures = [p for p in _PICTURES if (row.folder / p).exists()]
    shown = "".join(
        f'<a href="{_address(f"{at}/{p}")}"><img loading="lazy" alt="{_text(p)}" '
        f'src="{_address(f"{at}/{p}")}"></a>'
        for p in pictures
    )
    return (
        f"<tr><td class='name'>{name}</td><td class='state{failed}'>{state}</td>{cells}"
        f"<td>{links}</td>"
        f"<td>{shown}</td></tr>\n"
    )


def _link(text: str, path: str) -> str:
    return f'<a href="{_address(path)}">{_text(text)}</a>'


def _address(path: str) -> str:
    return html.escape(quote(path.encode("utf-8", "surrogateescape")), quote=True)


def _text(text: str) -> str:
    return html.escape(text.encode("utf-8", "backslashreplace").decode())
