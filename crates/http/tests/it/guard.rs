//! What the engine tells of itself and of a request's way, and whom it turns away.

use crate::engine::{Engine, echo, value};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn a_trace_goes_on_or_begins_and_its_state_with_it() {
    let engine = Engine::new(&[echo("a")]);
    let told = |lines: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, tracestate\r\n{lines}\r\n");
        let answer = engine.raw(head.as_bytes());
        answer.split_once("\r\n\r\na\n").unwrap().1.to_owned()
    };
    let continued = told(&format!("Traceparent: 00-{TRACE}-{SPAN}-00\r\nTracestate: a=b\r\nTracestate: c=d\r\n"));
    let parent = value(&continued, "traceparent").unwrap();
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{parent}");
    assert!(!parent.contains(SPAN), "the span is ours: {parent}");
    assert_eq!(continued.matches("race").count(), 3, "each line once: {continued}");

    let begun = told("Traceparent: 00-nonsense\r\nTracestate: a=b\r\n");
    let parent = value(&begun, "traceparent").unwrap();
    assert_eq!(parent.split('-').nth(1), value(&begun, "x-request-id"), "{begun}");
    assert!(value(&begun, "tracestate").is_none() && !begun.contains("nonsense"), "{begun}");
}
