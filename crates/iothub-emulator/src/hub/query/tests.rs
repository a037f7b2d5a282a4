use serde_json::{Value, json};

use super::*;

fn twin() -> Value {
    json!({
        "deviceId": "lamp-1", "status": "enabled", "version": 3, "connectionState": "Connected",
        "capabilities": { "iotEdge": true },
        "parentScopes": ["ms-azure-iot-edge://x-1"],
        "configurations": { "my-config": { "status": "applied" } },
        "tags": { "site": "a", "floor": 2, "my tag": 1, "none": null, "list": [1, "b"], "deep": { "site": "b" } },
        "properties": {
            "desired": { "k": 1, "$version": 4 },
            "reported": { "x": 4, "on": true, "at": "2026-01-01T00:00:00Z", "lastDesiredStatus": { "code": 200 } },
        },
    })
}

#[track_caller]
fn matches(condition: &str, expected: bool) {
    let query = Query::parse(&format!("SELECT * FROM devices WHERE {condition}"));
    let query = query.unwrap_or_else(|mistake| panic!("{condition}: {mistake}"));
    assert_eq!(query.matches(&twin()), expected, "{condition}");
    let text = twin().to_string();
    assert_eq!(
        query.matches(&raw_json::JsonText(&text)),
        expected,
        "{condition}, from text"
    );
}

