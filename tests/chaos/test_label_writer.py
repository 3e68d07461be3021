"""A label writer forges labels and values between any two calls: others' keys, consumers and revocations are unharmed.

Every forgery at every call is ``python -m tests.chaos.forged_runs`` (`make forgeries`); here it is a sample of these.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rotator.engine.sweep import Sweep
from rotator.model import Policy
from rotator.plan import Severity
from rotator.policy.labels import key_label
from rotator.policy.ownership import Ownership, OwnershipProof
from rotator.reasons import Reason
from rotator.sandbox.state import Options
from tests.chaos.flows import Flow
from tests.chaos.forged_runs import OURS, RUNS, WRITABLE, calls_of, every, forged, make, played
from tests.chaos.label_writer import FORGERIES, LabelWriter
from tests.chaos.worlds import SMS, VOICE
from tests.world import DAY, HOUR, World

SAMPLE = 419
"""One of so many is run: a prime, so that the sample goes through all calls and forgeries."""
EXAMPLES = 25


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_without_forgery_run_breaks_no_rule(run: Flow) -> None:
    assert played(run, []) == []


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_forgery_at_any_call(run: Flow) -> None:
    """Threat: any forged label or value, between any two calls. The eleven rules hold for every other secret."""
    cases = [case for case in every(SAMPLE) if case[0] is run]
    broken = [text for case in cases for text in forged(*case)]
    assert len(cases) >= 5
    assert not broken, "\n".join(broken[:12])


FOUND = (
    # The value is not known to be any key, and the search for the victim's key shows that it is not that one:
    ("sweep in grace", OURS, "many_that_look_like_keys", 25),
)
"""Forgeries that broke a rule once."""


@pytest.mark.parametrize(("name", "secret", "forgery", "index"), FOUND)
def test_forgeries_that_broke_rule_once(name: str, secret: str, forgery: str, index: int) -> None:
    """Threat: a value that may be any key, to stop the revocations of others. Only a real copy of the key blocks one,
    and it is reported.
    """
    run = next(run for run in RUNS if run.name == name)
    assert forged(run, secret, forgery, index) == []


def test_several_forgeries_one_after_another() -> None:
    one = st.tuples(st.integers(0, 60), st.sampled_from(sorted(WRITABLE)), st.sampled_from(sorted(FORGERIES)))

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink]
    )
    @given(st.sampled_from(RUNS), st.lists(one, min_size=2, max_size=4))
    def holds(run: Flow, forgeries: list[tuple[int, str, str]]) -> None:
        broken = played(run, [(index % calls_of(run), *rest) for index, *rest in forgeries])  # type: ignore[misc]
        assert not broken, "\n".join(broken[:12])

    holds()


def alerts(sweep: Sweep, secret: str) -> set[tuple[Reason, Severity]]:
    (plan,) = sweep.plan.accounts
    return {(alert.kind, alert.severity) for alert in plan.alerts if alert.secret == secret}


def test_copied_value_defers_revocation() -> None:
    """It is all that the contract lets a label writer do to others, and it takes the right to read them."""
    world = make()
    old, writer = world.first_keys[SMS], LabelWriter(world, OURS, SMS)
    writer.put(str(old.value), "AWSCURRENT")
    for _ in range(2):
        world.pass_time(HOUR)
        world.sweep()
    world.pass_time(HOUR)
    sweep = world.sweep()
    assert world.infobip.key(old.id).enabled
    assert (Reason.SHARED_KEY, Severity.WARNING) in alerts(sweep, SMS)
    world.pass_time(DAY)
    assert (Reason.OVERDUE, Severity.ERROR) in alerts(world.sweep(), SMS)
    writer.put("changeme", "AWSCURRENT")
    writer.remove(lambda label: True)  # with its labels the copy would be a version in grace
    world.pass_time(HOUR)
    world.sweep()
    assert not world.infobip.key(old.id).enabled
    assert world.consumer_works(SMS)


def test_keys_of_one_writer_starve_no_other() -> None:
    """It puts its secrets' old, disabled keys back every hour, so that new ones are created until none are left."""
    world = World(options=Options(reveal=False), policy=Policy(daily_limit=12, reserve=4))
    world.secret(VOICE, left=2 * DAY + 6 * HOUR, lifetime=2 * DAY + 6 * HOUR + 26 * DAY, rotate_before="2d")
    writers = [LabelWriter(world, f"dev/{number}", VOICE) for number in range(3)]
    for writer in writers:
        world.infobip.change_key(world.secret(writer.secret, left=300 * DAY, lifetime=365 * DAY).id, enabled=False)
    old = {writer.secret: world.store.consumer_read(writer.secret) for writer in writers}
    for number in range(30):
        for writer in writers:
            writer.remove(lambda label: True)
            label = key_label(world.first_keys[writer.secret].id)
            writer.put(old[writer.secret] + " " * (number + 1), "AWSCURRENT", label)
        world.pass_time(HOUR)
        world.sweep()
        assert world.consumer_works(VOICE)
    assert world.infobip.creates_used(world.accounts["main"]) == 8
    assert world.current_key(VOICE).id != world.first_keys[VOICE].id


def test_it_notices_label_that_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ownership, "of", lambda *_: OwnershipProof.BY_NAME)
    run = RUNS[0]
    texts = [
        text
        for name in ("retired_text of unmanaged", "pending_text of victims_current", "current_text of disabled_admin")
        for text in forged(run, OURS, name, 0)
    ]
    assert any("rule 4" in text for text in texts), texts
