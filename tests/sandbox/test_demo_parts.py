from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from rich.console import Console

from rotator.policy.labels import key_name
from rotator.sandbox.demo_score import KILLS, Referee, Score
from rotator.sandbox.demo_show import WIDTH, Narrator
from rotator.sandbox.demo_sweep import Sweeper
from rotator.sandbox.demo_world import START, DemoWorld


@dataclass
class Court:
    """A young demo world with its referee, after the first sweep."""

    world: DemoWorld
    referee: Referee
    score: Score
    sweeper: Sweeper

    def put(self, key_id: str, **fields: object) -> None:
        user = self.world.fleet.user
        with requests.Session() as session:
            session.trust_env = False
            answer = session.put(
                f"{self.world.sandbox.infobip.url}/settings/2/api-keys/{key_id}",
                json=fields,
                auth=(user.username, user.password),
                timeout=10,
            )
        assert answer.status_code == 200, answer.text


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    score = Score()
    with DemoWorld(tmp_path / "audit.jsonl") as world, Narrator(None, 1) as narrator:
        sandbox = world.sandbox
        referee = Referee(
            score, sandbox.world, world.fleet.account, sandbox.infobip.url, sandbox.client(), world.observer
        )
        sweeper = Sweeper(world, referee, score, narrator)
        referee.step()
        sweeper.sweep()
        yield Court(world, referee, score, sweeper)


class TestTheReferee:
    """That nothing was wrong means little unless the referee sees what is."""

    def test_a_good_start_has_nothing_to_hold_against_it(self, court: Court) -> None:
        court.referee.finish()
        assert (court.score.refused, court.score.early_revocations, court.score.orphans) == (0, 0, 0)
        assert court.score.creates_on_busiest_day == 3

    def test_a_current_key_that_is_dead_is_refused(self, court: Court) -> None:
        court.put(court.world.fleet.keys["prod/billing/sms"].id, enabled=False)
        court.referee.step()
        assert court.score.refused == 1

    @pytest.mark.parametrize(("hours", "early"), [(71, 1), (72, 0)])
    def test_a_revocation_within_grace_is_early(self, court: Court, hours: int, early: int) -> None:
        court.world.clock.advance(timedelta(hours=hours))
        court.put(court.world.fleet.keys["prod/sms/otp"].id, enabled=False)
        court.referee.finish()
        assert court.score.early_revocations == early

    def test_a_key_of_the_rotators_that_nobody_holds_is_an_orphan(self, court: Court) -> None:
        arn = court.world.sandbox.client().describe_secret(SecretId="prod/sms/otp")["ARN"]
        name = key_name("prod/sms/otp", arn, "default", "0" * 32)
        court.world.sandbox.world.add_key(court.world.fleet.account, name)
        court.world.clock.advance(timedelta(hours=1))
        court.referee.finish()
        assert court.score.orphans == 1

    def test_a_value_in_a_text_is_a_leak(self, court: Court) -> None:
        value = court.world.fleet.keys["prod/sms/otp"].value
        court.referee.count_leaks("quite innocent", f"but {value} is not")
        assert court.score.values_leaked == 1

    def test_creates_beyond_the_scheduled_part_of_the_limit_are_counted(self, court: Court) -> None:
        state, account = court.world.sandbox.world.state, court.world.fleet.account
        for _ in range(30):
            state.count(state.creates, account.id)
        court.referee.finish()
        assert court.score.creates_over_limit == 1


GOOD = Score(calls=10, accepted=10, kills=KILLS, recoveries=KILLS)


@pytest.mark.parametrize(
    ("score", "ok"),
    [
        (GOOD, True),
        (replace(GOOD, refused_in_emergency=1, unanswered=8), True),
        (replace(GOOD, refused=1), False),
        (replace(GOOD, early_revocations=1), False),
        (replace(GOOD, orphans=1), False),
        (replace(GOOD, creates_over_limit=1), False),
        (replace(GOOD, values_leaked=1), False),
        (replace(GOOD, failed_actions=1), False),
        (replace(GOOD, recoveries=KILLS - 1), False),
        (replace(GOOD, kills=0, recoveries=0), False),
        (replace(GOOD, calls=0), False),
    ],
)
def test_what_makes_a_score_good(score: Score, ok: bool) -> None:
    assert score.ok is ok


class TestTheNarrator:
    def test_a_terminal_gets_a_bar_with_the_date(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")  # rich draws no bar on a dumb one
        screen = io.StringIO()
        with Narrator(Console(file=screen, force_terminal=True, width=WIDTH), 120) as narrator:
            narrator.day(31, START + timedelta(days=31))
            narrator.tell(START + timedelta(days=31), "rotated", "prod/sms/otp", "key 5737…48AE → 90AB…11C2")
        assert "31 of 120 days" in screen.getvalue()
        assert "23 Dec 2026" in screen.getvalue()

    def test_long_texts_go_on_under_themselves(self) -> None:
        narrator = Narrator(None, 1)
        narrator.tell(START, "alert", "prod/sms/otp", "word " * 30)
        assert len(narrator.lines) > 3
        assert all(len(line) <= WIDTH for line in narrator.lines)
        assert {line[:47].strip() for line in narrator.lines[1:]} == {""}

    def test_a_long_name_is_not_cut(self) -> None:
        narrator = Narrator(None, 1)
        narrator.tell(START, "rotated", "prod/a-team/a-service/a-key", "done")
        assert "prod/a-team/a-service/a-key: done" in " ".join(line[47:].strip() for line in narrator.lines)

    def test_a_console_without_unicode_gets_ascii(self) -> None:
        raw = io.BytesIO()
        console = Console(file=io.TextIOWrapper(raw, encoding="ascii", write_through=True), width=WIDTH)
        with Narrator(console, 1) as narrator:
            narrator.tell(START, "rotated", "prod/sms/otp", "key 5737…48AE → 90AB…11C2")
        assert b"key 5737..48AE > 90AB..11C2" in raw.getvalue()
