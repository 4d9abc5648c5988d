"""The course of a drill: train, let nodes die, freeze and come back meanwhile, and judge at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from deploy.drill.data import write_app, write_shares
from deploy.drill.federation import CONNECTION, Federation
from deploy.drill.processes import DrillError, wait_until
from deploy.drill.scenario import Scenario
from deploy.drill.verdict import Evidence, judge
from deploy.drill.watch import Watch

ROUND_TIMEOUT = 75.0  # seconds; the SuperLink misses a dead node after 60 at most
COMEBACK = 180.0  # seconds; a key is refused for up to a minute after a SIGKILL
PAUSE = 5.0  # seconds between two tries to come back


class Drill:
    """One drill.

    Parameters
    ----------
    scenario : Scenario
        The nodes, and what happens to them.
    api : str
        ``"message"`` or ``"legacy"``.
    folder : Path
        An empty folder for all files.
    say : callable
        It is called with each line that says what happens.
    limit : float
        If the drill takes more seconds than this, it fails.
    door : bool
        Whether nodes come in through nginx.
    """

    def __init__(
        self,
        scenario: Scenario,
        api: str,
        folder: Path,
        say: Callable[[str], None] = print,
        limit: float = 900.0,
        door: bool = True,
    ) -> None:
        self.door = door
        self.scenario, self.api, self.folder = scenario, api, folder
        self.start = time.monotonic()
        self.limit = limit
        self.end = self.start + limit
        self._say = say

    def run(self) -> list[str]:
        """Run the drill and return the findings, one line each. Raise DrillError if something is wrong."""
        shares = write_shares(self.folder, len(self.scenario.nodes))
        configs = {
            name: f'partition-id={i} role="{role}" data="{shares[i]}"'
            for i, (name, role) in enumerate(self.scenario.nodes.items())
        }
        app = write_app(self.folder)
        with Federation(self.folder, configs, self.door) as federation:
            self.federation = federation
            self.watch = Watch(self.folder / "audit.jsonl", federation.ids, self.say)
            door = f"its door at {federation.entrance}" if self.door else "no door"
            self.say(f"SuperLink at {federation.address}, {door}, {len(configs)} keys registered")
            for name in configs:
                federation.start(name)
            self._wait(lambda: all(map(federation.sessions, configs)), "all nodes were let in")
            self.say("all nodes are connected")
            run_id = self._submit(app)
            self._terminate()
            self._kill_and_freeze()
            self._wait(
                lambda: self.watch.rounds() >= self.scenario.rounds, "the last round was done"
            )
            self._wait(lambda: self._status(run_id).startswith("finished"), "the run ended")
            return judge(self.scenario, self._evidence(run_id))

    def say(self, what: str) -> None:
        """Say what happens, and when."""
        self._say(f"[{time.monotonic() - self.start:5.0f} s] {what}")

    def _submit(self, app: Path) -> str:
        settings = (
            f'api="{self.api}" rounds={self.scenario.rounds} nodes={len(self.scenario.nodes)} '
            f"assumed-byzantine={self.scenario.assumed} round-timeout={ROUND_TIMEOUT} "
            f'folder="{self.folder}"'
        )
        answer = self.federation.flwr("run", str(app), CONNECTION, "-c", settings)
        self.say(f"run {answer['run-id']} submitted, {self.api} API")
        return str(answer["run-id"])

    def _terminate(self) -> None:
        """End a node by SIGTERM, and start it again after a round without it."""
        name = self.scenario.terminated
        if name is None:
            return
        self._after_round(2)
        self.federation.nodes[name].stop()
        self.say(f"{name} ended by SIGTERM")
        self._after_round(self.watch.rounds() + 1)
        self._start_again(name)

    def _kill_and_freeze(self) -> None:
        """End a node by SIGKILL and freeze another by SIGSTOP at the same time, and bring both back."""
        killed, frozen = self.scenario.killed, self.scenario.frozen
        if killed is None or frozen is None:
            return
        done = self.watch.rounds()
        self._after_round(done + 1)
        self.federation.nodes[killed].kill()
        self.federation.nodes[frozen].freeze()
        self.say(f"{killed} ended by SIGKILL, {frozen} frozen by SIGSTOP")
        self._start_again(killed)
        self._after_round(done + 3)
        self.federation.nodes[frozen].thaw()
        self.say(f"{frozen} goes on by SIGCONT")

    def _start_again(self, name: str) -> None:
        """Start a node that ended, again and again until it is let in."""
        before = len(self.federation.sessions(name))
        self.say(f"{name} starts again")
        self.federation.start(name)
        refused = 0

        def let_in() -> bool:
            nonlocal refused
            if not self.federation.nodes[name].running:
                refused += 1
                self.federation.nodes[name].stop()
                time.sleep(PAUSE)
                self.federation.start(name)
            return len(self.federation.sessions(name)) > before

        self._wait(let_in, f"{name} was let in again", COMEBACK)
        times = f" after {refused} refusals" if refused else ""
        self.say(f"{name} is back{times}, as {self.federation.sessions(name)[-1]}")

    def _after_round(self, server_round: int) -> None:
        self._wait(lambda: self.watch.rounds() >= server_round, f"round {server_round} was done")

    def _wait(self, condition: Callable[[], object], what: str, patience: float = 900.0) -> None:
        """Wait, and report each round that ends meanwhile. Give up if the server or the time ends."""

        def check() -> object:
            self.watch.tell()
            if not self.federation.superlink.running:
                raise DrillError(f"the SuperLink ended:\n{self.federation.superlink.tail()}")
            return condition()

        left = self.end - time.monotonic()
        try:
            wait_until(check, what, min(patience, left))
        except DrillError as error:
            if left <= patience and time.monotonic() >= self.end:
                raise DrillError(
                    f"the time was over before {what}: {self.limit:.0f} s. "
                    "On a busy machine pass a larger --limit"
                ) from error
            raise

    def _status(self, run_id: str) -> str:
        time.sleep(1)
        answer = self.federation.flwr("list", CONNECTION, "--run-id", run_id)
        return str(answer["runs"][0]["status"])

    def _evidence(self, run_id: str) -> Evidence:
        federation = self.federation
        return Evidence(
            status=self._status(run_id),
            healthy=federation.is_healthy(),
            records=self.watch.records(),
            accuracy=(self.folder / "accuracy.json").read_text(),
            ids=federation.ids,
            sessions={name: federation.sessions(name) for name in federation.ids},
        )
