"""How tenants share what they all want: whose turn it is, and how much room each may take.

Turns are dealt by start-time fair queueing, a request each. Of the tenants that wait, the one whose
next request starts first in virtual time is served; its next one starts one later. A tenant that was
idle begins at the present, so nobody saves up turns.
Source: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing: A Scheduling Algorithm for Integrated
Services Packet Switching Networks", SIGCOMM 1996.

Room is anybody's as long as there is some. Once there is none, a tenant still gets in that has less
than its part: the whole, divided by the tenants that have something in it. So what one has taken keeps
no other out, and one alone has the whole. If n tenants come one after the other and each takes all it
can get, they have 1 + 1/2 + ... + 1/n times the room together: twice at 4, three times at 11. Source of
a threshold that depends on what all have taken: A. K. Choudhury, E. L. Hahne, "Dynamic Queue Length
Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking 6 (1998).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Turns:
    """Virtual time: when the next request of each tenant starts.

    Attributes:
        now: the present: the start of what was served last. Who begins to wait starts no earlier.
    """

    __slots__ = ("_ends", "_floor", "_keep", "now")

    def __init__(self) -> None:
        self.now = 0
        # The start of the first of those that left together last. Nobody starts earlier: of what waits in a
        # lane that may not leave yet, the turns that pass meanwhile are not saved up.
        self._floor = 0
        # Where the last request of a tenant ended. What is not after the floor is forgotten now and then.
        self._ends: dict[str, int] = {}
        self._keep = 64

    def start(self, tenant: str) -> int:
        """When the next request of a tenant that waits starts."""
        end = self._ends.get(tenant, 0)
        return end if end > self._floor else self._floor

    def join(self, tenant: str) -> int:
        """A tenant begins to wait in a line. Returns when its next request starts."""
        if self.now > self._ends.get(tenant, 0):
            self._ends[tenant] = self.now
        return self.start(tenant)

    def begin(self, tenant: str) -> None:
        """Some leave together, and it is this tenant's turn to send the first of them."""
        self._floor = self.start(tenant)
        if len(self._ends) > self._keep:
            self._ends = {name: end for name, end in self._ends.items() if end > self._floor}
            self._keep = 64 + 2 * len(self._ends)

    def charge(self, tenant: str, count: int) -> None:
        """So many requests of this tenant are served."""
        if count:
            end = self._ends[tenant] = self.start(tenant) + count
            self.now = end - 1


class Tally:
    """A count for each tenant, and their sum.

    Attributes:
        total: of all tenants.
    """

    __slots__ = ("_counts", "total")

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = {tenant: count for tenant, count in (counts or {}).items() if count}
        self.total = sum(self._counts.values())

    def __getitem__(self, tenant: str) -> int:
        return self._counts.get(tenant, 0)

    def __iter__(self) -> Iterator[str]:
        """The tenants whose count is not 0."""
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, tenant: str, count: int = 1) -> None:
        """Count up, or down to 0 and no further."""
        before = self._counts.get(tenant, 0)
        after = before + count
        if after > 0:
            self._counts[tenant] = after
            self.total += count
        else:
            self._counts.pop(tenant, None)
            self.total -= before


def part_of(limit: int, tenants: Iterable[str], *tallies: Tally) -> int:
    """How much of a limit each of these tenants has, beside those that have something in these tallies."""
    return max(1, limit // len(set(tenants).union(*tallies)))


def has_room(limit: int, tenant: str, count: int, *tallies: Tally) -> bool:
    """Whether a tenant may add so many to what these tallies hold together."""
    total = count
    for tally in tallies:
        total += tally.total
    if total <= limit:
        return True
    own = sum(tally[tenant] for tally in tallies)
    return own + count <= part_of(limit, [tenant], *tallies)
