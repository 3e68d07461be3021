"""Two years in minutes: 300 secrets in three accounts, an hourly sweep of each, faults, outages, and people.

``--force`` is never used: what a sweep leaves for the next one, later sweeps do by themselves.

The reconciler, the client and its HTTP stack are the real ones; both servers are the sandbox's. Run it by hand with
``python -m tests.chaos.two_years --seed 7``: the same seed is the same two years.

Sweeps that do nothing for certain are skipped (see ``years_idle``); the tests compare that with sweeping every time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from rotator.engine.sweep import Sweep
from rotator.errors import RotatorError
from rotator.plan import Outcome, Severity
from tests.chaos.faults import Kill
from tests.chaos.years_faults import Outages
from tests.chaos.years_idle import Idle
from tests.chaos.years_ledger import Ledger, Score
from tests.chaos.years_world import ACCOUNTS, CLEARED, START, Enterprise
from tests.world import DAY, HOUR

RATE = 1 / 50
"""How many calls go wrong."""
MOST_CREATES, MOST_UPDATES = 32, 40
"""In 24 hours. Creates: the limit less the reserve. An update whose answer is lost is sent again and counts twice at
Infobip, which the client cannot know: so updates may take of the reserve, and only the limit is held against them."""
WITHOUT_FAULTS = 6
"""Hourly sweeps without faults at the end."""
STUCK = 4
"""Undisturbed sweeps of an account in a row that are not in order: something is stuck."""


class Simulation:
    """One enterprise, swept every hour. See :func:`run`."""

    def __init__(self, seed: int, *, skip_idle: bool, rate: float, outages_from: tuple[timedelta, timedelta]) -> None:
        self.world = Enterprise(seed, rate)
        self.ledger = Ledger(seed, world=self.world)
        self._skip_idle = skip_idle
        self._infobip_from, self._aws_from = (START + after for after in outages_from)
        self.idle = Idle(self.world, self.ledger)
        self._bad = dict.fromkeys(ACCOUNTS, 0)
        self._releases: dict[str, datetime] = {}
        self._account = ""
        self.world.store.before = lambda op, _secret: self.world.faults[self._account].before(op)
        self.world.store.after = self._after

    def _after(self, op: str, secret: str) -> None:
        if op in ("stage", "promote", "add_label", "remove_label"):
            self.touched(secret)
        self.world.faults[self._account].after()

    def touched(self, secret: str) -> None:
        account = secret.partition("/")[0]
        if account in ACCOUNTS:
            self.ledger.secret_changed(account, secret)
            self.idle.changed(account)

    # ---- time -------------------------------------------------------------------------------------------------------

    def run(self, days: int, interfere: Callable[[Simulation, int], None] | None) -> Score:
        """Let that many days pass, and a few hours without faults at the end."""
        begun, cpu = time.monotonic(), time.process_time()
        clock = self.world.clock
        try:
            for hour in range(days * 24):
                due = START + hour * HOUR + timedelta(minutes=5)
                if clock.now() >= due + HOUR:
                    self.ledger.missed += 1
                    continue
                clock.set(max(due, clock.now()))
                self._people(hour)
                if interfere is not None:
                    interfere(self, hour)
                self._outages()
                for account in ACCOUNTS:
                    self._sweep(account)
                if self.world.people.random() < 1 / 24:  # an operator runs it by hand, while listings are stale
                    clock.advance(timedelta(minutes=2))
                    self._sweep(self.world.people.choice(list(ACCOUNTS)))
                if hour % 24 == 23:
                    self._daily()
            self._end_without_faults()
        finally:
            self.ledger.close()
        self.ledger.seconds, self.ledger.cpu = time.monotonic() - begun, time.process_time() - cpu
        return self._result(days)

    def _outages(self) -> None:
        """Infobip goes down when it hurts: many keys are about to end their grace; AWS when the time has come."""
        now, outages = self.world.clock.now(), self.world.outages
        soon = sum(1 for item in self.ledger.retiring.values() if item.at <= now + DAY)
        if (
            outages.infobip is None
            and now >= self._infobip_from
            and (soon >= 20 or now >= self._infobip_from + 90 * DAY)
        ):
            self.world.set_outages(Outages((now, now + 3 * DAY), outages.aws))
        if outages.aws is None and now >= self._aws_from:
            self.world.set_outages(Outages(outages.infobip, (now, now + DAY / 2)))

    def _people(self, hour: int) -> None:
        day, rng, now = hour // 24, self.world.people, self.world.clock.now()
        if hour % 24 == 10 and day % 75 == 70:
            for account in ACCOUNTS:
                self.world.new_password(account)
                self.idle.changed(account)
        if hour % 24 == 11:
            for account, every in CLEARED.items():
                if day % every == every - 1:
                    self.world.clear_up(account)
        for name, until in list(self._releases.items()):
            if until <= now:
                del self._releases[name]
                self.world.hold(name, False)
                self.touched(name)
        if rng.random() < 0.3 / 24:
            account, name = self._any_secret()
            key = self.world.servers[account].key(self.ledger.current[name])
            if name not in self._releases and key.valid_to - now > 20 * DAY:
                self._releases[name] = now + rng.randrange(8, 150) * HOUR
                self.world.hold(name, True)
                self.touched(name)
        if rng.random() < 0.1 / 24:
            account, name = self._any_secret()
            self.world.new_value(account, name)
            self.touched(name)

    def _any_secret(self) -> tuple[str, str]:
        account = self.world.people.choice(list(ACCOUNTS))
        return account, f"{account}/service-{self.world.people.randrange(60):02}"

    def _daily(self) -> None:
        for account in ACCOUNTS:
            self.ledger.serve(account)
        self.ledger.orphans()

    def _end_without_faults(self) -> None:
        for faults in self.world.faults.values():
            faults.off = True
        self.world.set_outages(Outages())
        for _ in range(WITHOUT_FAULTS):
            self.world.clock.advance(HOUR)
            for account in ACCOUNTS:
                self._sweep(account)
        self._daily()
        self.ledger.orphans(older=timedelta(0))
        self.ledger.unfinished()
        self.ledger.in_grace_too_long(WITHOUT_FAULTS * HOUR)

    # ---- sweeps -----------------------------------------------------------------------------------------------------

    def _sweep(self, account: str) -> None:
        self.ledger.sweeps += 1
        world, faults = self.world, self.world.faults[account]
        idle = self.idle.next_sweep(account)
        if idle is not None and self._skip_idle:
            faults.skip(idle.calls)
            return
        self.ledger.made += 1
        begun = world.clock.now()
        self.ledger.touched.clear()
        generation = world.servers[account].state.generation
        self._account = account
        faults.begin()
        sweep, error = self._run_sweep(account)
        calls, disturbed = faults.calls, faults.hits > 0 or world.outages.touch(begun)
        faults.end()
        self.ledger.kills += faults.killed
        changed = world.servers[account].state.generation != generation
        self._read(sweep, error)
        self.ledger.serve(account, self.ledger.touched)
        plan = sweep.plan.accounts[0] if sweep is not None else None
        if plan is not None and plan.error is None and not disturbed:
            self.ledger.swept(plan, begun)
        self._judge(account, sweep, error, disturbed=disturbed)
        worked = sweep is None or sweep.results or changed or plan is None or plan.error is not None
        if idle is not None and (worked or calls != idle.calls):
            self.ledger.violated("not idle", account, "", f"a sweep that would have been skipped made {calls} calls")
        if not worked and not disturbed:
            self.idle.learn(account, begun, calls)
        world.store.calls.clear()
        world.servers[account].calls.clear()
        world.servers[account].check()

    def _run_sweep(self, account: str) -> tuple[Sweep | None, BaseException | None]:
        with contextlib.suppress(Kill):
            try:
                return self.world.sweep_of(account), None
            except RotatorError as error:
                return None, error
        return None, None

    def _read(self, sweep: Sweep | None, error: BaseException | None) -> None:
        texts = [] if error is None else [str(error), repr(error)]
        if sweep is not None:
            texts.append(repr(sweep))
        self.ledger.read_output(*texts)

    def _judge(self, account: str, sweep: Sweep | None, error: BaseException | None, *, disturbed: bool) -> None:
        """An account may not be out of order in sweep after sweep without anything going wrong from outside."""
        if disturbed:
            return
        self._bad[account] = 0 if sweep is not None and sweep.ok else self._bad[account] + 1
        if self._bad[account] == STUCK:
            self.ledger.violated(
                "stuck", account, "", f"{STUCK} undisturbed sweeps were not in order; {_why(sweep, error)}"
            )

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _result(self, days: int) -> Score:
        world, score = self.world, self.ledger
        for account, infobip in world.servers.items():
            logs = (infobip.state.creates, infobip.state.updates)
            creates, updates = (_busiest(log.get(world.accounts[account], [])) for log in logs)
            score.most_creates, score.most_updates = max(score.most_creates, creates), max(score.most_updates, updates)
            if creates > MOST_CREATES or updates > MOST_UPDATES:
                score.violated(
                    "over the limit", account, "", f"{creates} creates and {updates} updates within 24 hours"
                )
            score.keys += len(infobip.keys())
            score.faults += world.faults[account].kinds
        score.days, score.digest = days, _digest(world)
        return score


def run(
    seed: int,
    days: int = 730,
    *,
    skip_idle: bool = True,
    rate: float = RATE,
    outages_from: tuple[timedelta, timedelta] = (180 * DAY, 400 * DAY),
    interfere: Callable[[Simulation, int], None] | None = None,
) -> Score:
    """Simulate that many days and give the result.

    :param skip_idle: pass over sweeps that provably do nothing; false: sweep every time.
    :param rate: of calls that go wrong, 0..1.
    :param outages_from: after how long Infobip (for 3 days) and AWS (for 12 hours) may go down.
    :param interfere: called every simulated hour with its number, ahead of the sweeps, to spoil what should be noticed.
    """
    return Simulation(seed, skip_idle=skip_idle, rate=rate, outages_from=outages_from).run(days, interfere)


def _busiest(times: list[datetime]) -> int:
    """The most calls within 24 hours, by Infobip's clock, which shows whole seconds."""
    whole = [at.replace(microsecond=0) for at in times]
    return max((sum(1 for at in whole[n:] if at - first < DAY) for n, first in enumerate(whole)), default=0)


