"""Two or three at once on one secret, interleaved call by call: the rules hold after every call, and it converges.

Of two it is every order in which each is interrupted once; where there are three, or an emergency, hypothesis chooses
the orders. A failing order is printed; ``replay(<name of the case>, <order>)`` runs it again, with every call::

    python -c 'from tests.chaos.test_two_at_once import replay; replay("two rotate", "aabbba")'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from rotator.sandbox.state import Options
from tests.chaos.concurrency import (
    Act,
    Case,
    adoption,
    another_function,
    another_incident,
    own_steps,
    replace_first,
    revoke_first,
    revoke_only,
    roll_back,
    rotate,
    sweep,
)
from tests.chaos.interleave import two_switches
from tests.chaos.worlds import CREATE, MINUTE, PROBE, SMS, alone, killed_at, rotated_by_hand, swept
from tests.world import HOUR, World


def masked() -> World:
    return alone(Options(reveal=False))


def slow() -> World:
    return alone(Options(propagation=timedelta(seconds=20)))


def in_grace() -> World:
    return swept(alone(), HOUR)


def masked_in_grace() -> World:
    """No actor can go on with another's key: each has to create its own."""
    return swept(masked(), HOUR)


def grace_nearly_over() -> World:
    return rotated_by_hand(72 * HOUR - MINUTE)


def grace_over() -> World:
    return swept(alone(), 72 * HOUR)


def unadopted() -> World:
    return alone(adopted=False)


def first_key() -> World:
    world = World()
    world.account()
    world.store.create_secret(SMS, world.tags(scopes="sms:manage"))
    return world


def pending() -> World:
    return killed_at(alone(), PROBE, HOUR)


def fresh_pending() -> World:
    return killed_at(alone(), PROBE, MINUTE)


def unstored() -> World:
    return killed_at(alone(), CREATE, MINUTE)


def orphan() -> World:
    return killed_at(masked(), CREATE, HOUR)


def case_of(name: str, make: Callable[[], World], *acts: Act) -> Case:
    """One without an emergency."""
    return Case(name, make, dict(zip("abc", acts, strict=False)))


def emergency_case(name: str, make: Callable[[], World], *acts: Act) -> Case:
    """One whose first actor is an emergency: only ``replace-first`` keeps consumers served."""
    return Case(name, make, dict(zip("abc", acts, strict=False)), True, acts[0] is replace_first)


PAIRS = (
    case_of("two sweeps, due", alone, sweep, sweep),
    case_of("two sweeps, masked", masked, sweep, sweep),
    case_of("two sweeps, slow propagation", slow, sweep, sweep),
    case_of("two sweeps, pending", pending, sweep, sweep),
    case_of("two sweeps, pending since a minute", fresh_pending, sweep, sweep),
    case_of("two sweeps, unstored", unstored, sweep, sweep),
    case_of("two sweeps, orphan", orphan, sweep, sweep),
    case_of("two sweeps, first key", first_key, sweep, sweep),
    case_of("two sweeps, unadopted", unadopted, sweep, sweep),
    case_of("two sweeps, grace over", grace_over, sweep, sweep),
    case_of("rotate and sweep, due", alone, rotate, sweep),
    case_of("rotate and sweep, grace over", grace_over, rotate, sweep),
    case_of("two rotate", in_grace, rotate, rotate),
    case_of("rollback and sweep", in_grace, roll_back, sweep),
    case_of("rollback and sweep, grace nearly over", grace_nearly_over, roll_back, sweep),
    case_of("rollback and rotate", in_grace, roll_back, rotate),
    case_of("two rollbacks", in_grace, roll_back, roll_back),
    case_of("another function and rollback", in_grace, another_function, roll_back),
    case_of("adopt and sweep", unadopted, adoption, sweep),
    case_of("adopt and rotate", unadopted, adoption, rotate),
    case_of("another function and sweep, due", alone, another_function, sweep),
    case_of("another function and sweep, grace over", grace_over, another_function, sweep),
    case_of("another function and rotate", in_grace, another_function, rotate),
    case_of("another function and adopt", unadopted, another_function, adoption),
)


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_every_order_with_two_switches(case: Case) -> None:
    broken: list[str] = []
    runs = 0
    for switches in two_switches(case.calls(), alike=case.acts["a"] is case.acts["b"]):
        _, found, _ = case.run(switches.order())
        broken += found
        runs += 1
    print(f"{case.name}: {runs} orders")
    assert not broken, "\n".join(broken[:12])


# ---- three, and emergencies -----------------------------------------------------------------------------------------

