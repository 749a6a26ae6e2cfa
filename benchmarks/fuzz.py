"""Thousands of odd settings and damaged files: each ends in a finished run or a one-line error.

    python benchmarks/fuzz.py                                # 2,400 cases, some 15 minutes
    python benchmarks/fuzz.py --only caches --cases 200      # one subject
    python benchmarks/fuzz.py --only configs --case '{...}'  # a case that an earlier run printed
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "fuzz")]

from fuzz_outcome import FAILED, FINISHED, REFUSED, Outcome  # noqa: E402
from fuzz_subjects import SUBJECTS, Subject  # noqa: E402
from fuzz_world import World, without_pictures  # noqa: E402

# Beyond this an allocation fails instead of taking the machine's memory.
_ADDRESS_SPACE = 12 * 2**30
# At a time: after its first ten, hypothesis draws variants of what it has drawn.
_DRAWS = 10


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2400, help="in all, shared by the subjects")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other cases")
    parser.add_argument("--only", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS),
                        metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}")
    parser.add_argument("--case", help="try this one, with its traceback, and no other")
    return parser.parse_args(argv)


def outcomes(subject: Subject, world: World, count: int, number: int) -> list[tuple[dict, Outcome]]:
    """Draw `count` cases of a subject and try each."""
    tried: dict[str, tuple[dict, Outcome]] = {}
    for model in ("SSR", "BPR", "EASE", *subject.models):  # imported and trained but once
        world.run_of(model)

    def one(case):
        name = json.dumps(case, sort_keys=True)
        if name not in tried and len(tried) < count:
            tried[name] = case, subject.outcome(case, world, apart=True)

    draws = settings(max_examples=_DRAWS, deadline=None, database=None, phases=[Phase.generate],
                     suppress_health_check=list(HealthCheck))
    for k in range(count):
        if len(tried) < count:
            seed(number * 10**6 + k)(draws(given(subject.cases)(one)))()
    return list(tried.values())


def kinds(tried: list[tuple[dict, Outcome]]) -> list[tuple[int, str, dict]]:
    """Return the failures of one kind each: how many, what it is, and its shortest case."""
    alike: dict[str, list[tuple[dict, Outcome]]] = {}
    for case, outcome in tried:
        if outcome.kind == FAILED:
            key = f"{outcome.place or outcome.reason}  {outcome.reason.partition(':')[0]}"
            alike.setdefault(key, []).append((case, outcome))
    result = []
    for group in alike.values():
        case, outcome = min(group, key=lambda one: len(repr(one[0])))
        result.append((len(group), f"{outcome.place}  {outcome.reason}", case))
    return sorted(result, key=lambda kind: -kind[0])


def reproduce(subject: Subject, case: dict, world: World) -> int:
    """Try one case, its traceback shown."""
    with world.case() as folder:
        try:
            subject.check(case, world, folder)
        except Exception:
            traceback.print_exc()
    outcome = subject.outcome(case, world, apart=True)
    print(*outcome, sep="\n")
    return outcome.kind == FAILED


def main(argv: list[str] | None = None) -> int:
    """Draw, try and count; return 1 where a case failed."""
    options = arguments(argv)
    torch.set_num_threads(1)
    sys.argv = sys.argv[:1]  # RecBole's Config would read the rest
    total = Counter()
    with tempfile.TemporaryDirectory() as root, without_pictures():
        os.environ["RECBOLE_SSR_CACHE"] = str(Path(root) / "cache")
        world = World(Path(root))
        if options.case:
            return reproduce(SUBJECTS[options.only[0]], json.loads(options.case), world)
        limit_memory()
        shares = {name: SUBJECTS[name].share for name in options.only}
        print(f"{'subject':22s} {'cases':>6s} {'finished':>9s} {'refused':>8s} {'failures':>9s} "
              f"{'s':>6s}")
        for name, share in shares.items():
            start = time.perf_counter()
            count = round(options.cases * share / sum(shares.values()))
            tried = outcomes(SUBJECTS[name], world, count, options.seed)
            counts = Counter(outcome.kind for _, outcome in tried)
            seconds = time.perf_counter() - start
            total.update(counts | Counter(seconds=seconds))
            row(name, counts, seconds)
            for number, reason, case in kinds(tried):
                print(f"  {number} x {reason}\n      --only {name!r} --case {json.dumps(case)!r}")
        row("in all", total, total["seconds"])
    return int(total[FAILED] > 0)


def row(name: str, counts: Counter, seconds: float) -> None:
    """Print one line of the table."""
    outcomes = [counts[kind] for kind in (FINISHED, REFUSED, FAILED)]
    print(f"{name:22s} {sum(outcomes):6,d} {outcomes[0]:9,d} {outcomes[1]:8,d} {outcomes[2]:9,d} "
          f"{seconds:6.0f}", flush=True)


def limit_memory() -> None:
    """Let a setting that asks for far too much memory end in an error."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))


if __name__ == "__main__":
    sys.exit(main())
