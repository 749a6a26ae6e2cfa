"""Odd settings and damaged files end in a finished run or in an error of the package in one line.

The short profile: the same few cases each time. `python benchmarks/fuzz.py` tries thousands.
"""

import os

import pytest
from fuzz_outcome import FAILED, FINISHED, REFUSED, Wrong, outcome_apart, outcome_of
from fuzz_subjects import SUBJECTS
from fuzz_world import World, without_pictures
from hypothesis import HealthCheck, Phase, given, settings

from recbole_ssr.errors import UserError


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with without_pictures():
        yield World(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_case_finishes_or_is_refused_in_one_line(name, world):
    subject = SUBJECTS[name]

    @settings(max_examples=subject.short, deadline=None, derandomize=True, database=None,
              phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(subject.cases)
    def holds(case):
        outcome = subject.outcome(case, world)
        assert outcome.kind != FAILED, outcome

    holds()


def _loop():
    while True:
        pass


def _raise(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize("work, kind, reason", [
    (lambda: None, FINISHED, ""),
    (_raise(UserError("x=3 must be 4.")), REFUSED, "x=3 must be 4."),
    (_raise(UserError("one\n  two")), REFUSED, "one two"),
    (_raise(KeyError("state_dict")), FAILED, "KeyError: 'state_dict'"),
    (_raise(Wrong("recall is nan")), FAILED, "Wrong: recall is nan"),
    (_raise(SystemExit(3)), FAILED, "SystemExit: 3"),
    (_loop, FAILED, "Hang: not finished after"),
])
def test_what_counts_as_a_failure(work, kind, reason):
    for judge in (outcome_of, outcome_apart):
        outcome = judge(work, 0.2)
        assert outcome.kind == kind and outcome.reason.startswith(reason)


def test_a_crash_of_the_process_is_a_failure():
    outcome = outcome_apart(lambda: os._exit(7), 1.0)
    assert outcome == (FAILED, "Crash: the process ended with 7", "")
