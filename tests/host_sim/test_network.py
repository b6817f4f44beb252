"""The simulated network against MQTT's own rules: filters, retained messages, last wills, and what
a fault may do to a delivery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from host_sim.virtual.network import Network, VirtualClock, matches

Heard = list[tuple[str, bytes]]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def network(clock: VirtualClock) -> Network:
    return Network(clock)


def listen(network: Network, name: str, *filters: str, will: tuple[str, bytes] | None = None) -> Heard:
    heard: Heard = []
    network.connect(name, list(filters), lambda topic, payload: heard.append((topic, payload)), will)
    return heard


levels = st.sampled_from(["a", "b", ""])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join)
filters = st.tuples(st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=4), st.booleans()).map(
    lambda parts: "/".join(parts[0] + (["#"] if parts[1] else []))
)


@given(filters, topics)
def test_filters_cover_what_paho_says_that_they_cover(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic) == topic_matches_sub(topic_filter, topic)


def test_time_passes_only_when_something_is_due(clock: VirtualClock) -> None:
    seen: list[tuple[str, float]] = []
    for name, delay in (("late", 2.0), ("first", 1.0), ("second", 1.0)):
        clock.after(delay, lambda name=name: seen.append((name, clock.now)))
    clock.after(1.5, lambda: clock.after(0.1, lambda: seen.append(("nested", clock.now))))
    clock.run(1.0)
    assert (seen, clock.now) == ([("first", 1.0), ("second", 1.0)], 1.0)
    clock.run(10.0)
    assert (seen[2:], clock.now) == ([("nested", 1.6), ("late", 2.0)], 10.0)


def test_a_retained_message_is_for_who_comes_later_until_it_is_cleared(clock: VirtualClock, network: Network) -> None:
    network.publish("x", "a/b", b"old", retain=True)
    network.publish("x", "a/b", b"new", retain=True)
    network.publish("x", "a/c", b"passing")
    first = listen(network, "first", "a/+")
    clock.run(1)
    assert first == [("a/b", b"new")]
    network.publish("x", "a/b", b"", retain=True)
    second = listen(network, "second", "a/+")
    clock.run(2)
    assert first == [("a/b", b"new"), ("a/b", b"")]
    assert second == []


def test_a_message_that_several_filters_cover_arrives_once(clock: VirtualClock, network: Network) -> None:
    heard = listen(network, "me", "a/#", "a/b", "+/b")
    network.publish("x", "a/b", b"1")
    clock.run(1)
    assert heard == [("a/b", b"1")]


def test_a_broken_link_loses_what_is_on_its_way_and_publishes_the_will(clock: VirtualClock, network: Network) -> None:
    heard = listen(network, "me", "a", will=("state/me", b"gone"))
    other = listen(network, "other", "state/+")
    network.publish("x", "a", b"1")
    network.disconnect("me")
    assert not network.connected("me")
    again = listen(network, "me", "a")
    clock.run(1)
    assert (heard, again, other) == ([], [], [("state/me", b"gone")])
    network.disconnect("nobody")


def test_a_broker_that_is_killed_forgets_links_and_retained_messages(clock: VirtualClock, network: Network) -> None:
    network.publish("x", "a", b"kept", retain=True)
    heard = listen(network, "me", "a", will=("a", b"gone"))
    network.forget()
    assert not network.connected("me")
    network.publish("x", "a", b"lost")
    again = listen(network, "me", "a")
    clock.run(1)
    assert (heard, again) == ([], [])


@given(st.lists(st.lists(st.floats(0, 5), max_size=3), max_size=20))
def test_each_delivery_meets_its_own_fate(fates: list[list[float]]) -> None:
    clock = VirtualClock()
    drawn = iter(fates)
    network = Network(clock, lambda receiver, topic: next(drawn))
    arrived: list[tuple[float, int]] = []
    network.connect("me", ["a"], lambda topic, payload: arrived.append((clock.now, payload[0])))
    for number in range(len(fates)):
        network.publish("x", "a", bytes([number]))
    clock.run(10)
    assert arrived == sorted(arrived, key=lambda entry: entry[0])
    assert sorted(arrived) == sorted((delay, number) for number, fate in enumerate(fates) for delay in fate)
    assert network.messages == len(fates)
