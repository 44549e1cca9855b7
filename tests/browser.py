"""A page in headless Chromium: what it shows, loads, and complains of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# Runs behind the page's own scripts, and leaves what it finds where --dump-dom shows it. All of it
# at once: the browser writes what there is after the event "load", which waits for pictures, and
# for what videos tell of themselves.
_PROBE = """
<script>
addEventListener("load", () => {
  const found = {errors: window.seenErrors};
  const shown = [...document.images].filter((image) => image.getAttribute("src"));
  found.images = shown.map((i) => [i.alt, i.complete, i.naturalWidth, i.naturalHeight]);
  found.videos = [...document.querySelectorAll("video")].map(
    (v) => [v.videoWidth, v.videoHeight, v.duration, v.error && v.error.message]);
  document.documentElement.style.scrollBehavior = "auto";
  found.links = [...document.querySelectorAll(".time a, .list a")].map((link) => {
    location.hash = link.getAttribute("href");
    const target = document.querySelector(":target");
    const place = target && target.getBoundingClientRect();
    return [link.getAttribute("href"), target && "#" + target.id,
            place && place.top < innerHeight && place.bottom > 0];
  });
  found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const entries = performance.getEntriesByType("resource");
  found.resources = entries.map((entry) => entry.name.slice(0, 80));
  found.load_ms = performance.getEntriesByType("navigation")[0].loadEventStart;
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.replaceChildren(out);
});
</script>
"""
# Before everything else.
_LISTEN = """
<script>
window.seenErrors = [];
const seen = (event) => seenErrors.push(event.message || event.target.outerHTML);
addEventListener("error", seen, true);
addEventListener("unhandledrejection", (event) => seenErrors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => seenErrors.push(event.blockedURI));
for (const name of ["error", "warn"]) {
  const own = console[name];
  console[name] = (...words) => { seenErrors.push(words.join(" ")); own(...words); };
}
</script>
"""

# What the browser asks for itself, whatever page it shows.
_OWN_HOSTS = re.compile(r"https?://[a-z0-9.-]*\.(google|googleapis|gstatic|gvt1)\.com/")


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def opened(page: Path, width: int = 1200, height: int = 900) -> dict:
    """Open a copy of a page, with a probe in it, beside it; return what the probe found.

    ``console`` and ``requests`` are what the browser itself tells: messages of its console, and
    addresses that it asked a network for.
    """
    text = page.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    # The listener stands in front of the policy, so that this policy is the page's own.
    text = text.replace("</body>", _PROBE + "</body>").replace(
        'preload="none"', 'preload="metadata"'
    )
    text = re.sub(r"(<meta charset=[^>]*>)", lambda found: found[1] + _LISTEN, text, count=1)
    probed = page.with_name("probed.html")
    probed.write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "net.json"
        run = subprocess.run(
            [
                chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--disable-extensions", "--disable-default-apps",
                "--mute-audio", "--host-resolver-rules=MAP * ~NOTFOUND",
                "--enable-logging=stderr", "--log-level=0",
                f"--user-data-dir={folder}/profile", f"--log-net-log={log}",
                f"--window-size={width},{height}", "--timeout=60000",
                "--dump-dom", probed.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        asked = set(re.findall(r'"url":"((?:https?|wss?|ftp):[^"]*)"', log.read_text()))
    probed.unlink()
    found = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    assert found, run.stdout[-2000:] + run.stderr[-2000:]
    plain = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    result = json.loads(plain)
    result["console"] = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    result["requests"] = sorted(url for url in asked if not _OWN_HOSTS.match(url))
    return result
