"""Two years pass without a consumer noticing; and the simulation itself is shown to notice what it is there for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rotator.model import Policy
from rotator.policy.labels import key_name
from tests.chaos.faults import AWS_FAULTS
from tests.chaos.two_years import RATE, Simulation, run
from tests.chaos.years_faults import INFOBIP_FAULTS, Chance
from tests.chaos.years_ledger import KINDS, Score
from tests.world import DAY

ROOT = Path(__file__).parents[2]
SOON = (5 * DAY, 11 * DAY)


def in_a_process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: measuring its coverage would take longer than running it."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    command = [sys.executable, "-m", "tests.chaos.two_years", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=inherited | variables, capture_output=True, text=True, timeout=1200, check=False
    )


@pytest.mark.slow
def test_months_of_300_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Five months with both outages. Two years take five minutes: ``make years``."""
    done = in_a_process("--seed", "1", "--days", "150", "--outages-from", "60", "110")
    with capsys.disabled():
        print(f"\n{done.stdout}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    counted = {line[:30].strip(): line[30:].strip() for line in done.stdout.splitlines()}
    assert [counted[kind] for kind in KINDS] == ["0"] * len(KINDS)
    assert int(counted["faults"].split()[-2]) >= len(INFOBIP_FAULTS) + len(AWS_FAULTS) - 5
    assert int(counted["rotations"]) > 600
    assert int(counted["kills"]) > 60


@pytest.mark.slow
def test_skipping_idle_sweeps_is_harmless() -> None:
    """Two weeks with both outages, swept every time and not: the same keys, labels, values, faults and scores."""
    quick = run(5, 15, outages_from=SOON)
    whole = run(5, 15, outages_from=SOON, skip_idle=False)
    assert (quick.digest, quick.faults, quick.kills) == (whole.digest, whole.faults, whole.kills)
    assert (quick.rotations, quick.revocations, quick.late_by) == (whole.rotations, whole.revocations, whole.late_by)
    assert [violation.line() for violation in quick.violations] == [violation.line() for violation in whole.violations]
    assert whole.count("not idle") == 0
    assert whole.made == whole.sweeps == quick.sweeps
    assert quick.made < 0.6 * quick.sweeps  # all of bravo's are made: nearly each searches for values to verify
    assert quick.rotations > 50


def test_same_seed_is_same_in_every_process() -> None:
    one, other = (in_a_process("--days", "2", "--seed", "3", PYTHONHASHSEED=seed).stdout for seed in ("1", "2"))
    assert one.splitlines()[1:] == other.splitlines()[1:]
    assert "end state" in one


def test_fault_gaps_match_draws_per_call() -> None:
    chance = Chance("any", RATE)
    assert abs(sum(chance.hit() for _ in range(100_000)) - 2000) < 200
    made, passed = Chance("same", RATE), Chance("same", RATE)
    hits = []
    for number in range(2000):
        hits.append(made.hit())
        if passed.none_for(1) and number % 3:
            passed.skip(1)
            assert not hits[-1]
        else:
            assert passed.hit() is hits[-1]
    assert any(hits)


# ---- it would notice ------------------------------------------------------------------------------------------------


def spoil(simulation: Simulation, hour: int) -> None:
    """One thing of each sort that must not happen, as if the rotator had done it."""
    world, alfa, bravo = simulation.world, simulation.world.servers["alfa"], simulation.world.servers["bravo"]
    if hour == 2:
        world.store.put_value_by_hand("charlie/service-07", '{"api_key": "nonsense"}', world.new_id())
        simulation.touched("charlie/service-07")
    if hour == 30:
        mine = [key for key_id in sorted(simulation.ledger.retiring) if (key := alfa.state.keys.get(key_id))]
        key = next(key for key in mine if key.enabled)
        alfa.change_key(key.id, enabled=False)
    if hour == 31:
        alfa.options.daily_updates = 0
        name = key_name("alfa/service-09", world.store.peek("alfa/service-09").arn, "default", world.new_id())
        alfa.add_key(world.accounts["alfa"], name, created_at=world.clock.now())
    if hour == 100:
        world.stream.write(f'{{"event": "made up", "detail": "{next(iter(alfa.keys())).value}"}}\n')
    if hour == 40:
        bravo.state.users["ops-bravo"].password = bravo.state.new_token()


@pytest.fixture(scope="module")
def spoilt() -> Score:
    """Six days in which everything went wrong that may."""
    return run(9, 6, rate=0.001, interfere=spoil)


@pytest.mark.parametrize(
    ("kind", "secret", "detail"),
    [
        ("consumer failure", "charlie/service-07", "does not work"),
        ("secret in output", "", "1 secrets"),
        ("revoked early", "alfa/", "after it was replaced"),
        ("revoked late", "alfa/", "2 undisturbed sweeps"),
        ("orphan", "alfa/service-09", "held by no secret"),
        ("stuck", "bravo", "401"),
    ],
)
def test_it_notices(spoilt: Score, kind: str, secret: str, detail: str) -> None:
    found = [violation for violation in spoilt.violations if violation.kind == kind]
    assert any(each.secret.startswith(secret) and detail in each.detail for each in found), spoilt.report()


def test_report_names_seed_and_audit_lines(spoilt: Score) -> None:
    report = spoilt.report()
    assert "FAILED with seed 9" in report
    assert '"event": "sweep.started"' in report
    assert "2026-03-0" in report


def test_too_many_creates_are_noticed() -> None:
    def allow(simulation: Simulation, hour: int) -> None:
        world = simulation.world
        world.policy = Policy(daily_limit=90)
        world.servers["alfa"].options.daily_creates = None
        if hour == 30:
            for name in list(world.names_of("alfa"))[:50]:
                world.store.tag(name, {"rotator:max-age": "1d"})
                simulation.touched(name)

    assert run(2, 3, interfere=allow, rate=0.001).count("over the limit")
