"""Two or three at once on one secret, interleaved call by call: the rules hold after every call, and it converges.

Of two it is every order in which each is interrupted once; where there are three, or an emergency, hypothesis chooses
the orders. A failing order is printed; ``replay(<name of the case>, <order>)`` runs it again, with every call::

    python -c 'from tests.chaos.test_two_at_once import replay; replay("two rotate", "aabbba")'
"""

from __future__ import annotations

import re

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from tests.chaos.concurrency import (
    Act,
    Case,
    adoption,
    another_function,
    another_incident,
    label_event,
    own_steps,
    pasting,
    replace_first,
    revoke_first,
    revoke_only,
    roll_back,
    rotate,
    sweep,
)
from tests.chaos.interleave import two_switches
from tests.chaos.worlds import WORLDS


def case_of(name: str, world: str, *acts: Act) -> Case:
    return Case(name, WORLDS[world], dict(zip("abc", acts, strict=False)))


def emergency_case(name: str, world: str, *acts: Act) -> Case:
    """One whose first actor is an emergency: only ``replace-first`` keeps consumers served."""
    return Case(name, WORLDS[world], dict(zip("abc", acts, strict=False)), True, acts[0] is replace_first)


PAIRS = (
    case_of("two sweeps, due", "due", sweep, sweep),
    case_of("two sweeps, masked", "masked", sweep, sweep),
    case_of("two sweeps, slow propagation", "slow propagation", sweep, sweep),
    case_of("two sweeps, pending", "pending", sweep, sweep),
    case_of("two sweeps, pending since a minute", "pending since a minute", sweep, sweep),
    case_of("two sweeps, unstored", "unstored", sweep, sweep),
    case_of("two sweeps, orphan", "orphan", sweep, sweep),
    case_of("two sweeps, first key", "first key", sweep, sweep),
    case_of("two sweeps, unadopted", "unadopted", sweep, sweep),
    case_of("two sweeps, grace over", "grace over", sweep, sweep),
    case_of("rotate and sweep, due", "due", rotate, sweep),
    case_of("rotate and sweep, grace over", "grace over", rotate, sweep),
    case_of("two rotate", "in grace", rotate, rotate),
    case_of("rollback and sweep", "in grace", roll_back, sweep),
    case_of("rollback and sweep, grace nearly over", "grace nearly over", roll_back, sweep),
    case_of("rollback and rotate", "in grace", roll_back, rotate),
    case_of("two rollbacks", "in grace", roll_back, roll_back),
    case_of("another function and rollback", "in grace", another_function, roll_back),
    case_of("adopt and sweep", "unadopted", adoption, sweep),
    case_of("adopt and rotate", "unadopted", adoption, rotate),
    case_of("event and sweep, unadopted", "unadopted", label_event, sweep),
    case_of("event and rotate, unadopted", "unadopted", label_event, rotate),
    case_of("two events", "unadopted", label_event, label_event),
    case_of("event and sweep, due", "due", label_event, sweep),
    case_of("pasting and rotate", "in grace", pasting, rotate),
    case_of("pasting and sweep, due", "due", pasting, sweep),
    case_of("event and another function", "due", label_event, another_function),
    case_of("another function and sweep, due", "due", another_function, sweep),
    case_of("another function and sweep, grace over", "grace over", another_function, sweep),
    case_of("another function and rotate", "in grace", another_function, rotate),
    case_of("another function and adopt", "unadopted", another_function, adoption),
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
    case_of("three sweeps", "due", sweep, sweep, sweep),
    case_of("three sweeps, orphan", "orphan", sweep, sweep, sweep),
    case_of("rotate and two sweeps", "masked", rotate, sweep, sweep),
    case_of("own steps and sweep", "due", own_steps, sweep),
    case_of("own steps and sweep, pending", "pending since a minute", own_steps, sweep),
    case_of("own steps, rotate and sweep", "in grace", own_steps, rotate, sweep),
    case_of("own steps and rollback", "in grace", own_steps, roll_back),
)
EMERGENCIES = (
    emergency_case("replace-first, rotate and sweep", "due", replace_first, rotate, sweep),
    emergency_case("revoke-first, rotate and sweep", "due", revoke_first, rotate, sweep),
    emergency_case("revoke-only, rotate and sweep", "due", revoke_only, rotate, sweep),
    emergency_case("replace-first and two rotate", "in grace", replace_first, rotate, rotate),
    emergency_case("replace-first, masked and two rotate", "masked in grace", replace_first, rotate, rotate),
    emergency_case("revoke-first, masked and two rotate", "masked in grace", revoke_first, rotate, rotate),
    emergency_case("revoke-only, masked and two rotate", "masked in grace", revoke_only, rotate, rotate),
    emergency_case("replace-first, own steps and sweep", "due", replace_first, own_steps, sweep),
    emergency_case("revoke-first, own steps and sweep", "due", revoke_first, own_steps, sweep),
    emergency_case("revoke-only, own steps and sweep", "due", revoke_only, own_steps, sweep),
    emergency_case("replace-first and rollback", "in grace", replace_first, roll_back),
    emergency_case("one emergency twice", "in grace", replace_first, replace_first),
    emergency_case("two emergencies", "in grace", replace_first, another_incident),
    emergency_case("replace-first and event, unadopted", "unadopted", replace_first, label_event),
    emergency_case("replace-first and sweep, unstored", "unstored", replace_first, sweep),
)
UNADOPTED = emergency_case("revoke-first and two rotate, unadopted", "unadopted", revoke_first, rotate, rotate)
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
def test_orders_that_broke_rule_once(case: Case, order: str) -> None:
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


def test_order_can_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    case = EMERGENCIES[3]
    order, broken, run = case.run(iter("aaabbbbcccaaaa"))
    assert replay(case.name, order) == broken == []
    letters = [line[0] for line in capsys.readouterr().out.splitlines()]
    assert "".join(letters) == order == run.actors.order


def test_mistake_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the care for what others promote meanwhile, chance finds the order in which that is ended."""
    monkeypatch.setattr("rotator.policy.suspects.is_older", lambda *_: True)
    case = EMERGENCIES[4]
    found = [broken for n in range(9) for _, broken, _ in [case.run(iter("a" * n + "b" * 20 + "c" * 30))]]
    assert any("rule 3" in text for broken in found for text in broken)
