"""Rows of training steps, against keys planted in the data."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import (  # noqa: E402 (after the skip)
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)

from traceprop_engine.errors import (  # noqa: E402
    GranularityError,
    StepGranularityError,
    UnknownRowsError,
)
from traceprop_engine.lineage import CaptureSession  # noqa: E402
from traceprop_engine.lineage.granularity import granularity  # noqa: E402
from traceprop_engine.tensors import follow, from_torch, track_dataset  # noqa: E402

# Workers are forked: JAX warns about that where another test has imported it before.
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")]

N = 53


class Keyed(Dataset):
    """Items that say their row, in a dictionary with other things."""

    def __init__(self, n=N):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return {"key": index % self.n, "pair": (torch.tensor([index % self.n]), float(index))}


class Batched(Keyed):
    """A data set that gives a whole batch at once."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Stream(IterableDataset):
    """Yields its rows backwards, each worker its share."""

    def __iter__(self):
        worker = get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return ((N - 1 - at, torch.tensor(N - 1 - at)) for at in range(start, N, step))


@pytest.fixture
def session():
    with CaptureSession() as opened:
        yield opened


def tensors(n=N):
    return TensorDataset(torch.arange(n) * 10, torch.arange(n).to(torch.float32))


def last_first(samples):
    """Collate in another order than the loader's, as a user may."""
    return torch.stack([key for key, _ in samples]), [float(value) for _, value in samples]


def generator():
    return torch.Generator().manual_seed(5)


LOADERS = {
    "in order": lambda **more: DataLoader(tensors(), batch_size=8, **more),
    "shuffled": lambda **more: DataLoader(tensors(), batch_size=8, shuffle=True, **more),
    "dropping the last": lambda **more: DataLoader(
        tensors(), batch_size=8, shuffle=True, drop_last=True, **more
    ),
    "random with repeats": lambda **more: DataLoader(
        tensors(), batch_size=8, sampler=RandomSampler(range(N), replacement=True), **more
    ),
    "weighted with repeats": lambda **more: DataLoader(
        tensors(),
        batch_size=8,
        sampler=WeightedRandomSampler(torch.arange(N) + 1.0, 100, generator=generator()),
        **more,
    ),
    "a subset at random": lambda **more: DataLoader(
        tensors(), batch_size=8, sampler=SubsetRandomSampler([3, 5, 8, 13, 21]), **more
    ),
    "batches of a sampler": lambda **more: DataLoader(
        tensors(),
        batch_sampler=BatchSampler(RandomSampler(range(N)), batch_size=7, drop_last=False),
        **more,
    ),
    "own collate": lambda **more: DataLoader(
        tensors(), batch_size=8, shuffle=True, collate_fn=last_first, **more
    ),
    "own generator": lambda **more: DataLoader(
        tensors(), batch_size=8, shuffle=True, generator=generator(), **more
    ),
    "one by one": lambda **more: DataLoader(tensors(), batch_size=None, shuffle=True, **more),
    "sampled batches without collate": lambda **more: DataLoader(
        tensors(),
        batch_size=None,
        sampler=BatchSampler(RandomSampler(range(N)), batch_size=7, drop_last=True),
        **more,
    ),
    "negative rows": lambda **more: DataLoader(
        tensors(), batch_size=3, sampler=[-1, 0, -5, 7], **more
    ),
    "tensors as rows": lambda **more: DataLoader(
        tensors(), batch_size=4, sampler=list(torch.arange(9).flip(0)), **more
    ),
}


