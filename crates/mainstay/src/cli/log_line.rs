//! A line of a log stream as a person reads it: time, level, message, fields. What is no record of ours stays as it is.

use mainstay_node::clock::Utc;
use serde_json::{Map, Value};

/// What every record has, and what is said in its own place.
const SAID: [&str; 6] = ["timestamp", "time", "level", "message", "target", "service"];

/// `{"time":…,"record":{…}}` or `{"time":…,"line":"…"}` → `04:07:51.689 WARN worker 1 ended code=1`.
pub fn readable(line: &str) -> String {
    let Ok(Value::Object(outer)) = serde_json::from_str(line) else { return visible(line) };
    if outer.contains_key("access") {
        return access_in_words(&outer);
    }
    let time = outer.get("time").or_else(|| outer.get("timestamp")).and_then(Value::as_str).map(clock);
    let said = match (outer.get("line"), outer.get("record")) {
        (Some(Value::String(text)), _) => visible(text),
        (_, Some(Value::Object(record))) => record_in_words(record),
        _ => record_in_words(&outer),
    };
    time.map_or(said.clone(), |time| format!("{time} {said}"))
}

/// Every line of a log.
pub fn readable_all(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", readable(line))).collect()
}

/// `04:07:51.689 GET www.foobar.com/ 200 from server1, 1532 bytes in 4.2 ms, for 203.0.113.254`.
fn access_in_words(record: &Map<String, Value>) -> String {
    let text = |key: &str| visible(record.get(key).and_then(Value::as_str).unwrap_or_default());
    let number = |key: &str| record.get(key).and_then(Value::as_u64).unwrap_or_default();
    let time = Utc(number("time_ms")).to_string();
    let from = match text("backend") {
        own if own.is_empty() => String::new(),
        backend => format!(" from {backend}"),
    };
    let again = if number("tries") > 1 { format!(" at try {}", number("tries")) } else { String::new() };
    let (method, host, target, client) = (text("method"), text("host"), text("target"), text("client"));
    let (status, bytes, took) = (number("status"), number("bytes"), number("took_us") as f64 / 1000.0);
    let time = clock(&time);
    format!("{time} {method} {host}{target} {status}{from}{again}, {bytes} bytes in {took:.1} ms, for {client}")
}

fn record_in_words(record: &Map<String, Value>) -> String {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let level = text("level").filter(|level| *level != "INFO").map(|level| format!("{level} ")).unwrap_or_default();
    let fields = record.iter().filter(|(key, _)| !SAID.contains(&key.as_str()));
    let fields: String = fields.map(|(key, value)| format!(" {key}={}", field(value))).collect();
    format!("{level}{}{fields}", visible(text("message").unwrap_or_default()))
}

fn field(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains(' ') => visible(text),
        other => visible(&other.to_string()),
    }
}

/// The time of the day of an RFC 3339 time, in UTC as it is written, to the millisecond.
fn clock(time: &str) -> &str {
    let clock = time.split_once('T').map_or(time, |(_, clock)| clock).trim_end_matches('Z');
    clock.get(..12).unwrap_or(clock)
}

/// Foreign programs may print escape sequences, which would act on the terminal.
fn visible(text: &str) -> String {
    text.chars().map(|one| if one.is_control() && one != '\t' { '␛' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn records_and_foreign_lines_are_told_in_words() {
        for (line, told) in [
            (
                r#"{"access":true,"time_ms":61001,"client":"::1","id":"0","method":"GET","host":"a.b","target":"/x","backend":"web1","status":200,"bytes":12,"took_us":4200,"tries":2}"#,
                "00:01:01.001 GET a.b/x 200 from web1 at try 2, 12 bytes in 4.2 ms, for ::1",
            ),
            (
                r#"{"time":"2026-11-21T04:07:51.689Z","service":"app-site","line":"Traceback:"}"#,
                "04:07:51.689 Traceback:",
            ),
            (
                r#"{"time":"2026-11-21T04:07:51.689Z","service":"app-site","record":{"timestamp":"2026-11-21T04:07:51.689615Z","level":"WARN","message":"worker ended","code":1,"because":"no module","target":"t"}}"#,
                r#"04:07:51.689 WARN worker ended code=1 because="no module""#,
            ),
            (
                r#"{"timestamp":"2026-11-21T04:07:50.217416Z","level":"INFO","message":"sql started","pid":4}"#,
                "04:07:50.217 sql started pid=4",
            ),
            ("plain \u{1b}[31mred", "plain ␛[31mred"),
            ("[1]", "[1]"),
        ] {
            // The fields' order is the map's: alphabetical or as written.
            let sorted = |text: &str| {
                let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
                words.sort();
                words
            };
            assert_eq!(sorted(&readable(line)), sorted(told));
        }
    }
}
