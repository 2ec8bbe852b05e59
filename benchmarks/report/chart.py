"""The chart of the round trip: one dot per peer on a logarithmic axis, as SVG text."""

from __future__ import annotations

import math
from html import escape

from benchmarks.harness.results import Results
from benchmarks.peers import PEERS

WIDTH = 760
LEFT, RIGHT = 250, 90
TOP, ROW, BOTTOM = 64, 34, 48
OWN = ("bgpy", "bgpy_unix", "bgpy_tls")
"""The rows that stand out."""
STYLE = """\
    text { font: 14px system-ui, sans-serif; fill: #24292f; }
    .ground { fill: #ffffff; }
    .title { font-size: 16px; font-weight: 600; }
    .small { font-size: 12px; fill: #57606a; }
    .own { font-weight: 600; }
    .grid { stroke: #d0d7de; }
    .stem { stroke: #8c959f; stroke-width: 2; }
    .dot { fill: #6e7781; }
    .stem.own { stroke: #0969da; }
    .dot.own { fill: #0969da; }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117; }
      text { fill: #e6edf3; }
      .small { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .stem { stroke: #656c76; }
      .dot { fill: #9198a1; }
      .stem.own { stroke: #4493f8; }
      .dot.own { fill: #4493f8; }
    }"""


def round_trips(results: Results) -> dict[str, float]:
    """Microseconds of a small call on one core by peer, fastest first."""
    found: dict[str, float] = {}
    for name in results.figures.get("call.pinned.median", {}):
        spread = results.spread("call.pinned.median", name)
        if spread is not None:
            found[name] = 1e6 * spread.median
    return dict(sorted(found.items(), key=lambda item: item[1]))


def draw(times: dict[str, float]) -> str:
    """The chart of what `round_trips` gives."""
    first = math.floor(math.log10(min(times.values())))
    last = math.ceil(math.log10(max(times.values())))
    scale = (WIDTH - LEFT - RIGHT) / max(1, last - first)
    height = TOP + ROW * len(times) + BOTTOM
    foot = TOP + ROW * len(times)

    def across(microseconds: float) -> float:
        return LEFT + scale * (math.log10(microseconds) - first)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">',
        f"  <style>\n{STYLE}\n  </style>",
        # A ground of its own: a page may be dark where the system is not.
        f'  <rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        f'  <text class="title" id="title" x="16" y="30">{TITLE}</text>',
        f'  <text class="small" x="16" y="50">{SUBTITLE}</text>',
    ]
    for decade in range(first, last + 1):
        x = across(10.0**decade)
        parts.append(f'  <path class="grid" d="M{x:.1f} {TOP}V{foot}"/>')
        parts.append(
            f'  <text class="small" x="{x:.1f}" y="{foot + 20}" text-anchor="middle">'
            f"{time_words(10.0**decade)}</text>"
        )
    for row, (name, microseconds) in enumerate(times.items()):
        y = TOP + ROW * row + ROW / 2
        x = across(microseconds)
        own = " own" if name in OWN else ""
        parts += [
            f'  <text class="label{own}" x="{LEFT - 12}" y="{y + 5}" text-anchor="end">'
            f"{escape(PEERS[name].title)}</text>",
            f'  <path class="stem{own}" d="M{LEFT} {y}H{x:.1f}"/>',
            f'  <circle class="dot{own}" cx="{x:.1f}" cy="{y}" r="6"/>',
            f'  <text class="value{own}" x="{x + 12:.1f}" y="{y + 5}">'
            f"{time_words(microseconds)}</text>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


TITLE = "One call: a small dict there and back"
SUBTITLE = "Median time, client and server on one core; logarithmic axis, shorter is better"


def time_words(microseconds: float) -> str:
    """A time with the unit that suits it."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if microseconds >= size:
            value = microseconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"
    return f"{microseconds:.2g} µs"
