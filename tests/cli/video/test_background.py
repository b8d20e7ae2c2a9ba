"""Threads beside the network: order, errors, early ends."""

import threading
import time

import pytest

from srn_d2.cli.video.background import BackgroundConsumer, Prefetch


def test_items_come_in_order_and_are_read_ahead():
    read = []

    def items():
        for index in range(10):
            read.append(index)
            yield index

    with Prefetch(items(), 3) as prefetch:
        deadline = time.monotonic() + 10
        while len(read) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 3 <= len(read) <= 5
        assert list(prefetch) == list(range(10))


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("gone")

    with Prefetch(items(), 2) as prefetch:
        iterator = iter(prefetch)
        assert next(iterator) == 1
        with pytest.raises(OSError, match="gone"):
            next(iterator)


def test_the_thread_ends_if_the_rest_is_not_wanted():
    before = threading.active_count()
    with Prefetch(iter(int, 1), 2) as prefetch:  # endless
        assert next(iter(prefetch)) == 0
    assert threading.active_count() == before


def test_a_consumer_works_in_order_and_raises_errors():
    done = []
    consumer = BackgroundConsumer(done.append, 2)
    for index in range(20):
        consumer.put(index)
    consumer.close()
    assert done == list(range(20))

    def put_many(consumer):
        for _ in range(10):
            consumer.put(1)

    def fail(item):
        raise OSError(f"no room for {item}")

    consumer = BackgroundConsumer(fail, 1)
    consumer.put(1)
    with pytest.raises(OSError, match="no room for 1"):
        consumer.close()
    consumer = BackgroundConsumer(fail, 1)
    with pytest.raises(OSError, match="no room for 1"):  # within a few items
        put_many(consumer)
    consumer.close(cancel=True)


def test_a_cancelled_consumer_leaves_the_rest():
    done, may_go = [], threading.Event()

    def work(item):
        may_go.wait(10)
        done.append(item)

    consumer = BackgroundConsumer(work, 5)
    for index in range(4):
        consumer.put(index)
    threading.Timer(0.05, may_go.set).start()
    consumer.close(cancel=True)
    assert done in ([], [0])
