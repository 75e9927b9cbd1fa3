//! D0: everything on one server.

use crate::lab::{Lab, design, said};

#[test]
fn a_message_is_written_and_kept_across_down_and_up() {
    let lab = Lab::design("0-simple", "simple.test");
    assert_eq!(lab.get("/").status, 200);
    let posted = lab.post("/messages", &[("name", "Ada"), ("text", "first & foremost")]);
    assert!(matches!(posted.status, 302 | 303), "{posted:?}");
    assert_eq!(posted.header("location"), Some("/"), "a redirect keeps the published port");
    assert!(lab.get("/messages.json").body.contains("first & foremost"));

    let down = lab.down();
    assert!(down.status.success(), "{}", said(&down));
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    assert!(lab.get("/messages.json").body.contains("first & foremost"));
}

#[test]
fn what_is_left_of_a_killed_up_is_cleaned_up() {
    let lab = Lab::design("0-simple", "leftover.test");
    lab.post("/messages", &[("name", "Ada"), ("text", "kept")]);
    let record = std::fs::read_to_string("/run/mainstay/leftover.test/lab.json").unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    crate::lab::kill(record["up"]["pid"].as_u64().unwrap() as u32);

    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    assert!(lab.get("/messages.json").body.contains("kept"));
}

#[test]
fn the_name_server_answers_dig() {
    let lab = Lab::design("0-simple", "named.test");
    let cname = lab.dig(&["+noall", "+answer", "www.named.test", "A"]);
    assert!(cname.contains("CNAME\tnamed.test.") && cname.contains("A\t10.80.0.11"), "{cname}");
    assert_eq!(lab.dig(&["+short", "+tcp", "named.test", "A"]).trim(), "10.80.0.11");
    let missing = lab.dig(&["nothing.named.test", "A"]);
    assert!(missing.contains("status: NXDOMAIN") && missing.contains("SOA"), "{missing}");
    assert!(lab.dig(&["example.org", "A"]).contains("status: REFUSED"));

    lab.down();
    lab.declare(&design("0-simple").replace("domain = \"foobar.com\"", "domain = \"foobar.com\"\nwww = \"address\""));
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    let address = lab.dig(&["+noall", "+answer", "www.named.test", "A"]);
    assert!(!address.contains("CNAME") && address.contains("A\t10.80.0.11"), "{address}");
}
