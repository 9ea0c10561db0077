import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from spineloss.data.prefetch import MOST, VARIABLE, Prefetched, threads_for
from spineloss.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def numbered(epoch):
    return [lambda number=number: (epoch, number) for number in range(3)]


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_batches_come_in_their_order_whoever_makes_them(threads):
    prefetched = Prefetched(numbered, last=3, threads=threads)
    found = [list(prefetched(epoch)) for epoch in (1, 2, 3)]
    assert found == [[(epoch, number) for number in range(3)] for epoch in (1, 2, 3)]


@pytest.mark.parametrize("threads", [0, 2])
def test_it_begins_wherever_a_training_was_stopped(threads):
    prefetched = Prefetched(numbered, last=5, threads=threads)
    assert list(prefetched(4)) == [(4, 0), (4, 1), (4, 2)]
    assert next(prefetched(2)) == (2, 0)  # left in the middle
    assert list(prefetched(2)) == [(2, 0), (2, 1), (2, 2)]
    assert list(prefetched(3)) == [(3, 0), (3, 1), (3, 2)]


def test_the_next_epoch_is_begun_while_the_network_is_validated_and_no_later_one():
    made = {(epoch, number): threading.Event() for epoch in range(1, 4) for number in range(3)}

    def calls(epoch):
        return [made[epoch, number].set for number in range(3)]

    prefetched = Prefetched(calls, last=2, threads=1)
    list(prefetched(1))
    assert made[2, 0].wait(10) and made[2, 1].wait(10)
    list(prefetched(2))
    assert not made[3, 0].is_set()


def test_no_more_is_made_ahead_than_one_batch_for_each_thread_and_the_next():
    begun = []
    prefetched = Prefetched(lambda epoch: [lambda: begun.append(1) for _ in range(50)], last=1, threads=2)
    epoch = prefetched(1)
    next(epoch)
    prefetched._pool.shutdown()  # once what is waiting is made
    assert len(begun) == 4


def test_a_mistake_is_raised_where_its_batch_is_due():
    def fail():
        raise UserError("damaged")

    epoch = Prefetched(lambda epoch: [lambda: 1, fail], last=1, threads=2)(1)
    assert next(epoch) == 1
    with pytest.raises(UserError, match="damaged"):
        next(epoch)


def test_the_step_and_later_threads_keep_their_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = list(Prefetched(lambda epoch: [torch.get_num_threads], last=1, threads=1)(1))
        later = ThreadPoolExecutor(1).submit(torch.get_num_threads).result()
        assert (seen, torch.get_num_threads(), later) == ([1], 2, 2)
    finally:
        torch.set_num_threads(before)


def test_a_training_that_is_over_leaves_no_thread():
    prefetched = Prefetched(numbered, last=1, threads=2)
    list(prefetched(1))
    threads = list(prefetched._pool._threads)
    del prefetched
    for thread in threads:
        thread.join(10)
    assert threads and not any(thread.is_alive() for thread in threads)


def test_how_many_threads(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert (threads_for(CPU), threads_for(GPU)) == (1, MOST)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert threads_for(GPU) == 2
    monkeypatch.setenv(VARIABLE, "0")
    assert threads_for(GPU) == 0
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(UserError, match="SPINELOSS_PREFETCH is 'many'"):
        threads_for(CPU)
