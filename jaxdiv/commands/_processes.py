"""A second process, for what tracing in Python would do one after the other in threads."""

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

_SERVE = "from jaxdiv.commands import _processes; _processes.serve()"
_WORTH = 4  # jobs, below which another process takes longer to start than it saves


@contextlib.contextmanager
def started(wanted: bool) -> Iterator["_Other | None"]:
    """Another process for `shared`, which gets ready while this one does; None without a core."""
    other = _Other() if wanted and _cores() > 1 else None
    try:
        yield other
    finally:
        if other is not None:
            other.end()


def shared(
    own: Callable[[Any], Any],
    away: Callable[[Any], Any],
    jobs: Sequence[Any],
    *,
    together: Callable[[Any], Hashable],
    begin: Callable[[Any], Any] = lambda job: job,
    done: Callable[[], None] = lambda: None,
    other: "_Other | None" = None,
) -> list[Any]:
    """What `own` makes of every job, in order; another process does its share of them by `away`.

    Args:
        own: Called here.
        away: The same, pickled once; it is called with what `begin` makes of a job.
        jobs: The heaviest last: they are begun first.
        together: Jobs with the same key are done by one process, which compiles for all of them.
        begin: A job as it is sent; None keeps it here.
        done: Called after each.
        other: The other process, where it is `started`.
    """
    groups: dict[Hashable, list[int]] = {}
    for index in reversed(range(len(jobs))):
        groups.setdefault(together(jobs[index]), []).append(index)
    here = [g for g in groups.values() if any(begin(jobs[i]) is None for i in g)]
    anywhere = deque(g for g in groups.values() if g not in here)
    results: dict[int, Any] = {}

    def run(index: int) -> None:
        results[index] = own(jobs[index])
        done()

    def send(other: "_Other") -> None:
        # Whatever fails there is done here in the end, and fails here if it does again.
        with contextlib.suppress(OSError, EOFError, ValueError, pickle.PickleError, IndexError):
            other.send(away)
            while True:
                for index in anywhere.popleft():
                    other.send(begin(jobs[index]))
                    fine, result = other.receive()
                    if not fine:
                        return
                    results[index] = result
                    done()

    if other is None and len(jobs) >= _WORTH and len(anywhere) > 1 and _cores() > 1:
        other = _Other()
    try:
        if other is not None:
            other.attend(send)
        for group in here:
            for index in group:
                run(index)
        while True:
            try:
                group = anywhere.popleft()
            except IndexError:
                break
            for index in group:
                run(index)
        if other is not None:
            other.wait()
        for index in range(len(jobs)):
            if index not in results:
                run(index)
    finally:
        if other is not None:
            other.end()
    return [results[index] for index in range(len(jobs))]


def _cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class _Other:
    """The other process. It prints nothing, and ends with this one."""

    def __init__(self):
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE],
                env=os.environ | {"PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    def attend(self, serve: Callable[["_Other"], None]) -> None:
        """Give it jobs, from a thread of its own."""
        if self._process is not None:
            self._thread = threading.Thread(target=serve, args=(self,), daemon=True)
            self._thread.start()

    def send(self, message: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def receive(self) -> tuple[bool, Any]:
        assert self._process is not None and self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def wait(self) -> None:
        """Until it has no more to do."""
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()


def serve() -> None:
    """What the other process does: a function arrives, then jobs; a pair is returned for each."""
    # An interrupt is for whoever started this, and kills it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        # What takes seconds, and every job needs, while whoever started this is at it, too.
        importlib.import_module("jaxdiv.verification")
        function = pickle.load(sys.stdin.buffer)
        while True:
            job = pickle.load(sys.stdin.buffer)
            try:
                answer = pickle.dumps((True, function(job)))
            except Exception as error:  # the process that asked will meet it, too
                answer = pickle.dumps((False, repr(error)))
            answers.write(answer)
            answers.flush()
    except (EOFError, BrokenPipeError):
        pass
