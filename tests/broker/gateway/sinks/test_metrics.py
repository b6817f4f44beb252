"""The metrics: their names are those that were agreed on, their values those of the run, and the
dashboard asks for nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.broker.gateway.sinks.scene import MEMBERS, START, Scene

FOLDER = Path(__file__).parents[4] / "broker/deploy/grafana"
NAMES = {
    "hum_build_info": {"version"},
    "hum_broker_linked": set(),
    "hum_rounds_total": {"group", "status"},
    "hum_round_duration_seconds_bucket": {"group", "le"},
    "hum_round_duration_seconds_count": {"group"},
    "hum_round_duration_seconds_sum": {"group"},
    "hum_round_last_complete_timestamp_seconds": {"group"},
    "hum_group_members": {"group"},
    "hum_group_ready_members": {"group"},
    "hum_group_summed_members": {"group"},
    "hum_inputs_refused_total": {"reason"},
    "hum_queries_total": {"group", "function", "status"},
    "hum_privacy_spent_epsilon": {"group"},
    "hum_board_online": {"device"},
    "hum_board_last_seen_timestamp_seconds": {"device"},
    "hum_board_masks": {"device"},
    "hum_board_heap_free_bytes": {"device"},
    "hum_board_flash_written_bytes_total": {"device"},
    "hum_board_link_losses_total": {"device"},
    "hum_board_firmware_info": {"device", "version"},
    "hum_energy_joules_total": {"group", "slot"},
}


def samples(scene: Scene) -> list[Sample]:
    text = scene.metrics.render().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(scene: Scene, name: str, **labels: str) -> float | None:
    found = [one.value for one in samples(scene) if (one.name, one.labels) == (name, labels)]
    assert len(found) < 2
    return found[0] if found else None


def test_all_names_and_labels_are_those_that_were_agreed_on():
    scene = Scene()
    scene.all()
    assert {one.name: set(one.labels) for one in samples(scene)} == NAMES


def test_totals_of_energy_are_told_only_if_that_is_wanted():
    scene = Scene(energy=False)
    scene.all()
    assert set(NAMES) - {one.name for one in samples(scene)} == {"hum_energy_joules_total"}


def test_rounds_are_counted_timed_and_summed():
    scene = Scene()
    assert value(scene, "hum_rounds_total", group="north", status="invalid") == 0
    scene.close(0)
    scene.close(1)
    assert value(scene, "hum_rounds_total", group="north", status="complete") == 2
    assert value(scene, "hum_round_duration_seconds_sum", group="north") == 15
    assert value(scene, "hum_round_duration_seconds_bucket", group="north", le="10.0") == 2
    assert value(scene, "hum_group_members", group="north") == 3
    assert value(scene, "hum_group_summed_members", group="north") == 2
    last = START + 907.5
    assert value(scene, "hum_round_last_complete_timestamp_seconds", group="north") == last
    assert value(scene, "hum_energy_joules_total", group="north", slot="load") == 200 * 3600
    assert value(scene, "hum_energy_joules_total", group="north", slot="heat") is None  # it may fall
    scene.close(2, None)
    assert value(scene, "hum_rounds_total", group="north", status="incomplete") == 1
    assert value(scene, "hum_group_summed_members", group="north") == 0
    assert value(scene, "hum_round_last_complete_timestamp_seconds", group="north") == last
    assert value(scene, "hum_energy_joules_total", group="north", slot="load") == 200 * 3600


def test_what_an_earlier_process_counted_is_not_counted_again():
    earlier, scene = Scene(), Scene()
    found = earlier.close(0)
    scene.metrics.resumed(found, earlier.standings["north"])
    assert value(scene, "hum_rounds_total", group="north", status="complete") == 0
    assert value(scene, "hum_energy_joules_total", group="north", slot="load") == 360_000
    assert value(scene, "hum_round_last_complete_timestamp_seconds", group="north") == found.closed


def test_a_group_that_is_gone_has_no_metrics():
    scene = Scene()
    scene.describe("south")
    for group in ("north", "south"):
        scene.close(0, group=group)
        scene.metrics.answered(group, None, "incomplete")
    scene.metrics.gone("north")
    assert {one.labels["group"] for one in samples(scene) if "group" in one.labels} == {"south"}
    assert value(scene, "hum_queries_total", group="south", function="unknown", status="incomplete") == 1
    scene.metrics.gone("south")
    assert not any(one.labels.keys() & {"group", "device"} for one in samples(scene))


def test_refusals_of_all_parts_are_one_count_for_each_reason():
    scene = Scene()
    scene.refused.update({"malformed": 2, "bad-signature": 1})
    others = {"malformed": 1}
    scene.metrics.refusals.append(lambda: others)
    assert value(scene, "hum_inputs_refused_total", reason="malformed") == 3
    assert value(scene, "hum_inputs_refused_total", reason="bad-signature") == 1


def test_members_are_told_as_the_coordinator_and_their_boards_tell_them():
    scene = Scene()
    assert value(scene, "hum_board_online", device="b0") is None
    assert value(scene, "hum_group_ready_members", group="north") == 0
    scene.stand(b0="ready", b1="joining", b2="offline")
    online = {name: value(scene, "hum_board_online", device=name) for name in MEMBERS}
    assert online == {"b0": 1, "b1": 1, "b2": 0}
    assert value(scene, "hum_group_ready_members", group="north") == 1
    assert value(scene, "hum_board_last_seen_timestamp_seconds", device="b0") is None  # it has said nothing
    scene.report()
    assert value(scene, "hum_board_last_seen_timestamp_seconds", device="b0") == START
    assert value(scene, "hum_board_masks", device="b0") == 40
    assert value(scene, "hum_board_heap_free_bytes", device="b0") == 65536
    assert value(scene, "hum_board_flash_written_bytes_total", device="b0") == 4096
    assert value(scene, "hum_board_link_losses_total", device="b0") == 3
    assert value(scene, "hum_board_firmware_info", device="b0", version="7") == 1
    scene.stand(at=START + 5)
    assert value(scene, "hum_board_online", device="b0") is None  # nobody has said
    assert value(scene, "hum_group_ready_members", group="north") == 0


def test_a_board_that_tells_nothing_has_no_figures():
    scene = Scene()
    scene.stand(b0="ready")
    scene.report(masks=None, heap_free=None, firmware=None, flash_bytes=None, link_losses=None)
    told = {one.name for one in samples(scene) if "device" in one.labels}
    assert told == {"hum_board_online", "hum_board_last_seen_timestamp_seconds"}


def test_a_board_in_two_groups_is_as_it_was_told_last_and_stays_while_it_is_in_one():
    scene = Scene()
    scene.describe("south")
    scene.stand("south", START + 1, b1="ready")
    scene.report("south", START + 1, masks=30)
    scene.stand("north", START, b1="offline")
    scene.report("north", START, masks=40)
    assert (value(scene, "hum_board_online", device="b1"), value(scene, "hum_board_masks", device="b1")) == (1, 30)
    scene.metrics.gone("south")
    assert (value(scene, "hum_board_online", device="b1"), value(scene, "hum_board_masks", device="b1")) == (0, 40)
    scene.metrics.gone("north")
    assert value(scene, "hum_board_online", device="b1") is None


def test_members_of_a_group_that_is_not_served_are_not_told():
    scene = Scene()
    scene.stand("south", b1="ready")
    assert not any("device" in one.labels for one in samples(scene))


def queries() -> Iterator[str]:
    """Yield what the dashboard asks for."""
    dashboard = json.loads((FOLDER / "hum.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]["query"])[1]


def test_the_dashboard_asks_for_metrics_that_there_are_and_for_all_of_them():
    asked = {name for query in queries() for name in re.findall(r"\bhum_\w+", query)}
    assert asked <= set(NAMES)
    shown = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in asked}
    of_histogram = {"hum_round_duration_seconds"}
    assert shown == {name for name in NAMES if "_duration_" not in name} | of_histogram
    labels = {"hum": {label for labels in NAMES.values() for label in labels}}
    for query in queries():
        for names in re.findall(r"by \(([^)]*)\)", query):
            assert set(names.split(", ")) <= labels["hum"]


def test_the_dashboard_is_one_that_stays_the_same():
    dashboard = json.loads((FOLDER / "hum.json").read_text())
    assert dashboard["uid"] == "hum-gateway"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    sources = {json.dumps(target["datasource"]) for panel in dashboard["panels"] for target in panel["targets"]}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    (provider,) = yaml.safe_load((FOLDER / "hum.yaml").read_text())["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards/hum")
