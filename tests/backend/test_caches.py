"""ByteLRU and SingleFlight."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.caches import ByteLRU, SingleFlight

pytestmark = pytest.mark.unit


def test_least_recently_used_entries_go_first() -> None:
    cache: ByteLRU[str, str] = ByteLRU(10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)
    assert cache.get("b") is None
    assert cache.get("a") == "A"
    assert cache.get("c") == "C"
    assert cache.nbytes == 8


def test_replacing_an_entry_counts_its_bytes_once() -> None:
    cache: ByteLRU[str, int] = ByteLRU(10)
    for value in range(5):
        cache.put("a", value, 6)
    assert cache.nbytes == 6
    assert cache.get("a") == 4


def test_an_entry_larger_than_the_cache_is_not_kept_and_evicts_nothing_else() -> None:
    cache: ByteLRU[str, int] = ByteLRU(10)
    cache.put("small", 1, 5)
    cache.put("huge", 2, 11)
    assert cache.get("huge") is None
    assert cache.get("small") == 1


def test_what_entries_share_counts_once_and_until_the_last_of_them_goes() -> None:
    cache: ByteLRU[str, int] = ByteLRU(20)
    shared, other = object(), object()
    cache.put("a", 1, 1, [(shared, 10)])
    cache.put("b", 2, 1, [(shared, 10)])
    assert cache.nbytes == 12
    cache.put("b", 2, 2, [(shared, 10)])
    assert cache.nbytes == 13, "put again"
    cache.put("c", 3, 7)
    assert cache.nbytes == 20
    cache.put("d", 4, 1)
    assert (cache.get("a"), cache.nbytes) == (None, 20), "the shared part is still held by b"
    cache.put("e", 5, 1, [(other, 9)])
    assert (cache.get("b"), cache.nbytes) == (None, 18), "and now by nobody"
    cache.put("f", 6, 10, [(other, 11)])
    assert cache.get("f") is None, "larger than the cache"
    cache.clear()
    cache.put("g", 7, 0, [(other, 9)])
    assert cache.nbytes == 9


def test_concurrent_equal_calls_run_once() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    calls: list[int] = []
    entered = threading.Barrier(8)

    def work() -> int:
        calls.append(1)
        time.sleep(0.2)
        return 42

    def call(_: int) -> int:
        entered.wait()
        return flights.do("key", work)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [42] * 8
    assert len(calls) == 1
    assert flights.do("key", lambda: 7) == 7, "a finished flight is not remembered"


def test_an_error_reaches_all_who_wait_and_the_next_call_tries_again() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    entered = threading.Barrier(3)

    def fail() -> int:
        time.sleep(0.1)
        raise ValueError("broken")

    def call(_: int) -> str:
        entered.wait()
        try:
            flights.do("key", fail)
        except ValueError as error:
            return str(error)
        return "no error"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(call, range(3))) == ["broken"] * 3
    assert flights.do("key", lambda: 1) == 1
