"""Which URL comes next: laws of the schedule, without network or clock."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from darkroom.sources.http.schedule import GIVE_UP_AT_ONCE, GIVE_UP_LATER, Host, Schedule


@given(
    hosts=st.lists(st.sampled_from("abc"), max_size=30), per_host=st.integers(1, 4),
    draw=st.randoms(use_true_random=False),
)  # fmt: skip
def test_each_position_ends_once_and_no_host_has_too_many(hosts, per_host, draw):
    """Whatever is postponed, held back by its host, or done in another order."""
    schedule, now = Schedule(hosts, per_host), 0.0
    active, ended, tries = [], Counter(), Counter()
    for _ in range(10_000):
        position = schedule.take(now)
        if position is not None:
            assert schedule.host(position).not_before <= now
            active.append(position)
            assert max(Counter(hosts[each] for each in active).values()) <= per_host
        elif active:
            position = active.pop(draw.randrange(len(active)))
            tries[position] += 1
            if tries[position] < 3 and draw.random() < 0.4:
                until = now + draw.random() * 10
                if draw.random() < 0.5:
                    schedule.host(position).not_before = until
                schedule.postpone(position, until)
            else:
                schedule.finish(position)
                ended[position] += 1
        elif (due := schedule.next_due()) is not None:
            assert due >= now
            now = due
        else:
            break
    assert ended == Counter(range(len(hosts)))
    assert schedule.unfinished == 0


def test_the_order_is_the_lists_but_for_hosts_that_are_busy():
    schedule = Schedule("aaab", 2)
    assert [schedule.take(0.0) for _ in range(4)] == [0, 1, 3, None]
    schedule.finish(1)
    assert schedule.take(0.0) == 2


def test_a_host_that_asked_to_wait_is_left_alone_and_others_go_on():
    schedule = Schedule("aab", 1)
    assert schedule.take(0.0) == 0
    schedule.host(0).not_before = 9.0
    schedule.postpone(0, 9.0)
    assert [schedule.take(0.0), schedule.take(0.0)] == [2, None]
    assert schedule.next_due() == 9.0
    assert schedule.take(9.0) == 0


def test_a_host_is_given_up_soon_if_it_never_answered_and_late_if_it_did():
    for first, limit in [(None, GIVE_UP_LATER), ("http_404", GIVE_UP_LATER)]:
        host = Host()
        host.record(first)
        for _ in range(limit - 1):
            host.record("timeout")
        assert host.given_up is None
        host.record("timeout")
        assert host.given_up == "timeout"
    host = Host()
    for _ in range(GIVE_UP_AT_ONCE):
        host.record("unknown_host")
    assert host.given_up == "unknown_host"


def test_an_answer_restores_patience():
    host = Host()
    for number in range(1000):
        host.record("http_503" if number % 20 else None)
    assert host.given_up is None
