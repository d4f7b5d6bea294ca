"""Tenants take turns, and each has its part of the room: the rules by themselves, whatever comes when."""

from collections import Counter, OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satellite.fairness import Tally, Turns, has_room, part_of
from satellite.jobs import PRIORITY_STEP
from satellite.lanes import SYNC, Waiting

STEP_S = PRIORITY_STEP.total_seconds()
BATCH = 4
PLENTY = 10**9


class Waits:
    """A request, as far as what waits knows it."""

    config = data = "{}"
    urgent = None

    def __init__(self, tenant, *, level=4, version=None, suspect=False, wanted=True, size_bytes=1):
        self.tenant, self.level, self.version, self.suspect = tenant, level, version, suspect
        self.wanted, self.size_bytes = wanted, size_bytes

    def is_wanted(self):
        return self.wanted

    def dispatched(self, fill_s): ...

    def finished(self, outcome, batch): ...


def next_batch(waiting, *, size=BATCH, sync_only=False):
    """As a queue takes it: of the lanes in which something waits."""
    lanes = [lane for lane in waiting.lanes.values() if lane.count(sync_only=sync_only)]
    if not lanes:
        return []
    lane = waiting.first(lanes, sync_only=sync_only)
    taken = waiting.take(lane, size, most_bytes=PLENTY, sync_only=sync_only)
    waiting.tidy(lane)
    return [request for request, _ in taken]


def filled(*requests):
    waiting = Waiting()
    for number, request in enumerate(requests):
        waiting.put(request, number)
    return waiting


# What happens to a queue: somebody puts requests, or a batch leaves.
TENANTS = st.sampled_from("abcde")
COUNTS = st.sampled_from([1, 1, 1, 2, 5, 60])
PUTS = st.tuples(TENANTS, COUNTS, st.integers(0, 9), st.sampled_from(["1", "2", "3"]))
EVENTS = st.lists(st.one_of(PUTS, st.none()), min_size=40, max_size=200)


def watch(events, *, versions):
    """Let it happen. Yields after each batch who was served, and who waits before and after it."""
    waiting = Waiting()
    for at, event in enumerate(events):
        if event is None:
            before = set(waiting.tally)
            if before:
                yield Counter(request.tenant for request in next_batch(waiting)), before & set(waiting.tally)
            continue
        tenant, count, level, version = event
        for _ in range(count):
            waiting.put(Waits(tenant, level=level, version=version if versions else None), at)


@pytest.mark.parametrize(("versions", "slack"), [(False, BATCH), (True, 2 * BATCH)], ids=["one", "lanes"])
def test_who_waits_gets_no_less_than_its_part_whatever_the_others_send(versions, slack):
    @settings(max_examples=60, deadline=None)
    @given(EVENTS)
    def holds(events):
        # Of each tenant that has been waiting all along: what everybody was served since each moment of that.
        since: dict[str, list[Counter[str]]] = {}
        for served, still in watch(events, versions=versions):
            since = {tenant: [*since.get(tenant, []), Counter()] for tenant in still}
            for tenant, spans in since.items():
                for span in spans:
                    span.update(served)
                    part = span.total() / len({*span, tenant})
                    assert span[tenant] >= part - slack, (tenant, span)

    holds()


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_nobody_is_starved(events):
    waited: Counter[str] = Counter()
    for served, still in watch(events, versions=True):
        for tenant in "abcde":
            waited[tenant] = waited[tenant] + 1 if tenant in still and not served[tenant] else 0
            # Four others, of three versions each: 2 batches of each of them at most.
            assert waited[tenant] <= 8


