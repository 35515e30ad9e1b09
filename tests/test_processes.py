"""Work that two processes share, and what of a report travels between them."""

import json
import math
import os
import pickle
import time

import pytest

from jaxdiv.commands import _processes
from jaxdiv.verification.engine import mathematics
from jaxdiv.verification.report import Report
from jaxdiv.verification.subject import subject_of

_JOBS = [1.0, 4.0, 9.0, 16.0, 25.0, 36.0]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(_processes, "_cores", lambda: 2)


def waiting(job):
    """Slow, so that the other process has its share."""
    time.sleep(0.5)
    return math.sqrt(job)


def test_results_come_in_order_and_some_from_elsewhere():
    here, finished = [], []

    def own(job):
        here.append(job)
        time.sleep(2)
        return math.sqrt(job)

    found = _processes.shared(
        own, math.sqrt, _JOBS, together=lambda job: job, done=lambda: finished.append(1)
    )
    assert found == [1, 2, 3, 4, 5, 6]
    assert 0 < len(here) < len(_JOBS)
    assert len(finished) == len(_JOBS)


def test_what_belongs_together_is_done_by_one_process():
    found = _processes.shared(
        lambda job: (time.sleep(1), os.getpid())[1],
        _process_of,
        _JOBS,
        together=lambda job: job > 10,
    )
    assert len(set(found[:3])) == len(set(found[3:])) == 1
    assert len(set(found)) == 2


def _process_of(job):
    return os.getpid()


@pytest.mark.parametrize("away", [math.asin, os._exit], ids=["fails", "dies"])
def test_what_the_other_process_cannot_do_is_done_here(away):
    found = _processes.shared(waiting, away, [int(x) for x in _JOBS][1:], together=lambda job: job)
    assert found == [2, 3, 4, 5, 6]


def test_the_other_process_prints_nothing(capfd):
    _processes.shared(waiting, print, _JOBS, together=lambda job: job)
    assert capfd.readouterr() == ("", "")


def test_jobs_that_cannot_be_sent_stay_here():
    jobs = [*_JOBS, lambda: 7]
    found = _processes.shared(
        lambda job: job() if callable(job) else math.sqrt(job),
        math.sqrt,
        jobs,
        together=lambda job: job,
        begin=lambda job: None if callable(job) else job,
    )
    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_an_interrupt_ends_both():
    started = []

    class Watched(_processes._Other):
        def __init__(self):
            super().__init__()
            started.append(self)

    def own(job):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_processes, "_Other", Watched)
        _processes.shared(own, math.sqrt, _JOBS, together=lambda job: job)
    assert started[0]._process.poll() is not None


def test_settled_reports_travel_and_say_the_same():
    findings = tuple(mathematics(subject_of("squared_euclidean"), regions=False))
    report = Report("squared_euclidean", "", "cpu", "float32", 8, "none", findings)
    again = pickle.loads(pickle.dumps(report.settled()))
    assert json.loads(again.to_json()) == json.loads(report.to_json())
    assert repr(again) == repr(report)
    assert again.ok
