"""Two or three at once on one secret, interleaved call by call: the rules hold after every call, and it converges.

Of two it is every order in which each is interrupted once; where there are three, or an emergency, hypothesis chooses
the orders. A failing order is printed; ``replay(<name of the play>, <order>)`` runs it again, with everybody's calls::

    python -c 'from tests.chaos.test_two_at_once import replay; replay("two rotate", "aabbba")'
"""

from __future__ import annotations

import re

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

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


# ---- three, and emergencies -----------------------------------------------------------------------------------------

THREE = (
    Play("three sweeps", scenes.due, {"a": scenes.sweep, "b": scenes.sweep, "c": scenes.sweep}),
    Play("three sweeps, orphan", scenes.orphan, {"a": scenes.sweep, "b": scenes.sweep, "c": scenes.sweep}),
    Play("rotate and two sweeps", scenes.masked, {"a": scenes.rotate, "b": scenes.sweep, "c": scenes.sweep}),
    Play("own steps and sweep", scenes.due, {"a": scenes.own_steps, "b": scenes.sweep}),
    Play("own steps and sweep, pending", scenes.fresh_pending, {"a": scenes.own_steps, "b": scenes.sweep}),
    Play(
        "own steps, rotate and sweep", scenes.in_grace, {"a": scenes.own_steps, "b": scenes.rotate, "c": scenes.sweep}
    ),
    Play("own steps and rollback", scenes.in_grace, {"a": scenes.own_steps, "b": scenes.roll_back}),
)
EMERGENCIES = (
    *(
        Play(f"{name}, rotate and sweep", make, {"a": act, "b": scenes.rotate, "c": scenes.sweep}, True, works)
        for make, name, act, works in (
            (scenes.due, "replace-first", scenes.replace_first, True),
            (scenes.due, "revoke-first", scenes.revoke_first, False),
            (scenes.due, "revoke-only", scenes.revoke_only, False),
        )
    ),
    *(
        Play(f"{name} and two rotate", make, {"a": act, "b": scenes.rotate, "c": scenes.rotate}, True, works)
        for make, name, act, works in (
            (scenes.in_grace, "replace-first", scenes.replace_first, True),
            (scenes.masked_in_grace, "replace-first, masked", scenes.replace_first, True),
            (scenes.masked_in_grace, "revoke-first, masked", scenes.revoke_first, False),
            (scenes.masked_in_grace, "revoke-only, masked", scenes.revoke_only, False),
        )
    ),
    *(
        Play(f"{name}, own steps and sweep", scenes.due, {"a": act, "b": scenes.own_steps, "c": scenes.sweep}, True, ok)
        for name, act, ok in (
            ("replace-first", scenes.replace_first, True),
            ("revoke-first", scenes.revoke_first, False),
            ("revoke-only", scenes.revoke_only, False),
        )
    ),
    Play("replace-first and rollback", scenes.in_grace, {"a": scenes.replace_first, "b": scenes.roll_back}, True),
    Play("one emergency twice", scenes.in_grace, {"a": scenes.replace_first, "b": scenes.replace_first}, True),
    Play("two emergencies", scenes.in_grace, {"a": scenes.replace_first, "b": scenes.another_incident}, True),
    Play("replace-first and sweep, unstored", scenes.unstored, {"a": scenes.replace_first, "b": scenes.sweep}, True),
)
UNADOPTED = Play(
    "revoke-first and two rotate, unadopted",
    scenes.unadopted,
    {"a": scenes.revoke_first, "b": scenes.rotate, "c": scenes.rotate},
    emergency=True,
    consumers=False,
)
FOUND = (
    # One revokes a key, and takes off the labels by which the other would prove whose it is:
    (next(play for play in EMERGENCIES if play.name == "one emergency twice"), "aabbaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbb"),
    (THREE[1], "aaaaaaaabcccccccccccccaaacbbbbbaaccbbbbbbbaaaa"),  # one finishes what another gives up
    (UNADOPTED, "bbbbbbbbcccccbaaaaaacccccccccccccbaaaaaaaaaaaaaaaaaaaac"),  # what is read is not what was looked at
)
"""Orders that broke a rule once."""
EXAMPLES = 8
"""Orders a play, the same ones in every run; the rest of all orders is for whoever raises it."""


@pytest.mark.parametrize(("play", "order"), FOUND, ids=lambda value: value.name if isinstance(value, Play) else "")
def test_orders_that_broke_a_rule_once(play: Play, order: str) -> None:
    for end in range(len(order) + 1):
        _, broken, _ = play.run(iter(order[:end]))
        assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("play", [*THREE, *EMERGENCIES], ids=lambda play: play.name)
def test_orders_that_chance_chooses(play: Play) -> None:
    turns = st.tuples(st.sampled_from(sorted(play.acts)), st.integers(1, 12))
    orders = st.lists(turns, min_size=3, max_size=12).map(lambda runs: "".join(who * count for who, count in runs))

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink]
    )
    @given(orders)
    def holds(order: str) -> None:
        done, broken, _ = play.run(iter(order))
        if broken:
            note(f"replay({play.name!r}, {done!r})")
        assert not broken, "\n".join(broken[:12])

    holds()


def replay(name: str, order: str) -> list[str]:
    """Run one order of a play again, and say every call and what it broke. Keys get short names."""
    play = next(play for play in (*PAIRS, *THREE, *EMERGENCIES, UNADOPTED) if play.name == name)
    _, broken, scene = play.run(iter(order))
    made = {letter: iter(actor.made) for letter, actor in scene.stage.actors.items()}
    ids: dict[str, str] = {}
    for text in [*(f"{letter}  {next(made[letter])}" for letter in scene.stage.order), *broken]:
        print(re.sub(r"[0-9A-F]{32}", lambda found: ids.setdefault(found.group(), f"K{len(ids) + 1}"), text))
    return broken


def test_an_order_replays(capsys: pytest.CaptureFixture[str]) -> None:
    play = EMERGENCIES[3]
    order, broken, scene = play.run(iter("aaabbbbcccaaaa"))
    assert replay(play.name, order) == broken == []
    said = [line[0] for line in capsys.readouterr().out.splitlines()]
    assert "".join(said) == order == scene.stage.order


def test_a_mistake_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the care for what others promote meanwhile, chance finds the order in which that is ended."""
    monkeypatch.setattr("rotator.engine.emergency.incident.Work.is_newer", lambda *_: False)
    play = EMERGENCIES[4]
    found = [broken for n in range(9) for _, broken, _ in [play.run(iter("a" * n + "b" * 20 + "c" * 30))]]
    assert any("rule 3" in text for broken in found for text in broken)