#[test]
fn conditions_of_the_documentation_and_of_the_tools_are_understood() {
    matches("capabilities.iotEdge = true", true);
    matches("array_contains(parentScopes, 'ms-azure-iot-edge://x-1')", true);
    matches("properties.reported.x = 4", true);
    matches(
        "moduleId='$edgeHub' AND properties.reported.lastDesiredStatus.code=200",
        false,
    );
    matches("configurations.[[my-config]].status = 'applied'", true);
    matches("configurations[[my-config]].status = 'applied'", true);
    matches("deviceId IN ['lamp-1', 'lamp-2'] ", true);
    matches("DeviceId IN ['lamp-2']", false);
    matches("deviceId NIN ['lamp-2']", true);
    matches("devices.deviceId = 'lamp-1'", true);
    matches("properties.reported.at > '2025-12-31'", true);
    matches("properties.desired.$version = 4", true);
    matches("tags.[[my tag]] = 0x1", true);
    matches(r#"tags.site = "\u0061""#, true);
}

#[test]
fn operators_bind_as_everywhere() {
    matches("1 + 2 * 3 = 7 AND 7 % 4 - 1 = 2", true);
    matches("(1 + 2) * 3 = 9", true);
    matches("-tags.floor = -2", true);
    matches("tags.floor / 0 = 1", false);
    matches("true OR false AND false", true);
    matches("NOT true OR true", true);
    matches("tags.floor <> 2", false);
    matches("tags.floor != 3 and tags.floor >= 2 and tags.floor <= 2", true);
    matches("not (tags.site = 'b')", true);
}

#[test]
fn what_is_undefined_is_neither_true_nor_false() {
    matches("tags.nothing = 1", false);
    matches("NOT (tags.nothing = 1)", false);
    matches("tags.nothing != 1", false);
    matches("tags.nothing = 1 OR true", true);
    matches("tags.nothing = undefined", false);
    matches("tags.site = 1", false);
    matches("NOT (tags.site = 1)", false);
    matches("tags.list = 1", false);
    matches("tags.nothing IN [1]", false);
    matches("tags.nothing NIN [1]", false);
    matches("tags.floor", false);
    matches("properties.reported.on", true);
    matches("tags.none = null", true);
    matches("tags.none != null", false);
}

#[test]
fn functions_look_at_values_as_documented() {
    matches("is_defined(tags.none) AND NOT IS_DEFINED(tags.nothing)", true);
    matches(
        "IS_NULL(tags.none) AND NOT IS_NULL(tags.nothing) AND NOT IS_NULL(tags.site)",
        true,
    );
    matches(
        "IS_ARRAY(tags.list) AND IS_OBJECT(tags.deep) AND IS_STRING(tags.site) AND IS_NUMBER(tags.floor)",
        true,
    );
    matches(
        "IS_BOOL(properties.reported.on) AND IS_PRIMITIVE(tags.site) AND NOT IS_PRIMITIVE(tags.list)",
        true,
    );
    matches(
        "STARTSWITH(deviceId, 'lamp') AND starts_with(deviceId, 'la') AND ENDS_WITH(deviceId, '-1')",
        true,
    );
    matches("CONTAINS(deviceId, 'mp') AND NOT CONTAINS(deviceId, 'xx')", true);
    matches("LENGTH(deviceId) = 6 AND LENGTH(tags.list) = 2", true);
    matches(
        "UPPER(tags.site) = 'A' AND LOWER('AB') = 'ab' AND CONCAT('a', 'b', 'c') = 'abc'",
        true,
    );
    matches(
        "SUBSTRING(deviceId, 0, 4) = 'lamp' AND SUBSTRING(deviceId, 5) = '1' AND INDEX_OF(deviceId, 'm') = 2",
        true,
    );
    matches(
        "ABS(-2) = 2 AND POWER(2, 3) = 8 AND SQUARE(3) = 9 AND SQRT(9) = 3 AND SIGN(-4) = -1",
        true,
    );
    matches(
        "CEILING(1.2) = 2 AND FLOOR(1.8) = 1 AND EXP(0) = 1 AND AS_NUMBER('12.5') = 12.5",
        true,
    );
    matches(
        "ARRAY_CONTAINS(tags.list, 'b') AND NOT ARRAY_CONTAINS(tags.list, 2)",
        true,
    );
    matches("ABS('x') = 1 OR SQRT(-1) = 1 OR AS_NUMBER('x') = 1", false);
}

#[test]
fn rows_have_the_members_that_were_asked_for() {
    let row = |text: &str| serde_json::from_str::<Value>(&Query::parse(text).unwrap().row(&twin())).unwrap();
    assert_eq!(
        row("SELECT deviceId, deviceScope FROM devices"),
        json!({ "deviceId": "lamp-1" })
    );
    assert_eq!(
        row("select DEVICEID, tags.site as s, tags from devices")["s"],
        json!("a")
    );
    assert_eq!(
        row("select tags.deep, tags.list from devices"),
        json!({ "deep": { "site": "b" }, "list": [1, "b"] })
    );
    assert_eq!(row("SELECT tags.[[my tag]] FROM devices"), json!({ "my tag": 1 }));
    assert_eq!(row("SELECT TOP 3 tags.none FROM devices"), json!({ "none": null }));
}

#[test]
fn sources_and_shapes_are_told() {
    let told = |text: &str| {
        let query = Query::parse(text).unwrap();
        (query.source(), query.shape(), query.top())
    };
    assert_eq!(told("select * from devices"), (Source::Devices, Shape::Documents, None));
    assert_eq!(
        told("SELECT TOP 5 * FROM Devices.Modules"),
        (Source::Modules, Shape::Documents, Some(5))
    );
    assert_eq!(
        told("select * from devices.jobs "),
        (Source::Jobs, Shape::Documents, None)
    );
    let modules = "SELECT deviceId FROM devices.modules WHERE devices.modules.moduleId='$edgeHub'";
    assert_eq!(told(modules), (Source::Modules, Shape::Projection, None));
    let count =
        "select properties.desired.k AS k, COUNT() AS numberOfDevices from devices group by properties.desired.k";
    assert_eq!(told(count), (Source::Devices, Shape::Aggregate, None));
    let job =
        Query::parse("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j' AND createdTimeUtc > '2026'").unwrap();
    assert!(job.matches(&json!({ "jobId": "j", "createdDateTimeUtc": "2026-01-01T00:00:00Z" })));
}

#[test]
fn groups_count_and_calculate() {
    let rows = |text: &str, documents: &[Value]| -> Vec<Value> {
        let query = Query::parse(text).unwrap();
        let mut groups = query.groups();
        documents
            .iter()
            .filter(|document| query.matches(*document))
            .for_each(|document| groups.add(document));
        groups.rows().map(|row| serde_json::from_str(&row).unwrap()).collect()
    };
    let devices = [
        json!({ "deviceId": "a", "tags": { "site": "x", "n": 1 } }),
        json!({ "deviceId": "b", "tags": { "site": "y", "n": 2.5 } }),
        json!({ "deviceId": "c", "tags": { "site": "x", "n": "none" } }),
        json!({ "deviceId": "d", "tags": {} }),
    ];
    assert_eq!(rows("SELECT COUNT() AS n FROM devices", &[]), [json!({ "n": 0 })]);
    assert_eq!(rows("SELECT COUNT() FROM devices", &devices), [json!({ "$1": 4 })]);
    assert_eq!(
        rows(
            "SELECT COUNT() AS n, tags.site FROM devices GROUP BY tags.site",
            &devices
        ),
        [
            json!({ "n": 1 }),
            json!({ "n": 2, "site": "x" }),
            json!({ "n": 1, "site": "y" })
        ]
    );
    assert_eq!(
        rows(
            "SELECT SUM(tags.n) AS s, AVG(tags.n) AS a, MIN(tags.n) AS l, MAX(tags.n) AS h FROM devices",
            &devices
        ),
        [json!({ "s": 3.5, "a": 1.75, "l": 1, "h": 2.5 })]
    );
    assert_eq!(
        rows("SELECT AVG(tags.n) AS a FROM devices WHERE tags.n > 9", &devices),
        [json!({})]
    );
    assert_eq!(
        rows(
            "SELECT tags.site FROM devices WHERE tags.n > 0 GROUP BY tags.site, tags.n",
            &devices
        )
        .len(),
        2
    );
}

#[track_caller]
fn refused(text: &str, position: usize, message: &str) {
    let mistake = Query::parse(text).unwrap_err();
    assert_eq!((mistake.position, &*mistake.message), (position, message), "{text}");
}

#[test]
fn mistakes_say_where_and_what_was_expected() {
    refused("", 1, "expected SELECT, found the end of the text");
    refused("DELETE FROM devices", 1, "expected SELECT, found `DELETE`");
    refused(
        "SELECT FROM devices",
        8,
        "expected `*`, a path or an aggregate, found `FROM`",
    );
    refused(
        "SELECT deviceId devices",
        17,
        "expected AS, `,` or FROM, found `devices`",
    );
    refused(
        "SELECT * FROM twins",
        15,
        "expected `devices`, `devices.modules` or `devices.jobs`, found `twins`",
    );
    refused("SELECT * FROM devices.x", 23, "expected `modules` or `jobs`, found `x`");
    refused(
        "SELECT * FROM devices ORDER BY deviceId",
        23,
        "expected WHERE, GROUP BY or the end of the text, found `ORDER`",
    );
    refused(
        "SELECT * FROM devices WHERE",
        28,
        "expected a value, a path, a function or `(`, found the end of the text",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a = ",
        38,
        "expected a value, a path, a function or `(`, found the end of the text",
    );
    refused(
        "SELECT * FROM devices WHERE (tags.a = 1",
        40,
        "expected `)` or an operator, found the end of the text",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a LIKE 'x'",
        36,
        "expected an operator, GROUP BY or the end of the text, found `LIKE`",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a = 'x",
        38,
        "this text is not closed: a `'` is missing",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a = 'x\\q'",
        40,
        "`\\q` is no escape: there are \\' \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX",
    );
    refused(
        "SELECT * FROM devices WHERE tags.[[a = 1",
        34,
        "this name is not closed: `]]` is missing",
    );
    refused(
        "SELECT * FROM devices WHERE tags. = 1",
        35,
        "expected the name of a member or `[[name]]`, found `=`",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a IN ('x')",
        39,
        "expected `[`, found `(`",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a IN [tags.b]",
        40,
        "expected a number, a text, true, false, null or undefined, found `tags`",
    );
    refused(
        "SELECT * FROM devices WHERE SIZE(tags.a) = 1",
        29,
        "there is no function `SIZE`",
    );
    refused(
        "SELECT * FROM devices WHERE POWER(2) = 1",
        29,
        "POWER takes 2 arguments, not 1",
    );
    refused(
        "SELECT * FROM devices WHERE IS_DEFINED() = 1",
        29,
        "IS_DEFINED takes 1 argument, not 0",
    );
    refused("SELECT * FROM devices WHERE tags.a ~ 1", 36, "`~` means nothing here");
    refused("SELECT * FROM devices WHERE 12x = 1", 29, "`12x` is not a number");
    refused(
        "SELECT TOP x * FROM devices",
        12,
        "expected how many rows, a whole number from 1, found `x`",
    );
    refused(
        "SELECT TOP 0 * FROM devices",
        12,
        "expected how many rows, a whole number from 1, found `0`",
    );
    refused(
        "SELECT tags.a, COUNT() FROM devices",
        8,
        "`tags.a` stands beside an aggregate, so it has to be in GROUP BY",
    );
    refused(
        "SELECT * FROM devices GROUP BY tags.a",
        23,
        "GROUP BY does not go with `SELECT *`",
    );
    refused("SELECT COUNT(tags.a) FROM devices", 14, "expected `)`, found `tags`");
    refused(
        "SELECT tags.a.x, tags.b.x FROM devices",
        18,
        "two columns are named `x`: give one of them another name with AS",
    );
    refused(
        "SELECT jobId FROM devices.jobs",
        8,
        "from devices.jobs there is `SELECT *` only",
    );
    refused(
        "SELECT * FROM devices WHERE ä = 'ö' %",
        38,
        "expected a value, a path, a function or `(`, found the end of the text",
    );
}

#[test]
fn long_and_deep_texts_are_refused_before_they_do_harm() {
    let nested = |open: &str, n: usize| format!("SELECT * FROM devices WHERE {}1", open.repeat(n));
    for open in ["(", "NOT ", "-", "ABS("] {
        let mistake = Query::parse(&nested(open, 1000)).unwrap_err();
        assert_eq!(&*mistake.message, "this is nested deeper than 64 levels", "{open}");
    }
    let sum = format!("SELECT * FROM devices WHERE 1{} = 3001", "+1".repeat(3000));
    assert!(Query::parse(&sum).unwrap().matches(&json!({})));
    let long = format!("SELECT * FROM devices WHERE tags.a = '{}'", "ä".repeat(8192));
    let mistake = Query::parse(&long).unwrap_err();
    assert_eq!(
        (mistake.position, &*mistake.message),
        (8193, "a query has 8192 characters at most")
    );
}
