"""What is made of figures: ratios, verdicts, tables, the page and the chart."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree

from benchmarks.bars import WANTED
from benchmarks.harness.measures import slices
from benchmarks.harness.results import Results, Spread
from benchmarks.harness.settings import FULL, QUICK, ROAD
from benchmarks.peers import PEERS
from benchmarks.report import bars, chart, pages, tables


def run() -> Results:
    """Two turns: bgpy takes 3 and 2 times as long as raw sockets, while the machine slows down."""
    results = Results()
    for turn, (raw, bgpy) in enumerate([(10e-6, 30e-6), (100e-6, 200e-6)]):
        results.add("call.pinned.median", "raw", turn, raw)
        results.add("call.pinned.median", "bgpy", turn, bgpy)
    results.versions["bgpy"] = "1.0"
    results.about = dataclasses.asdict(FULL)
    results.machine = {"cores": "2"}
    return results


def test_a_ratio_is_made_within_each_turn() -> None:
    """Not of the medians, which a machine that slows down would decide."""
    assert run().ratio("call.pinned.median", "bgpy", "raw") == Spread(2.5, 2.0, 3.0)


def test_a_turn_without_one_of_both_has_no_ratio() -> None:
    """A peer that failed in between."""
    results = run()
    results.add("call.pinned.median", "raw", 3, 10e-6)
    results.add("call.pinned.median", "bgpy", 4, 10e-6)
    assert results.ratio("call.pinned.median", "bgpy", "raw") == Spread(2.5, 2.0, 3.0)
    assert results.ratio("call.pinned.median", "bgpy", "managers") is None


def test_bars_of_the_road_are_held_against_the_median() -> None:
    """With the lowest and highest beside it; what was not measured says so."""
    first, second, *_ = tables.road_bars(run()).rows
    assert first[1:] == ["at most 2 × raw sockets", "2.5 × raw sockets", "2 to 3", "not met"]
    assert second[2:] == ["–", "–", "not measured"]
    slow = bars.ROAD[0]._replace(limit=2.5)
    assert slow.verdict(run()) == "met"
    assert slow._replace(at_most=False, limit=2.6).verdict(run()) == "not met"


def test_short_run_measures_what_each_bar_of_the_road_is_made_of() -> None:
    """Given figures of just its peers and slices, no bar is left unmeasured."""
    results = Results()
    for kind in slices(ROAD):
        for name, what in WANTED.items():
            if kind.needs in what:
                for figure in ("median", "cpu", "rate", "slowest"):
                    results.add(f"{kind.name}.{kind.place}.{figure}", name, 0, 1.0)
    assert {bar.verdict(results) for bar in bars.ROAD} <= {"met", "not met"}


def test_slices_of_no_length_are_left_out() -> None:
    """A run without arrays has no slices of arrays."""
    assert {kind.needs for kind in slices(ROAD)} == {"call", "pipeline", "clients"}
    assert {kind.needs for kind in slices(QUICK)} > {"connect", "put", "get"}


def test_page_tells_what_was_used_and_what_was_left_out() -> None:
    """Bars, method, versions, remarks."""
    results = run()
    results.note("Ray actor is not installed here and was left out.")
    page = pages.page(results)
    assert "| 2.5 × raw sockets | 2 to 3 | not met |" in page
    assert f"of {FULL.rounds} rounds" in page
    assert "- **bgpy, TCP** 1.0: " in page
    assert "**RPyC**" not in page
    assert "\n- Ray actor is not installed here and was left out.\n" in page


def test_chart_has_a_row_for_each_peer_fastest_first() -> None:
    """It is well-formed, and titles with < and & are text."""
    times = chart.round_trips(run())
    assert list(times) == ["raw", "bgpy"]
    labels = [
        each.text
        for each in ElementTree.fromstring(chart.draw(times)).iter()
        if each.get("class", "").startswith("label")
    ]
    assert labels == [PEERS["raw"].title, PEERS["bgpy"].title]


def test_table_of_clients_at_once_sets_the_largest_crowd_beside_managers() -> None:
    """And there is no table of what was not measured, such as pings."""
    results = Results()
    for name, rate, cpu in (("managers", 10_000.0, 70e-6), ("bgpy", 13_000.0, 55e-6)):
        for figure, value in (("rate", rate), ("slowest", 0.8), ("cpu", cpu)):
            results.add(f"clients100.pinned.{figure}", name, 0, value)
        results.add("clients10.pinned.rate", name, 0, 2 * rate)
    (table,) = tables.tables(results)
    assert table.header[1:3] == ["10 on one core", "100 on one core"]
    assert table.rows[1] == ["bgpy, TCP", "26 000", "13 000", "1.30", "0.80", "55.0"]
