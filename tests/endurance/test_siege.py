"""The siege in small: thousands of hostile inputs, of which none is unpickled."""

from __future__ import annotations

import math
import random
import sys
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.harness.flatness import BLOCKS, trend
from benchmarks.harness.results import Results, single
from endurance.siege import bars
from endurance.siege.inputs import Bomb, inputs, recorded
from endurance.siege.measures import (
    FULL,
    OWN,
    TOKEN,
    Settings,
    client,
    hostile_inputs,
    recorded_of_stage,
    served,
)
from endurance.siege.onstage import play
from endurance.siege.storm import storm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SMALL = Settings(1_000, 4_000, 0, 0, 0, 0.0, 0, 0)


def test_nothing_is_unpickled_when_strangers_send_what_they_like(tmp_path: Path) -> None:
    """Not a byte, not a class, no bomb; nothing crashes, and every connection ends."""
    results = Results()
    hostile_inputs(results, SMALL, tmp_path / "a-bomb-went-off")
    assert sum(map(sum, (results.values(f"{where}.inputs", "bgpy") for where in _BOTH))) == 5_000
    for bar in bars.BARS[:2]:
        assert bar.value(results) == single(0), bar.figure


_BOTH = ("storm", "stage")


def test_siege_counts_when_something_is_unpickled(tmp_path: Path) -> None:
    """Its instruments work: a holder of the token has its bytes counted, and a bomb goes off."""
    mark = tmp_path / "a-bomb-went-off"
    with served() as handle, client(handle) as honest:
        before = honest.call({"counts": 1})
        honest.execute({"add": 0, "bomb": Bomb(str(mark))})
        after = honest.call({"counts": 1})
    assert mark.is_dir()
    assert after["bytes"] - before["bytes"] > OWN
    assert after["classes"] > before["classes"]


def test_siege_meets_what_it_means_to_when_its_inputs_are_made() -> None:
    """Of the inputs some are cut short, some begin as a client does, and many hold a bomb."""
    with served() as handle:
        honest = recorded(handle.port, TOKEN)
        made = list(islice(inputs(honest, "/nowhere", 1), 2000))
        assert storm(handle.port, made[:200]).inputs == 200
    assert sum(b"mkdir" in each for each in made) > 200
    assert sum(each.startswith(honest[:60]) for each in made) > 200
    assert len(set(made)) > 1000


def test_play_tells_when_a_session_is_let_in_or_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stage too the instruments work: sessions that stay open or fail are counted."""
    from fuzz import stage

    monkeypatch.setattr("os.urandom", lambda size: stage.SERVER_NONCE[:size])
    honest = recorded_of_stage()
    assert play([honest], 1).failures == 1
    assert play([b"GET / HTTP/1.1"], 1).failures == 0


def test_trend_is_growth_when_samples_rise() -> None:
    """A leak is found below noise of its own size; noise, steps back and a warm-up are flat."""
    chance = random.Random(1)
    noise = [chance.gauss(0, 1) for _ in range(480)]
    leak = [each + 3 * place / len(noise) for place, each in enumerate(noise)]
    warm_up = [50 * math.exp(-place / 20) + each for place, each in enumerate(noise)]
    waves = [each + 5 * math.sin(place / 7) for place, each in enumerate(noise)]
    assert not trend(leak).is_flat(1.0)
    assert trend(leak).is_flat(100.0)
    for flat in (noise, warm_up, waves, [7.0] * 480):
        assert trend(flat).is_flat(1.0)
    with pytest.raises(ValueError, match="tell nothing"):
        trend(noise[: BLOCKS - 1])


def test_siege_is_as_long_as_its_bars_say() -> None:
    """A million inputs, two thousand slow peers, 200,000 calls, 5,000 connects."""
    assert FULL.over_sockets + FULL.on_stage == 1_000_000
    assert (FULL.slow_peers, FULL.calls, FULL.connects) == (2_000, 200_000, 5_000)