THREE = (
    case_of("three sweeps", alone, sweep, sweep, sweep),
    case_of("three sweeps, orphan", orphan, sweep, sweep, sweep),
    case_of("rotate and two sweeps", masked, rotate, sweep, sweep),
    case_of("own steps and sweep", alone, own_steps, sweep),
    case_of("own steps and sweep, pending", fresh_pending, own_steps, sweep),
    case_of("own steps, rotate and sweep", in_grace, own_steps, rotate, sweep),
    case_of("own steps and rollback", in_grace, own_steps, roll_back),
)
EMERGENCIES = (
    emergency_case("replace-first, rotate and sweep", alone, replace_first, rotate, sweep),
    emergency_case("revoke-first, rotate and sweep", alone, revoke_first, rotate, sweep),
    emergency_case("revoke-only, rotate and sweep", alone, revoke_only, rotate, sweep),
    emergency_case("replace-first and two rotate", in_grace, replace_first, rotate, rotate),
    emergency_case("replace-first, masked and two rotate", masked_in_grace, replace_first, rotate, rotate),
    emergency_case("revoke-first, masked and two rotate", masked_in_grace, revoke_first, rotate, rotate),
    emergency_case("revoke-only, masked and two rotate", masked_in_grace, revoke_only, rotate, rotate),
    emergency_case("replace-first, own steps and sweep", alone, replace_first, own_steps, sweep),
    emergency_case("revoke-first, own steps and sweep", alone, revoke_first, own_steps, sweep),
    emergency_case("revoke-only, own steps and sweep", alone, revoke_only, own_steps, sweep),
    emergency_case("replace-first and rollback", in_grace, replace_first, roll_back),
    emergency_case("one emergency twice", in_grace, replace_first, replace_first),
    emergency_case("two emergencies", in_grace, replace_first, another_incident),
    emergency_case("replace-first and sweep, unstored", unstored, replace_first, sweep),
)
UNADOPTED = emergency_case("revoke-first and two rotate, unadopted", unadopted, revoke_first, rotate, rotate)
FOUND = (
    # One revokes a key, and takes off the labels by which the other would prove whose it is:
    (EMERGENCIES[11], "aabbaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbb"),
    (THREE[1], "aaaaaaaabcccccccccccccaaacbbbbbaaccbbbbbbbaaaa"),  # one finishes what another gives up
    (UNADOPTED, "bbbbbbbbcccccbaaaaaacccccccccccccbaaaaaaaaaaaaaaaaaaac"),  # what is read is not what was checked
)
"""Orders that broke a rule once."""
EXAMPLES = 8
"""Orders a case, the same ones in every run; raise it for more."""


@pytest.mark.parametrize(("case", "order"), FOUND, ids=lambda value: value.name if isinstance(value, Case) else "")
def test_orders_that_broke_a_rule_once(case: Case, order: str) -> None:
    for end in range(len(order) + 1):
        _, broken, _ = case.run(iter(order[:end]))
        assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("case", [*THREE, *EMERGENCIES], ids=lambda case: case.name)
def test_orders_that_chance_chooses(case: Case) -> None:
    stretches = st.tuples(st.sampled_from(sorted(case.acts)), st.integers(1, 12))
    orders = st.lists(stretches, min_size=3, max_size=12).map(
        lambda runs: "".join(letter * count for letter, count in runs)
    )

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink]
    )
    @given(orders)
    def holds(order: str) -> None:
        done, broken, _ = case.run(iter(order))
        if broken:
            note(f"replay({case.name!r}, {done!r})")
        assert not broken, "\n".join(broken[:12])

    holds()


def replay(name: str, order: str) -> list[str]:
    """Run one order of a case again, and print every call and what it broke. Keys get short names."""
    case = next(case for case in (*PAIRS, *THREE, *EMERGENCIES, UNADOPTED) if case.name == name)
    _, broken, run = case.run(iter(order))
    made = {letter: iter(actor.made) for letter, actor in run.actors.actors.items()}
    ids: dict[str, str] = {}
    for text in [*(f"{letter}  {next(made[letter])}" for letter in run.actors.order), *broken]:
        print(re.sub(r"[0-9A-F]{32}", lambda found: ids.setdefault(found.group(), f"K{len(ids) + 1}"), text))
    return broken


def test_an_order_replays(capsys: pytest.CaptureFixture[str]) -> None:
    case = EMERGENCIES[3]
    order, broken, run = case.run(iter("aaabbbbcccaaaa"))
    assert replay(case.name, order) == broken == []
    letters = [line[0] for line in capsys.readouterr().out.splitlines()]
    assert "".join(letters) == order == run.actors.order


def test_a_mistake_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the care for what others promote meanwhile, chance finds the order in which that is ended."""
    monkeypatch.setattr("rotator.engine.emergency.incident.Incident.is_newer", lambda *_: False)
    case = EMERGENCIES[4]
    found = [broken for n in range(9) for _, broken, _ in [case.run(iter("a" * n + "b" * 20 + "c" * 30))]]
    assert any("rule 3" in text for broken in found for text in broken)
