"""Hold a lineage against its function: perturb rows of the inputs and see which rows answer."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import LineageFuzzError
from traceprop_engine.fuzz.alignment import Result, Roots, aligned, random_weights
from traceprop_engine.fuzz.cells import same
from traceprop_engine.fuzz.changes import (
    Change,
    can_have_gaps,
    change_of_values,
    column_values,
    deletion,
    with_gaps,
)
from traceprop_engine.fuzz.claims import Claim, require_fit
from traceprop_engine.fuzz.probe import Ground, Prober
from traceprop_engine.fuzz.report import ChangeKind, IdleEdge, InputRuns, LineageCheck
from traceprop_engine.fuzz.running import CapturedFunction, Refusal, Run, Runner
from traceprop_engine.fuzz.sampling import sample_inputs
from traceprop_engine.fuzz.search import Findings, Search
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.pandas_capture import CaptureSession

Ints = NDArray[np.int64]
Frames = Mapping[str, pd.DataFrame]
Progress = Callable[[str], None]

_GROUP_KINDS: tuple[ChangeKind, ...] = ("value", "category", "value", "deletion", "missing")
_GAP_KINDS: tuple[ChangeKind, ...] = ("value", "category")
_SINGLE_KINDS: tuple[ChangeKind, ...] = ("deletion", "value", "missing", "category")
_ROWS_ALONE = 8
_LARGEST_GROUP = 20
_CONTEXT_KEYS = ("tried_context", "used_context")
_GAP_SHARE = 0.2


def check_lineage(
    function: Callable[..., pd.DataFrame],
    inputs: Frames,
    lineage: CapturedLineage | Callable[..., CapturedLineage],
    *,
    trials: int = 40,
    seed: int = 0,
    max_rows: int = 2_000,
    progress: Progress | None = None,
) -> LineageCheck:
    """Say whether what a function does agrees with the lineage claimed for it.

    The function runs twice on its inputs as they are, then on perturbed ones: rows get other
    values, missing values, the values of other rows, or are deleted, one by one and in groups.
    Where a row of the output changes that the lineage does not connect with the perturbed rows, the
    group is halved until the row and the column are found. Afterwards gaps are put into the inputs,
    and values are changed again, to see what fills them.

    A perturbation that the function refuses with an error is counted, and says nothing. A row whose
    values or presence depend on how many rows there are, or on which rows it competes with, is
    reported apart. Results are compared with a tolerance of 1e-9 of a column's spread.

    Args:
        function: Takes the inputs by name and returns a frame; it must not have side effects.
        inputs: The frames.
        lineage: What is claimed for these inputs; or a function of the inputs that says so for
            any, such as `CapturedFunction`, which is then held against each perturbed run too.
        trials: How many perturbations of each input are tried.
        seed: The same seed tries the same perturbations.
        max_rows: Of larger inputs a sample is used, for which ``lineage`` must be a function.
        progress: Called with what is being done.

    Raises:
        LineageFuzzError: The function fails on the inputs as they are, or does not return a frame;
            the lineage is about other frames; or an input is larger than ``max_rows`` and the
            lineage is not a function.

    Example:
        >>> frame = pd.DataFrame({"x": [1.0, 5.0, 2.0, 7.0, 3.0]})
        >>> keep_large = lambda d: d[d["x"] > 2]
        >>> check_lineage(keep_large, {"d": frame}, CapturedFunction(keep_large)).ok
        True
    """
    rng = np.random.default_rng(seed)
    tell = progress or _silent
    frames = _usable(inputs, lineage, max_rows, rng)
    claimed = lineage if isinstance(lineage, CapturedLineage) else None
    follow = CapturedFunction(function) if isinstance(lineage, CapturedLineage) else lineage
    runner = Runner(function, follow)
    tell("running the function on its inputs as they are, twice")
    base, again = (_run_or_raise(runner, frames) for _ in range(2))
    ground = _ground(frames, base, claimed or base.lineage, rng, claims_anew=claimed is None)
    require_fit(ground.claim.lineage, frames, base.frame)
    if not same(ground.result.cells, Result.of(again.frame, ground.result.roots).cells):
        return LineageCheck(len(base.frame), {}, nondeterministic=True)
    with CaptureSession():  # keeps what watches pandas in place between the runs
        grounds = [ground, *_ground_with_gaps(runner, ground, rng, tell)]
        checks = {name: _check_input(runner, grounds, name, trials, rng, tell) for name in frames}
    return _report(ground, checks)


@dataclass(frozen=True)
class _InputCheck:
    runs: InputRuns
    findings: tuple[Findings, ...]
    idle: tuple[IdleEdge, ...]
    unchecked: str | None


def _silent(message: str) -> None:
    del message


def _usable(
    inputs: Frames,
    lineage: CapturedLineage | Callable[..., CapturedLineage],
    max_rows: int,
    rng: np.random.Generator,
) -> dict[str, pd.DataFrame]:
    if not inputs:
        raise LineageFuzzError("There is no input to perturb", "pass at least one frame")
    large = [name for name, frame in inputs.items() if len(frame) > max_rows]
    if large and isinstance(lineage, CapturedLineage):
        name = large[0]
        raise LineageFuzzError(
            f"The input {name!r} has {len(inputs[name])} rows, more than max_rows={max_rows}, and "
            "the lineage is about all of them",
            "raise max_rows, or pass a function that captures the lineage of a sample",
        )
    return sample_inputs(inputs, max_rows, rng)


def _run_or_raise(runner: Runner, frames: Frames) -> Run:
    run = runner.run(frames)
    if isinstance(run, Refusal):
        if isinstance(run.error, LineageFuzzError):
            raise run.error
        sizes = ", ".join(f"{name}: {len(frame)} rows" for name, frame in frames.items())
        raise LineageFuzzError(
            f"The function fails on its inputs as they are ({sizes}): {run}",
            "see that it runs on these rows",
        ) from run.error
    return run


def _ground(
    frames: Frames,
    run: Run,
    claimed: CapturedLineage,
    rng: np.random.Generator,
    *,
    claims_anew: bool,
) -> Ground:
    weights = random_weights({name: len(frame) for name, frame in frames.items()}, rng)
    rows = {name: np.arange(len(frame)) for name, frame in frames.items()}
    result = Result.of(run.frame, Roots.of(run.lineage, weights, rows))
    return Ground(frames, run, Claim.of(claimed), claims_anew, weights, result)


def _ground_with_gaps(
    runner: Runner, ground: Ground, rng: np.random.Generator, tell: Progress
) -> Iterator[Ground]:
    """Yield the inputs with gaps in all columns in which the function takes them, if in any."""
    columns = [
        (name, at)
        for name, frame in ground.frames.items()
        for at in range(frame.shape[1])
        if len(frame) > 1 and can_have_gaps(column_values(frame, at))
    ]
    if not columns:
        return
    tell("putting gaps into the inputs")
    gapped = _accepted(runner, dict(ground.frames), columns, rng)
    if gapped is None:
        return
    frames, run = gapped
    made = _ground(frames, run, run.lineage, rng, claims_anew=ground.claims_anew)
    if not ground.claims_anew:
        roots = Roots.of(run.lineage, ground.weights, ground.origins())
        where = aligned(ground.result, Result.of(run.frame, roots))
        made = replace(made, claim=ground.claim.moved(where, len(run.frame)))
    yield replace(made, with_gaps=True)


def _accepted(
    runner: Runner,
    frames: dict[str, pd.DataFrame],
    columns: list[tuple[str, int]],
    rng: np.random.Generator,
) -> tuple[dict[str, pd.DataFrame], Run] | None:
    """Return the inputs with gaps in as many of the columns as the function takes, and its run."""
    gapped = dict(frames)
    for name, frame in frames.items():
        positions = [at for each, at in columns if each == name]
        gapped[name] = with_gaps(frame, positions, _GAP_SHARE, rng)
    run = runner.run(gapped)
    if not isinstance(run, Refusal):
        return gapped, run
    if len(columns) == 1:
        return None
    cut = len(columns) // 2
    first = _accepted(runner, frames, columns[:cut], rng)
    so_far = frames if first is None else first[0]
    return _accepted(runner, so_far, columns[cut:], rng) or first


def _check_input(
    runner: Runner,
    grounds: list[Ground],
    name: str,
    trials: int,
    rng: np.random.Generator,
    tell: Progress,
) -> _InputCheck:
    ground, *others = grounds
    n_rows = len(ground.frames[name])
    in_context = ground.claim.context_rows(name)
    if not ground.claim.lineage.maps[name].is_known:
        reason = ground.claim.lineage.reason or "nothing is known about its rows"
        return _InputCheck(_no_runs(n_rows), (), (), reason)
    if not n_rows:
        return _InputCheck(_no_runs(0), (), (), "it has no rows")
    tell(f"perturbing {name!r}")
    search = Search(Prober(runner, ground), rng)
    idle, n_edges = _try_single_rows(search, name, max(1, trials // _ROWS_ALONE))
    _try_groups(search, name, trials // 2, _GROUP_KINDS)
    searches = [search, *(Search(Prober(runner, other), rng) for other in others)]
    for other in searches[1:]:
        _try_groups(other, name, trials // 4, _GAP_KINDS)
    probers = [each.prober for each in searches]
    runs, refused = (sum(getattr(each, key) for each in probers) for key in ("runs", "refused"))
    refusals = [each.refusal for each in probers if each.refusal]
    first = str(refusals[0]) if refusals else None
    unchecked = f"every run was refused: {first}" if runs == refused else None
    tried, used = (any(getattr(p, key) for p in probers) for key in _CONTEXT_KEYS)
    told = InputRuns(
        n_rows, runs, refused, first, bool(in_context.all()), n_edges, tried and not used
    )
    return _InputCheck(told, tuple(each.findings for each in searches), tuple(idle), unchecked)


def _no_runs(n_rows: int) -> InputRuns:
    return InputRuns(n_rows, 0, 0, None, in_context=False, edges_tested=0)


def _try_single_rows(search: Search, name: str, n_rows: int) -> tuple[list[IdleEdge], int]:
    """Perturb single rows in every way, and return the claimed connections that nothing used."""
    ground = search.prober.ground
    frame = ground.frames[name]
    idle: list[IdleEdge] = []
    n_edges = 0
    pools = _pools(search, name)
    rows = [pool[at] for at in range(len(pools[0])) for pool in pools]
    for row in list(dict.fromkeys(rows))[:n_rows]:
        answered = np.zeros(ground.n_out, dtype=bool)
        was_deleted = False
        for kind in _SINGLE_KINDS:
            change = _change(name, frame, kind, np.array([row]), search.rng, of_all=True)
            probed = None if change is None else search.prober.probe_some(change)
            if probed is not None:
                was_deleted |= kind == "deletion"
                answered |= probed[1].affected
                search.judge(*probed)
        connected = ground.claim.connected(name, np.array([row]))
        if was_deleted and len(connected):
            n_edges += len(connected)
            silent = connected[~answered[connected]]
            if len(silent):
                idle.append(IdleEdge(name, int(row), tuple(map(int, silent))))
        if search.findings.are_enough:
            break
    return idle, n_edges


def _try_groups(search: Search, name: str, trials: int, kinds: tuple[ChangeKind, ...]) -> None:
    """Perturb several rows at once, until each had its turn or there were enough trials."""
    frame = search.prober.ground.frames[name]
    pools = _pools(search, name)
    for trial in range(trials):
        if search.findings.are_enough:
            return
        pool = pools[trial // len(kinds) % len(pools)]
        size = min(_LARGEST_GROUP, max(1, len(pool) // 8))
        start = trial * size % len(pool)
        rows = _narrow_enough(search, name, np.unique(np.roll(pool, -start)[:size]))
        change = _change(name, frame, kinds[trial % len(kinds)], rows, search.rng, of_all=False)
        probed = None if change is None else search.prober.probe_some(change)
        if probed is not None:
            search.judge(*probed)


def _pools(search: Search, name: str) -> tuple[Ints, Ints]:
    """Return the rows in no context, and all rows, each in random order.

    A row in a context explains any change, so it tells nothing of the row map, but of the context.
    Where every row is in one, both are all rows.
    """
    ground = search.prober.ground
    order = search.rng.permutation(len(ground.frames[name]))
    outside = order[~ground.claim.context_rows(name)[order]]
    return outside if len(outside) else order, search.rng.permutation(order)


def _narrow_enough(search: Search, name: str, rows: Ints) -> Ints:
    """Return as many of the rows as do not reach most of the output anyway."""
    ground = search.prober.ground
    while len(rows) > 1 and ground.claim.reach(name, rows).sum() > ground.n_out / 2:
        rows = rows[: len(rows) // 2]
    return rows


def _change(
    name: str,
    frame: pd.DataFrame,
    kind: ChangeKind,
    rows: Ints,
    rng: np.random.Generator,
    *,
    of_all: bool,
) -> Change | None:
    """Return a change of all columns, or in every second case of one alone."""
    if kind == "deletion":
        return deletion(name, rows)
    columns = rng.permutation(frame.shape[1]).tolist()
    if not of_all and rng.random() < 1 / 2:
        columns = columns[:1]
    return change_of_values(name, frame, kind, rows, columns, rng)


def _report(ground: Ground, checks: Mapping[str, _InputCheck]) -> LineageCheck:
    found = [each for check in checks.values() for each in check.findings]
    unchecked = {name: each.unchecked for name, each in checks.items() if each.unchecked}
    return LineageCheck(
        n_out=ground.n_out,
        inputs={name: each.runs for name, each in checks.items()},
        unchecked=unchecked,
        violations=tuple(each for one in found for each in one.violations),
        contexts_missing=tuple(each for one in found for each in one.contexts),
        presence_effects=tuple(each for one in found for each in one.presence),
        idle_edges=tuple(edge for each in checks.values() for edge in each.idle),
    )
