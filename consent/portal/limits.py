"""How often somebody may try: sliding windows in memory, per key.

Who runs it: the portal's process.  Keys are digests under a key of this process, so that a
memory dump of the counters names nobody.
Learns: nobody, anything.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

# Counters beyond this are forgotten, the least recently used first: a flood of made-up
# addresses must not fill the memory.  At 50,000 keys that is some 20 MB.
MAX_KEYS = 50_000


@dataclass(frozen=True)
class Rule:
    """At most `times` in `seconds`."""

    times: int
    seconds: float


# 20 guesses an hour at one address, each with a chance of 5 in 10^6 per code: an attacker who
# never rests needs on average over two years for one address, and its owner gets a code each
# time.  A client that asks for many addresses is stopped by the second rule of each pair.
CODES_PER_ADDRESS = Rule(5, 3600.0)
CODES_PER_CLIENT = Rule(20, 3600.0)
TRIES_PER_ADDRESS = Rule(20, 3600.0)
TRIES_PER_CLIENT = Rule(40, 3600.0)
VISITS_PER_CLIENT = Rule(600, 60.0)  # requests of any kind
REQUESTS_PER_PERSON = Rule(20, 86_400.0)  # rights requests that people have to deal with


@dataclass
class Limits:
    """now: seconds, monotonic.  key: 32 bytes of this process."""

    now: Callable[[], float]
    key: bytes
    _seen: OrderedDict[bytes, deque[float]] = field(default_factory=OrderedDict)

    def allow(self, rule: Rule, what: str, who: str) -> bool:
        """Counts one try of `who` and says whether it is still within `rule`.

        One that is refused counts too: whoever keeps knocking keeps waiting.
        """
        digest = hmac.digest(self.key, f"{what}|{who}".encode(), "sha256")
        now = self.now()
        times = self._seen.setdefault(digest, deque(maxlen=rule.times + 1))
        self._seen.move_to_end(digest)
        while len(self._seen) > MAX_KEYS:
            self._seen.popitem(last=False)
        while times and times[0] <= now - rule.seconds:
            times.popleft()
        times.append(now)
        return len(times) <= rule.times


def client_key(host: str) -> str:
    """Whom an address on the network stands for: a /64 is one household, not 2^64."""
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
