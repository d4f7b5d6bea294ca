"""The versions a replica has loaded: never too many, never one that is in use put away, each loaded once."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satellite.errors import VersionFailed, VersionUnavailable
from satellite.versions import LoadedVersions


class Artifact:
    def __init__(self, version, size_bytes):
        self.version, self.size_bytes = version, size_bytes


class Model:
    def __init__(self, version):
        self.version, self.closed = version, False


class World:
    """Loads models that know whether they are open, and watches how many are."""

    def __init__(self, *, sizes=None, **limits):
        self.limits = limits
        self.sizes = sizes or {}
        self.loads, self.open = [], []
        self.most = self.most_bytes = 0
        self.failures = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = 0.0
        self.versions = LoadedVersions(self.fetch, self.load, self.close, clock=lambda: self.now, **limits)

    async def fetch(self, version):
        await asyncio.sleep(0)
        if error := self.failures.get(version):
            raise error
        return Artifact(version, self.sizes.get(version, 1))

    async def load(self, artifact):
        self.loads.append(artifact.version)
        await self.gate.wait()
        model = Model(artifact.version)
        self.open.append(model)
        self.most = max(self.most, len(self.open))
        self.most_bytes = max(self.most_bytes, sum(self.sizes.get(m.version, 1) for m in self.open))
        return model

    async def close(self, model):
        model.closed = True
        await asyncio.sleep(0)
        self.open.remove(model)

    async def use(self, version, turns=1):
        async with self.versions.use(version) as model:
            for _ in range(turns):
                assert model.version == version
                assert not model.closed
                await asyncio.sleep(0)


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_version_is_loaded_once_however_many_ask():
    world = World(max_versions=2)
    await asyncio.gather(*(world.use("1") for _ in range(5)))
    await world.use("1")
    assert world.loads == ["1"]
    assert (world.versions.counts.misses, world.versions.counts.hits) == (5, 1)
    assert len(world.versions.load_seconds) == 1


async def test_the_least_recently_used_goes_first():
    world = World(max_versions=2)
    for version in ("1", "2", "1", "3"):
        await world.use(version)
    assert world.versions.loaded == ["1", "3"]
    assert world.versions.counts.evictions == 1


async def test_what_is_in_use_stays_and_the_next_one_waits():
    world = World(max_versions=1)
    async with world.versions.use("1") as model:
        waiting = asyncio.create_task(world.use("2"))
        await turns()
        assert not waiting.done()
        assert not model.closed
    await waiting
    assert model.closed
    assert world.most == 1


async def test_who_waits_for_room_is_not_starved_by_those_who_keep_it():
    world = World(max_versions=1)
    first = asyncio.create_task(world.use("1", turns=5))
    await turns(4)
    waiting = asyncio.create_task(world.use("2"))
    await turns(2)
    # Overlapping users would keep version 1 in use for ever.
    late = [asyncio.create_task(world.use("1", turns=5)) for _ in range(3)]
    await asyncio.gather(first, waiting, *late)
    assert world.loads == ["1", "2", "1"]


async def test_one_that_was_to_leave_stays_if_another_makes_room():
    world = World(max_versions=2)
    async with world.versions.use("1"):
        async with world.versions.use("2"):
            waiting = asyncio.create_task(world.use("3"))
            await turns()
            again = asyncio.create_task(world.use("1"))
            await turns()
            assert not again.done()
        await asyncio.gather(waiting, again)  # 2 was idle first, and 1 is there still
    assert world.loads == ["1", "2", "3"]


async def test_room_is_counted_in_bytes_too():
    world = World(max_versions=9, max_bytes=10, sizes={"a": 4, "b": 4, "c": 6, "d": 11})
    for version in "abc":
        await world.use(version)
    assert world.versions.loaded == ["b", "c"]
    with pytest.raises(VersionFailed, match="11 bytes, and max_loaded_bytes is 10"):
        await world.use("d")
    assert world.versions.loaded == ["b", "c"]


async def test_a_version_that_fails_fails_alone_and_is_not_tried_again_at_once():
    world = World(max_versions=2)
    world.failures["bad"] = VersionFailed("damaged")
    answers = await asyncio.gather(*(world.use(v) for v in ("bad", "1", "bad")), return_exceptions=True)
    assert [type(a) for a in answers] == [VersionFailed, type(None), VersionFailed]
    del world.failures["bad"]
    with pytest.raises(VersionFailed):
        await world.use("bad")
    world.now += 60
    await world.use("bad")


async def test_a_source_that_was_away_is_asked_again_at_once():
    world = World(max_versions=2)
    world.failures["1"] = VersionUnavailable("away")
    with pytest.raises(VersionUnavailable):
        await world.use("1")
    world.failures.clear()
    await world.use("1")


async def test_a_user_that_gives_up_leaves_the_load_to_the_others():
    world = World(max_versions=1)
    world.gate.clear()
    gone, stays = asyncio.create_task(world.use("1")), asyncio.create_task(world.use("1"))
    await turns()
    gone.cancel()
    await turns()
    world.gate.set()
    await stays
    await world.use("2")  # nothing is taken for used that is not
    assert world.loads == ["1", "2"]


async def test_unloading_waits_for_the_last_user():
    world = World(max_versions=2)
    async with world.versions.use("1") as model:
        unloading = asyncio.create_task(world.versions.unload("1"))
        await turns()
        later = asyncio.create_task(world.use("1"))
        await turns()
        assert not model.closed
    assert await unloading
    await later
    assert model.closed
    assert world.loads == ["1", "1"]
    assert not await world.versions.unload("nine")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), most=st.integers(1, 4), max_bytes=st.sampled_from([None, 6, 9]))
def test_whatever_happens_the_limits_hold_and_nothing_closed_is_used(seed, most, max_bytes):
    draw = random.Random(seed)

    async def run():
        world = World(
            max_versions=most, max_bytes=max_bytes, sizes={str(n): draw.randint(1, 5) for n in range(8)}
        )

        async def client():
            for _ in range(draw.randint(1, 6)):
                version = str(draw.randrange(8))
                if draw.random() < 0.1:
                    await world.versions.unload(version)
                elif draw.random() < 0.1:
                    task = asyncio.create_task(world.use(version))
                    await turns(draw.randint(0, 5))
                    task.cancel()
                else:
                    await world.use(version, draw.randint(0, 6))

        async with asyncio.timeout(10):
            await asyncio.gather(*(client() for _ in range(12)))
        assert world.most <= most
        assert max_bytes is None or world.most_bytes <= max_bytes

    asyncio.run(run())