def _why(sweep: Sweep | None, error: BaseException | None) -> str:
    if sweep is None:
        return str(error)
    texts = [result.error or "" for result in sweep.results if result.outcome is Outcome.FAILED]
    for plan in sweep.plan.accounts:
        texts += [plan.error or "", *(alert.detail for alert in plan.alerts if alert.severity is Severity.ERROR)]
    return "; ".join(text for text in texts if text)


def _digest(world: Enterprise) -> str:
    """Everything that both servers hold, in a few letters."""
    parts: list[str] = []
    for account, infobip in world.servers.items():
        for name in world.names_of(account):
            entry = world.store.peek(name)
            versions = [(version, sorted(labels)) for version, labels in sorted(entry.versions.items())]
            parts.append(f"{name} {sorted(entry.tags.items())} {versions}")
        parts += [f"{key.id} {key.value} {key.name} {key.enabled} {key.valid_to}" for key in infobip.keys()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    """Run it by hand: prints the table, and exits 1 where something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.two_years", description="Simulate two years.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--every", action="store_true", help="sweep every time, also where it does nothing for certain")
    parser.add_argument(
        "--outages-from",
        type=int,
        nargs=2,
        default=(180, 400),
        metavar="DAY",
        help="after how many days Infobip, and AWS, may go down",
    )
    chosen = parser.parse_args(arguments)
    infobip, aws = (day * DAY for day in chosen.outages_from)
    score = run(chosen.seed, chosen.days, skip_idle=not chosen.every, outages_from=(infobip, aws))
    print(score.report())
    return 1 if score.violations else 0


if __name__ == "__main__":
    sys.exit(main())
