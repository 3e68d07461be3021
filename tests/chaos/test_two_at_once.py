"""Two or three at once on one secret, interleaved call by call: the rules hold after every call, and it converges.

A failing order is printed; ``replay(<name of the play>, <order>)`` runs it again, with every call of everybody.
"""

from __future__ import annotations

import pytest

from tests.chaos import scenes
from tests.chaos.interleave import two_switches
from tests.chaos.scenes import Play

PAIRS = (
    Play("two sweeps, due", scenes.due, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, masked", scenes.masked, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, slow propagation", scenes.slow, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, pending", scenes.pending, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, pending since a minute", scenes.fresh_pending, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, unstored", scenes.unstored, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, orphan", scenes.orphan, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, first key", scenes.first_key, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, unadopted", scenes.unadopted, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("two sweeps, grace over", scenes.grace_over, {"a": scenes.sweep, "b": scenes.sweep}),
    Play("rotate and sweep, due", scenes.due, {"a": scenes.rotate, "b": scenes.sweep}),
    Play("rotate and sweep, grace over", scenes.grace_over, {"a": scenes.rotate, "b": scenes.sweep}),
    Play("two rotate", scenes.in_grace, {"a": scenes.rotate, "b": scenes.rotate}),
    Play("rollback and sweep", scenes.in_grace, {"a": scenes.roll_back, "b": scenes.sweep}),
    Play("rollback and sweep, grace nearly over", scenes.grace_nearly_over, {"a": scenes.roll_back, "b": scenes.sweep}),
    Play("rollback and rotate", scenes.in_grace, {"a": scenes.roll_back, "b": scenes.rotate}),
    Play("two rollbacks", scenes.in_grace, {"a": scenes.roll_back, "b": scenes.roll_back}),
    Play("another function and rollback", scenes.in_grace, {"a": scenes.another_function, "b": scenes.roll_back}),
    Play("adopt and sweep", scenes.unadopted, {"a": scenes.adoption, "b": scenes.sweep}),
    Play("adopt and rotate", scenes.unadopted, {"a": scenes.adoption, "b": scenes.rotate}),
    Play("another function and sweep, due", scenes.due, {"a": scenes.another_function, "b": scenes.sweep}),
    Play(
        "another function and sweep, grace over", scenes.grace_over, {"a": scenes.another_function, "b": scenes.sweep}
    ),
    Play("another function and rotate", scenes.in_grace, {"a": scenes.another_function, "b": scenes.rotate}),
    Play("another function and adopt", scenes.unadopted, {"a": scenes.another_function, "b": scenes.adoption}),
)


@pytest.mark.parametrize("play", PAIRS, ids=lambda play: play.name)
def test_every_order_with_two_switches(play: Play) -> None:
    broken: list[str] = []
    runs = 0
    for switches in two_switches(play.calls(), alike=play.acts["a"] is play.acts["b"]):
        _, found, _ = play.run(switches.turns())
        broken += found
        runs += 1
    print(f"{play.name}: {runs} orders")
    assert not broken, "\n".join(broken[:12])
