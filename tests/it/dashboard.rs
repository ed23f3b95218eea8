//! `contrib/grafana` and `contrib/prometheus` with a real Prometheus: every query of the dashboard
//! returns data. The metrics are those of two runs, served by the node exporter with the options of
//! `contrib/kubernetes`.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::{
    fixture::{DAY, Desk, NOW},
    server::{corpus, on},
    support::run::Child,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The time covered by samples before and after the second run, in seconds.
const HOURS: i64 = 3 * 3600;

/// A program of Prometheus that serves HTTP. It is killed on drop.
struct Service {
    _process: Child,
    address: String,
}

impl Service {
    /// Starts a program, and waits until it is ready.
    fn start(desk: &Desk, arguments: &[&str], ready: &str) -> Self {
        let arguments = [arguments, &["--web.listen-address=127.0.0.1:0"]].concat();
        let launcher = format!("{ROOT}/tests/servers/prometheus");
        let mut process = desk.home.system_command(&launcher, &arguments).spawn();
        process.wait_for(ready);
        let log = process.stderr();
        let line = log.lines().find(|line| line.contains("\"Listening on\""));
        let address = line.unwrap().rsplit("address=").next().unwrap();
        Self {
            address: address.trim().to_owned(),
            _process: process,
        }
    }

    /// Returns the body of a response.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{path}: {response}");
        body.to_owned()
    }

    /// Returns the series that a query returns.
    fn query(&self, query: &str, arguments: &str) -> Vec<Value> {
        let encoded = query.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02x}");
            text
        });
        let body = self.get(&format!("/api/v1/{arguments}&query={encoded}"));
        let document: Value = serde_json::from_str(&body).unwrap();
        document["data"]["result"].as_array().unwrap().clone()
    }
}

/// Returns the samples that the node exporter serves.
fn exported(desk: &Desk) -> String {
    let manifest = fs::read_to_string(format!("{ROOT}/contrib/kubernetes/pouch.yaml")).unwrap();
    let options = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"))
        .filter(|option| option.starts_with("collector.") || option.starts_with("web.disable"))
        .map(|option| format!("--{}", option.replace("/metrics", ".")));
    let options: Vec<_> = options.collect();
    let mut arguments = vec!["prometheus-node-exporter"];
    arguments.extend(options.iter().map(String::as_str));
    assert_eq!(arguments.len(), 5);
    let exporter = Service::start(desk, &arguments, "TLS is disabled");
    let body = exporter.get("/metrics");
    assert!(body.contains("\nnode_textfile_scrape_error 0\n"), "{body}");
    let samples = body.lines().filter(|line| line.starts_with("pouch_"));
    samples.collect::<Vec<_>>().join("\n")
}

/// Returns samples with the labels that Prometheus adds, and a time.
fn at(samples: &str, time: i64) -> String {
    let labels = "instance=\"pouch-3:9100\",job=\"pouch\"";
    let lines = samples.lines().map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let series = match series.split_once('{') {
            Some((name, rest)) => format!("{name}{{{labels},{rest}"),
            None => format!("{series}{{{labels}}}"),
        };
        format!("{series} {value} {time}\n")
    });
    lines.collect::<Vec<_>>().concat()
}

/// Returns a Prometheus that has scraped the metrics of pouch each minute for six hours, with a
/// second run in the middle.
fn prometheus(desk: &Desk) -> Service {
    let metrics = ["fetch", "--metrics", "pouch.prom"];
    desk.at(0, &metrics).run().assert_code(65);
    let first = exported(desk);
    desk.server.add("uid-3", corpus::message(3));
    // the quarantined message is tried again
    desk.at(1, &metrics).run().assert_code(75);
    let second = exported(desk);
    let change = NOW + DAY;
    let mut text: String = (change - HOURS..change + HOURS)
        .step_by(60)
        .map(|time| at(if time < change { &first } else { &second }, time))
        .collect();
    text.push_str("# EOF\n");
    desk.home.write("samples", text, 0o600);
    desk.home.write("prometheus.yml", "global: {}\n", 0o600);
    let launcher = format!("{ROOT}/tests/servers/prometheus");
    let import = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "samples",
        "data",
    ];
    desk.home
        .system_command(&launcher, &import)
        .run()
        .assert_code(0);
    let arguments = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=10y",
    ];
    Service::start(desk, &arguments, "Server is ready")
}

fn dashboard() -> Value {
    let text = fs::read(format!("{ROOT}/contrib/grafana/pouch.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Returns a desk with two messages, of which one is quarantined in the first run.
fn desk() -> Desk {
    Desk::with(2, "attempts = 1", |server| {
        server.fault(on("RETR").uid("uid-2").refuse("-ERR no"))
    })
}

/// Returns whether a series contains a number.
fn has_number(series: &Value) -> bool {
    let mut values = match &series["values"] {
        Value::Array(values) => values.iter(),
        _ => std::slice::from_ref(&series["value"]).iter(),
    };
    values.any(|value| value[1].as_str().is_some_and(|number| number != "NaN"))
}

#[test]
fn each_query_of_the_dashboard_returns_data() {
    let desk = desk();
    let prometheus = prometheus(&desk);
    let end = NOW + DAY + 1800;
    let dashboard = dashboard();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr.replace("$instance", ".*").replace("$account", ".*");
            assert!(!expr.replace("$__interval", "").contains('$'), "{expr}");
            // Grafana's steps for a day and for an hour: at least the interval of the panel, or by
            // default that of the data source, 15 s
            for (range, step) in [(DAY, 120), (3600, 15)] {
                let least = match panel["interval"].as_str() {
                    Some(text) => 60 * text.strip_suffix('m').unwrap().parse::<i64>().unwrap(),
                    None => 15,
                };
                let step = step.max(least);
                let expr = expr.replace("$__interval", &format!("{step}s"));
                let arguments = if target["instant"] == true {
                    format!("query?time={end}")
                } else {
                    format!("query_range?start={}&end={end}&step={step}", end - range)
                };
                let result = prometheus.query(&expr, &arguments);
                // 0 / 0 if there was no run in an hour
                assert!(result.iter().any(has_number), "{}: {expr}", panel["title"]);
            }
            queries += 1;
        }
    }
    assert_eq!(queries, 18);
}

#[test]
fn variables_of_the_dashboard_have_values() {
    let desk = desk();
    let prometheus = prometheus(&desk);
    let time = NOW + DAY + 600;
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let values: Vec<_> = variables
        .iter()
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let query = variable["query"]["query"].as_str().unwrap();
            let query = query.strip_prefix("label_values(").unwrap();
            let (series, label) = query.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
            let series = series.replace("$instance", ".*");
            let result = prometheus.query(&series, &format!("query?time={time}"));
            result[0]["metric"][label].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(values, ["pouch-3:9100", "work"]);
}
