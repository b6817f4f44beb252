"""The topic tree: which names may stand in it, what its topics look like, and what is not of it."""

from agent.wire import topics


def test_names_are_short_lower_case_words():
    for name in ("a", "0", "-", "meter-07", "z" * 32, "coordinator"):
        assert topics.valid_name(name)
    for name in ("", "z" * 33, "A", "a b", "a/b", "+", "#", "$", "a_b", "\u00fc", "a\x00", "a\n", None, 7, b"a", ["a"]):
        assert not topics.valid_name(name)


def test_no_device_is_called_like_another_user_of_the_broker():
    assert topics.valid_device("meter-07")
    for name in ("coordinator", "client", "", "A", None):
        assert not topics.valid_device(name)


def test_topics_are_the_documented_ones():
    assert topics.coordinator_state("d") == "hum/v1/d/coord/state"
    assert topics.device("d", "m", "state") == "hum/v1/d/dev/m/state"
    assert topics.group("d", "g", "round") == "hum/v1/d/g/g/round"
    assert topics.active("d", "g", 15) == "hum/v1/d/g/g/active/15"
    assert topics.up("d", "g", "m", "ready") == "hum/v1/d/g/g/up/m/ready"
    assert topics.mail("d", "g", "m", topics.COORDINATOR) == "hum/v1/d/g/g/mail/m/coordinator"


def test_splitting_gives_the_levels_back():
    assert topics.split(topics.coordinator_state("d")) == ["d", "coord", "state"]
    assert topics.split(topics.active("d", "g", 0)) == ["d", "g", "g", "active", "0"]
    assert topics.split(topics.up("d", "g", "m", "ready")) == ["d", "g", "g", "up", "m", "ready"]
    assert topics.split(topics.mail("d", "g", "m", "coordinator")) == ["d", "g", "g", "mail", "m", "coordinator"]


def test_topics_of_other_trees_are_not_split():
    for topic in (
        "",
        "/",
        "hum",
        "hum/v1",
        "hum/v1/d",
        "hum/v1/d/g",
        "hum/v2/d/g/g/round",
        "Hum/v1/d/g/g/round",
        "/hum/v1/d/g/g/round",
        "hum/v1/d/g/g/round/",
        "hum/v1/d//g/round",
        "hum/v1/d/g/+/round",
        "hum/v1/d/g/#",
        "hum/v1/d/g/G/round",
        "hum/v1/d/g/%s/round" % ("z" * 33),
        "hum/v1/\u00fc/g/g/round",
        "$SYS/broker/version",
    ):
        assert topics.split(topic) is None