def keys_of(batch):
    return (batch[0].reshape(-1) // 10).tolist()


def run(loader, epochs=2):
    torch.manual_seed(11)
    return [batch for _ in range(epochs) for batch in loader]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("name", LOADERS)
def test_each_step_has_the_rows_that_are_planted_in_its_batch(name, session):
    batches = follow(LOADERS[name](), session=session)
    followed = run(batches)
    assert same([batch for _, batch in followed], run(LOADERS[name]()))
    for step, batch in followed:
        assert step.rows.tolist() == keys_of(batch)
    steps = batches.steps
    assert len(steps) == len(followed) == 2 * len(batches)
    assert [steps.rows_of(at).tolist() for at in range(len(steps))] == [
        keys_of(batch) for _, batch in followed
    ]
    assert steps.epochs.tolist() == sorted([0, 1] * len(batches))
    assert steps.rows.dtype == np.int32


@pytest.mark.parametrize("name", ["shuffled", "batches of a sampler", "own generator"])
def test_rows_come_through_workers(name, session):
    batches = follow(LOADERS[name](num_workers=2), session=session)
    followed = run(batches, epochs=1)
    assert same([batch for _, batch in followed], run(LOADERS[name](num_workers=2), epochs=1))
    for step, batch in followed:
        assert step.rows.tolist() == keys_of(batch)


def test_workers_that_stay_alive_serve_every_epoch(session):
    loader = LOADERS["shuffled"](num_workers=1, persistent_workers=True, prefetch_factor=3)
    for step, batch in run(follow(loader, session=session)):
        assert step.rows.tolist() == keys_of(batch)


@pytest.mark.parametrize("kind", [Keyed, Batched])
def test_nested_batches_keep_their_form(kind, session):
    def loader():
        return DataLoader(kind(), batch_size=9, shuffle=True)

    followed = run(follow(loader(), session=session))
    assert same([batch for _, batch in followed], run(loader()))
    for step, batch in followed:
        assert step.rows.tolist() == batch["key"].tolist() == batch["pair"][0][:, 0].tolist()


def test_subsets_are_looked_through_to_the_whole_data_set(session):
    train, rest = random_split(tensors(), [40, 13], generator=generator())
    inner = Subset(train, [5, -1, 7, 30])
    for part in (train, rest, inner):
        batches = follow(DataLoader(part, batch_size=6, shuffle=True), "train", session=session)
        for step, batch in batches:
            assert step.rows.tolist() == keys_of(batch)
            assert step.sources()["train"].tolist() == sorted(keys_of(batch))


def test_a_subset_that_finds_batches_in_its_own_way_is_not_looked_through(session):
    class Backwards(Subset):
        """Gives another item for an index of a batch."""

        def __getitems__(self, indices):
            return [self.dataset[self.indices[-1 - at]] for at in indices]

    part = Backwards(tensors(), [4, 8, 2])
    for step, _ in follow(DataLoader(part, batch_size=2), "part", session=session):
        assert step.rows.max() < len(part)
        assert list(step.sources()) == ["part"]
    assert session.notes.inputs["part"].n_rows == len(part)


def test_parts_of_a_concatenation_are_inputs_of_their_own(session):
    parts = ConcatDataset([tensors(10), Subset(tensors(20), range(19, -1, -1))])
    batches = follow(DataLoader(parts, batch_size=7, shuffle=True), "all", session=session)
    for step, batch in batches:
        first = sorted(k for k, row in zip(keys_of(batch), step.rows, strict=True) if row < 10)
        second = sorted(k for k, row in zip(keys_of(batch), step.rows, strict=True) if row >= 10)
        assert step.sources().get("all[0]", np.array([])).tolist() == first
        assert step.sources().get("all[1]", np.array([])).tolist() == second


def test_tracked_tensors_lead_each_step_to_the_source(session):
    source = from_torch(torch.arange(N), "source", session=session)
    kept = source[source % 3 != 0].flip(0)
    data = TensorDataset(kept * 10, kept.to(torch.float32))
    batches = follow(DataLoader(data, batch_size=5, shuffle=True), session=session)
    for step, batch in batches:
        assert type(batch[0]) is torch.Tensor
        assert step.sources()["source"].tolist() == sorted(keys_of(batch))
    lineage = batches.steps.lineage()
    assert lineage.n_rows == len(kept)
    assert lineage.fidelity == "exact"
    trained = np.concatenate([batches.steps.rows_of(at) for at in range(len(batches.steps))])
    expected = np.asarray(torch.as_tensor(kept))[trained]
    assert lineage.maps["source"].pairs()[1].tolist() == expected.tolist()


def test_a_data_set_takes_the_rows_of_any_tracked_value(session):
    rows = from_torch(torch.arange(200), "source", session=session)[50 : 50 + N]
    data = track_dataset(Keyed(), rows=rows)
    batches = follow(DataLoader(Subset(data, [4, 2]), batch_size=2))
    ((step, batch),) = batches
    assert step.rows.tolist() == batch["key"].tolist() == [4, 2]
    assert step.sources()["source"].tolist() == [52, 54]


def test_frames_and_arrays_become_data_sets(session):
    x = from_torch(torch.arange(N)[:, None] * 10, "source", session=session)[3:]
    data = track_dataset(x, np.arange(N - 3))
    for step, batch in follow(DataLoader(data, batch_size=6, shuffle=True)):
        assert step.sources()["source"].tolist() == sorted(keys_of(batch))
    stacked = StackDataset(track_dataset(x), Keyed(N - 3))
    ((step, _),) = follow(DataLoader(stacked, batch_size=2, sampler=[0, 7]), session=session)
    assert step.sources()["source"].tolist() == [3, 10]


@pytest.mark.parametrize("as_value", [lambda x: x, lambda x: x.numpy()])
def test_a_batch_that_is_tracked_goes_on_into_operations(as_value, session):
    x = from_torch(torch.arange(N) * 10, "source", session=session)[3:]
    loader = DataLoader(track_dataset(x), batch_size=6, shuffle=True)
    for step, (keys,) in follow(loader):
        batch = step.track(as_value(keys))
        maps = session.lineage(batch[1:] * 2).maps
        assert [maps["source"].backward([at]).tolist() for at in range(len(keys) - 1)] == [
            [int(key) // 10] for key in keys[1:]
        ]
        with pytest.raises(UnknownRowsError, match="one row for each sample"):
            step.track(as_value(keys[1:]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_that_yields_its_rows_is_followed(workers, session):
    data = track_dataset(Stream(), n_rows=N, source_id="stream", session=session)
    batches = follow(DataLoader(data, batch_size=6, num_workers=workers))
    seen = []
    for step, batch in batches:
        assert step.rows.tolist() == batch.tolist()
        seen += batch.tolist()
    assert sorted(seen) == list(range(N))
    plain = [row for each in DataLoader(data, batch_size=6) for row in each.tolist()]
    assert plain == list(range(N - 1, -1, -1))


def test_a_stream_that_does_not_yield_its_rows_is_refused(session):
    with pytest.raises(UnknownRowsError, match="yield pairs"):
        follow(DataLoader(Stream(), batch_size=6), session=session)
    with pytest.raises(UnknownRowsError, match="yield pairs"):
        track_dataset(Stream(), session=session)
    short = track_dataset(Stream(), n_rows=10, session=session)
    with pytest.raises(UnknownRowsError, match="10 rows"):
        list(follow(DataLoader(short, batch_size=6)))


def test_what_is_no_row_number_is_refused(session):
    class ByName(Keyed):
        def __getitem__(self, index):
            return len(index)

    loader = DataLoader(ByName(), sampler=["a", "b"], batch_size=2)
    with pytest.raises(UnknownRowsError, match="'a', which is no row number"):
        list(follow(loader, session=session))
    with pytest.raises(UnknownRowsError, match="A list does not say"):
        follow([1, 2], session=session)
    rows = from_torch(torch.zeros(3), "x", session=session)
    with pytest.raises(UnknownRowsError, match="53 items for 3 rows"):
        track_dataset(Keyed(), rows=rows)
    with pytest.raises(UnknownRowsError, match="tensors of one length"):
        track_dataset(torch.zeros(3), torch.zeros(4), session=session)
    with pytest.raises(UnknownRowsError, match="are not known"):
        track_dataset(Keyed(), rows=[1], session=session)


def test_a_loop_that_stops_early_has_the_steps_it_took(session):
    batches = follow(LOADERS["shuffled"](), session=session)
    for _ in range(3):
        for step, _ in batches:
            if step.step % 2:
                break
    assert batches.steps.epochs.tolist() == [0, 0, 1, 1, 2, 2]


def steps_at(granularity, session):
    batches = follow(LOADERS["shuffled"](), session=session, granularity=granularity)
    truth = [keys_of(batch) for _, batch in run(batches)]
    return batches.steps, truth


def test_by_row_everything_can_be_asked(session):
    steps, truth = steps_at("ROW", session)
    for row in range(N):
        holders = [at for at, rows in enumerate(truth) if row in rows]
        assert steps.steps_of(row).tolist() == steps.may_have_seen(row).tolist() == holders
    assert steps.rows_of_epoch(1).tolist() == list(range(N))
    assert steps.are_rows_of(3, truth[3])
    assert not steps.are_rows_of(3, truth[3][::-1])
    assert steps.sources(2)["dataset"].tolist() == sorted(truth[2])


@pytest.mark.parametrize("granularity", ["BATCH", "OP"])
def test_by_batch_a_step_knows_its_size_its_bounds_and_its_digest(granularity, session):
    steps, truth = steps_at(granularity, session)
    assert [steps.n_rows(at) for at in range(len(steps))] == [len(rows) for rows in truth]
    for at, rows in enumerate(truth):
        assert steps.are_rows_of(at, rows)
        assert not steps.are_rows_of(at, rows[::-1])
    for row in range(N):
        within = [at for at, rows in enumerate(truth) if min(rows) <= row <= max(rows)]
        assert steps.may_have_seen(row).tolist() == within
    for question in (steps.rows_of, steps.steps_of, steps.rows_of_epoch, steps.sources):
        with pytest.raises(StepGranularityError, match=f"granularity {granularity}"):
            question(0)
    by_row, _ = steps_at("ROW", session)
    assert steps.rows.nbytes == 0 < by_row.rows.nbytes


def test_by_epoch_only_the_set_of_rows_is_known(session):
    sampler = SubsetRandomSampler([3, 5, 8, 13, 21])
    loader = DataLoader(tensors(), batch_size=2, sampler=sampler)
    batches = follow(loader, session=session, granularity="EPOCH")
    run(batches)
    assert batches.steps.rows_of_epoch(1).tolist() == [3, 5, 8, 13, 21]
    assert batches.steps.may_have_seen(5).tolist() == list(range(6))
    assert batches.steps.may_have_seen(6).tolist() == []
    for question in (batches.steps.rows_of, batches.steps.steps_of, batches.steps.n_rows):
        with pytest.raises(StepGranularityError, match="record them at ROW"):
            question(0)
    with pytest.raises(UnknownRowsError, match="epoch 2"):
        batches.steps.rows_of_epoch(2)


def test_off_leaves_the_loader_alone(session):
    batches = follow(LOADERS["shuffled"](), session=session, granularity="OFF")
    followed = run(batches)
    assert same([batch for _, batch in followed], run(LOADERS["shuffled"]()))
    with pytest.raises(StepGranularityError, match="granularity OFF"):
        _ = followed[0][0].rows
    with pytest.raises(StepGranularityError, match="granularity OFF"):
        batches.steps.may_have_seen(0)


def test_the_granularity_is_that_of_the_place_where_the_loader_is_followed(session):
    with granularity("EPOCH"):
        batches = follow(LOADERS["in order"](), session=session)
    assert follow(LOADERS["in order"](), session=session).steps.granularity == "ROW"
    assert batches.steps.granularity == "EPOCH"
    with pytest.raises(GranularityError):
        follow(LOADERS["in order"](), session=session, granularity="SOMETIMES")
    with pytest.raises(GranularityError, match="no granularity '7'"), granularity(7):
        pass


def test_a_worker_finds_its_own_data_set(session):
    def prepare(_worker):
        get_worker_info().dataset.n = 7

    loader = DataLoader(Keyed(), batch_size=4, num_workers=1, worker_init_fn=prepare)
    for step, batch in follow(loader, session=session):
        assert batch["key"].tolist() == [row % 7 for row in step.rows]
    assert loader.dataset.n == N


def test_a_recorded_array_cannot_be_changed_by_its_reader(session):
    batches = follow(LOADERS["in order"](), session=session)
    step, _ = next(iter(batches))
    with pytest.raises(ValueError, match="read-only"):
        step.rows[0] = 9
    with pytest.raises(ValueError, match="read-only"):
        batches.steps.rows[0] = 9
    with pytest.raises(UnknownRowsError, match="no step 5"):
        batches.steps.rows_of(5)
