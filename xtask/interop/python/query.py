"""azure-iot-hub asks for twins: pages, projections, aggregates, modules, refusals."""

import math

from azure.iot.hub.models import ExportImportDevice, PropertyContainer, QuerySpecification

import hub
from hub import equal, refused

SITE = hub.new_id("site")
COUNT = 25


def fill(registry):
    """Twenty-five devices on three floors; each fifth has a module, and each one after that is disabled."""
    devices = [
        ExportImportDevice(
            id=f"{SITE}-{at:02}",
            import_mode="create",
            status="disabled" if at % 5 == 1 else "enabled",
            tags={"site": SITE, "floor": at % 3, "n": at},
            properties=PropertyContainer(desired={"fan": {"speed": at * 1.5}}),
        )
        for at in range(COUNT)
    ]
    result = registry.bulk_create_or_update_devices(devices)
    assert result.is_successful, result.errors
    for at in range(0, COUNT, 5):
        registry.create_module_with_sas(f"{SITE}-{at:02}", "fan", "", "", "")


def pages(registry, text, size):
    """The pages of a query, each with its type."""
    token, found = None, []
    while True:
        page = registry.query_iot_hub(QuerySpecification(query=text), token, size)
        found.append(page)
        token = page.continuation_token
        if token is None:
            return found


def found_ids(pages):
    return sorted(twin.device_id for page in pages for twin in page.items)


def rows(registry, text):
    """The rows as they came: the SDK makes a twin of each and loses what has no place in one."""
    raw = registry.protocol.query.get_twins(QuerySpecification(query=text), None, None, None, True)
    return raw.response.json()


def paging(registry):
    every = [f"{SITE}-{at:02}" for at in range(COUNT)]
    for size in (1, 10, 25, 100):
        answer = pages(registry, f"SELECT * FROM devices WHERE tags.site = '{SITE}'", size)
        # A last page that is empty is allowed: the hub need not know that nothing follows.
        sizes = [len(page.items) for page in answer]
        assert sizes[: math.ceil(COUNT / size)] == [min(size, COUNT - done) for done in range(0, COUNT, size)], sizes
        equal({page.type for page in answer}, {"Twin"})
        equal(found_ids(answer), every)
    answer = pages(registry, f"SELECT * FROM devices WHERE tags.site = '{SITE}'", None)
    equal(found_ids(answer), every)


def twins_are_whole(registry):
    [page] = pages(registry, f"SELECT * FROM devices WHERE deviceId = '{SITE}-07'", 10)
    [row] = page.items
    equal(row.as_dict(), registry.get_twin(f"{SITE}-07").as_dict())
    equal((row.tags["n"], row.properties.desired["fan"]), (7, {"speed": 10.5}))


def conditions(registry):
    for condition, expected in [
        ("tags.n < 3", [0, 1, 2]),
        ("tags.n >= 23", [23, 24]),
        ("tags.floor = 1 AND status = 'disabled'", [1, 16]),
        ("tags.n IN [3, 5, 99]", [3, 5]),
        ("properties.desired.fan.speed = 10.5", [7]),
        ("(tags.n = 1 OR tags.n = 2) AND NOT tags.n = 2", [1]),
        ("tags.n > 22 AND IS_DEFINED(tags.floor)", [23, 24]),
        ("tags.n = 4 AND IS_DEFINED(tags.nothing)", []),
        ("tags.n != 0 AND tags.n <> 1 AND tags.n <= 2", [2]),
    ]:
        answer = pages(registry, f"SELECT * FROM devices WHERE tags.site = '{SITE}' AND {condition}", 100)
        equal((condition, found_ids(answer)), (condition, [f"{SITE}-{at:02}" for at in expected]))


def raw(registry):
    where = f"FROM devices WHERE tags.site = '{SITE}'"
    [page] = pages(registry, f"SELECT deviceId, tags.n AS n {where} AND tags.n = 9", 10)
    equal((page.type, page.items[0].device_id), ("Raw", f"{SITE}-09"))
    equal(rows(registry, f"SELECT deviceId, tags.n AS n {where} AND tags.n = 9"), [{"deviceId": f"{SITE}-09", "n": 9}])
    equal(rows(registry, f"SELECT COUNT() AS count {where}"), [{"count": COUNT}])
    [summary] = rows(
        registry, f"SELECT SUM(tags.n) AS sum, AVG(tags.n) AS avg, MIN(tags.n) AS min, MAX(tags.n) AS max {where}"
    )
    equal(summary, {"sum": 300, "avg": 12, "min": 0, "max": 24})
    groups = rows(registry, f"SELECT tags.floor AS floor, COUNT() AS count {where} GROUP BY tags.floor")
    equal({group["floor"]: group["count"] for group in groups}, {0: 9, 1: 8, 2: 8})
    equal(len(rows(registry, f"SELECT TOP 4 * {where}")), 4)


def modules(registry):
    text = "SELECT * FROM devices.modules WHERE moduleId = 'fan'"
    answer = pages(registry, text, 2)
    equal({page.type for page in answer}, {"Twin"})
    equal(found_ids(answer), [f"{SITE}-{at:02}" for at in range(0, COUNT, 5)])
    row = answer[0].items[0]
    equal(row.as_dict(), registry.get_module_twin(row.device_id, "fan").as_dict())


def refusals(registry):
    def ask(text, token=None):
        return registry.query_iot_hub(QuerySpecification(query=text), token, 5)

    for text in (
        "",
        "SELECT",
        "SELECT * FROM nowhere",
        "SELECT * FROM devices WHERE",
        "SELECT * FROM devices ORDER BY deviceId",
    ):
        refused(400, "ArgumentInvalid", ask, text)
    token = ask("SELECT * FROM devices").continuation_token
    refused(400, "ArgumentInvalid", ask, "SELECT deviceId FROM devices", token)
    refused(400, "ArgumentInvalid", ask, "SELECT * FROM devices", "nonsense")
    equal(len(ask("SELECT * FROM devices", token).items), 5)


def past_a_list(registry):
    """A list of devices ends at a thousand, a query goes on."""
    many = [hub.new_id("many") for _ in range(1100)]
    for at in range(0, len(many), 100):
        items = [ExportImportDevice(id=each, import_mode="create", status="enabled") for each in many[at : at + 100]]
        assert registry.bulk_create_or_update_devices(items).is_successful
    equal(len(registry.get_devices()), 1000)
    answer = pages(registry, "SELECT * FROM devices WHERE NOT IS_DEFINED(tags.site)", 1000)
    equal(found_ids(answer), sorted(many))


SAS = hub.REGISTRIES["sas"]()
fill(SAS)
for auth, make in hub.REGISTRIES.items():
    hub.check(f"query in pages, {auth}", lambda: paging(make()))
    hub.check(f"projections and aggregates, {auth}", lambda: raw(make()))
for story in (twins_are_whole, conditions, modules, refusals, past_a_list):
    hub.check(f"query: {story.__name__}", lambda: story(SAS))
hub.finish()