class Ranks:
    """The order in which one tenant's requests leave: by rank, and in a level as they were put."""

    def __init__(self):
        self.levels = [OrderedDict() for _ in range(SYNC + 1)]

    def take(self, count):
        taken = []
        while len(taken) < count and (waiting := [queue for queue in self.levels if queue]):
            first = min(waiting, key=self._rank)
            taken.append(first.popitem(last=False)[0])
        return taken

    @staticmethod
    def _rank(queue):
        request, came_at = next(iter(queue.items()))
        return came_at - request.level * STEP_S


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.tuples(st.integers(0, SYNC), st.floats(0, 400, allow_nan=False), st.booleans()),
        ),
        max_size=200,
    )
)
def test_one_tenant_alone_leaves_in_the_order_of_ranks(events):
    waiting, ranks = Waiting(), Ranks()
    put = []
    for at, event in enumerate(events):
        if event is None:
            assert next_batch(waiting) == ranks.take(BATCH)
            continue
        level, waited_s, cancel = event
        request = Waits("only", level=level)
        waiting.put(request, at - waited_s)
        ranks.levels[level][request] = at - waited_s
        put.append(request)
        if cancel:
            gone = put[len(put) // 2]
            assert waiting.remove(gone) is (ranks.levels[gone.level].pop(gone, None) is not None)
    while expected := ranks.take(BATCH):
        assert next_batch(waiting) == expected
    assert len(waiting) == 0


def test_two_take_turns_and_each_sends_its_most_urgent():
    waiting = filled(
        *(Waits("many", level=4) for _ in range(20)),
        *(Waits("few", level=level) for level in (0, 0, 9)),
    )
    batches = [[(request.tenant, request.level) for request in next_batch(waiting)] for _ in range(3)]
    assert batches[0] == [("many", 4), ("few", 9), ("many", 4), ("few", 0)]
    assert batches[1] == [("many", 4), ("few", 0), ("many", 4), ("many", 4)]
    assert batches[2] == [("many", 4)] * 4


def test_who_was_away_is_served_at_once_and_has_saved_up_nothing():
    waiting = filled(*(Waits("many") for _ in range(1000)), *(Waits("away") for _ in range(2)))
    for _ in range(100):
        next_batch(waiting)
    for number in range(1000):
        waiting.put(Waits("away"), 2000 + number)
    first, *later = [Counter(r.tenant for r in next_batch(waiting)) for _ in range(20)]
    assert first["away"] == BATCH / 2
    assert sum(later, first)["away"] == pytest.approx(40, abs=BATCH)


@pytest.mark.parametrize("version", [None, "2"], ids=["one lane", "a lane of its own"])
def test_who_leaves_and_comes_again_has_not_saved_up_what_it_did_not_use(version):
    waiting = filled(*(Waits("steady") for _ in range(900)))
    served: Counter[str] = Counter()
    for number in range(90):
        waiting.put(Waits("again", version=version), 900 + number)  # one at a time: gone with each batch
        served.update(request.tenant for request in next_batch(waiting))
    assert served["steady"] >= 90
    for number in range(400):
        for tenant in ("again", "new"):
            waiting.put(Waits(tenant), 1000 + number)
    served = sum((Counter(r.tenant for r in next_batch(waiting)) for _ in range(45)), Counter())
    assert all(abs(served[tenant] - 60) <= BATCH for tenant in ("steady", "again", "new")), served


def test_a_version_that_may_not_leave_yet_saves_up_no_turns():
    waiting = filled(Waits("early", version="1"), *(Waits("steady", version="2") for _ in range(900)))
    rare, _ = waiting.lanes.values()
    for _ in range(100):  # the batch of the other one is not due
        waiting.take(waiting.lanes["2"], BATCH, most_bytes=PLENTY, sync_only=False)
    for number in range(400):
        waiting.put(Waits("early", version="1"), 1000 + number)
        waiting.put(Waits("new", version="2"), 1000 + number)
    assert rare.count() == 401
    served = sum((Counter(r.tenant for r in next_batch(waiting)) for _ in range(45)), Counter())
    assert all(abs(served[tenant] - 60) <= BATCH for tenant in ("steady", "early", "new")), served


def test_virtual_time_is_one_for_all_versions():
    waiting = filled(
        *(Waits("a", version="1") for _ in range(60)),
        *(Waits("b", version="1") for _ in range(60)),
        *(Waits("c", version="2") for _ in range(60)),
    )
    served = sum((Counter(r.tenant for r in next_batch(waiting)) for _ in range(30)), Counter())
    assert served == {"a": 40, "b": 40, "c": 40}


def test_predicts_leave_before_the_jobs_of_all():
    waiting = Waiting()
    for number in range(20):
        waiting.put(Waits("jobs", level=9), number)
        waiting.put(Waits(f"predicts {number % 2}", level=SYNC), number)
    for _ in range(5):
        assert Counter(r.tenant for r in next_batch(waiting)) == {"predicts 0": 2, "predicts 1": 2}
    assert {request.tenant for request in next_batch(waiting)} == {"jobs"}


def test_jobs_that_have_aged_take_turns_with_predicts_and_the_others_wait():
    waiting = Waiting()
    for _ in range(40):
        waiting.put(Waits("aged", level=4), 0)
        waiting.put(Waits("predicts", level=SYNC), 1000)
        waiting.put(Waits("also predicts", level=SYNC), 1000)
    served = sum((Counter(r.tenant for r in next_batch(waiting)) for _ in range(15)), Counter())
    assert served == {"aged": 20, "predicts": 20, "also predicts": 20}
    waiting.put(Waits("new", level=SYNC), 1000)
    assert "new" in [request.tenant for request in next_batch(waiting)]


def test_predicts_of_several_take_turns():
    waiting = filled(*(Waits("many", level=SYNC) for _ in range(50)), Waits("one", level=SYNC))
    assert "one" in [request.tenant for request in next_batch(waiting, sync_only=True)]


def test_suspects_take_turns():
    waiting = filled(*(Waits("many", suspect=True) for _ in range(9)), Waits("one", suspect=True))
    assert [waiting.take_suspect()[0].tenant for _ in range(4)] == ["many", "one", "many", "many"]
    assert len(waiting) == 6


def test_who_has_gone_uses_up_no_turn():
    waiting = filled(
        *(Waits("a", wanted=False) for _ in range(5)),
        *(Waits("a") for _ in range(4)),
        *(Waits("b") for _ in range(9)),
    )
    assert Counter(request.tenant for request in next_batch(waiting)) == {"a": 2, "b": 2}


def test_those_who_come_and_go_leave_nothing_behind():
    waiting = filled(Waits("stays"))
    for number in range(5000):
        request = Waits(f"t{number}")
        waiting.put(request, number)
        if number % 2:
            waiting.remove(request)
        else:
            next_batch(waiting)
            waiting.put(Waits("stays"), number)
    (lane,) = waiting.lanes.values()
    assert len(lane.jobs._heap) < 20
    assert len(lane.jobs.turns._ends) < 200
    assert len(waiting) == len(list(waiting))


def test_what_many_tenants_have_waiting_has_no_more_bytes_than_is_said():
    waiting = filled(*(Waits(f"t{n}", size_bytes=n) for n in range(10)))
    (lane,) = waiting.lanes.values()
    assert lane.next_bytes(3, sync_only=False) >= 9 + 8 + 7
    while next_batch(waiting):
        pass
    for request in (Waits("t", size_bytes=5), Waits("t", size_bytes=6), Waits("t", size_bytes=7)):
        waiting.put(request, 0)
    (lane,) = waiting.lanes.values()
    assert lane.next_bytes(2, sync_only=False) == 11


@settings(deadline=None)
@given(st.lists(st.tuples(TENANTS, st.integers(-20, 20)), max_size=60))
def test_a_tally_counts_each_down_to_nothing(changes):
    tally, counts = Tally(), Counter()
    for tenant, count in changes:
        tally.add(tenant, count)
        counts[tenant] = max(0, counts[tenant] + count)
    assert tally.total == counts.total()
    assert {tenant: tally[tenant] for tenant in tally} == {t: n for t, n in counts.items() if n}
    assert len(tally) == len(list(tally))


def test_one_alone_has_all_the_room_and_then_each_its_part():
    assert has_room(10, "a", 1, Tally({"a": 9}))
    assert not has_room(10, "a", 1, Tally({"a": 10}))
    assert not has_room(10, "a", 2, Tally({"a": 4}), Tally({"a": 5}))
    full = Tally({"a": 10})
    for count in range(5):
        assert has_room(10, "b", 1, full, Tally({"b": count}))
    assert not has_room(10, "b", 1, full, Tally({"b": 5}))
    assert not has_room(10, "a", 1, full, Tally({"b": 5}))
    assert has_room(10, "c", 3, full, Tally({"b": 5}))
    assert has_room(1, "b", 1, Tally({"a": 1}))  # never less than one
    assert part_of(10, ["a", "c"], full, Tally({"b": 5})) == 3


@settings(deadline=None)
@given(st.lists(TENANTS, min_size=1, max_size=300), st.integers(1, 40))
def test_however_much_others_take_nobody_is_kept_out_of_its_part(arrivals, limit):
    tally = Tally()
    for tenant in arrivals:
        if has_room(limit, tenant, 1, tally):
            tally.add(tenant)
        else:
            assert tally.total >= limit
            assert tally[tenant] >= max(1, limit // len({tenant, *tally}))
    harmonic = sum(1 / n for n in range(1, len(tally) + 1))
    assert tally.total <= limit * harmonic + len(tally)


def test_what_is_past_is_forgotten():
    turns = Turns()
    for number in range(1000):
        turns.charge(f"t{number}", 1)
    turns.charge("ahead", 50)
    turns.begin("ahead")
    assert (turns.start("t5"), turns.start("ahead"), turns.join("new")) == (50, 50, 50)
    assert len(turns._ends) < 3
