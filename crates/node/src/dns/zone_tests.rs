use std::cell::Cell;

use mainstay_site::declaration::{Anywhere, parse};
use mainstay_site::model::{Record as Declared, Www};
use mainstay_site::names::{Domain, Generation};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn declared(name: &str, kind: &str, value: &str) -> Declared {
    Declared { name: name.into(), kind: kind.into(), value: value.into(), ttl: 60 }
}

fn config(www: Www, records: Vec<Declared>) -> plan::Dns {
    let address = "10.80.0.10".parse().unwrap();
    plan::Dns {
        zone: Domain::from("foobar.com"),
        www,
        serial: 7,
        addresses: vec![address, "fd00::10".parse().unwrap()],
        name_servers: vec![("ns1.foobar.com".into(), address)],
        hosts: vec![("lb1.foobar.com".into(), address)],
        records,
        ttl: 3600,
        watched: Vec::new(),
    }
}

fn zone(records: Vec<Declared>) -> Zone {
    Zone::new(&config(Www::Cname, records)).unwrap()
}

fn ask(zone: &Zone, name: &str, kind: RecordType) -> String {
    let answer = zone.answer(&records::absolute(name).unwrap(), kind);
    let section =
        |records: &[Record]| records.iter().map(|r| format!("{} {}", r.name, r.data)).collect::<Vec<_>>().join(", ");
    let authority = if answer.authoritative { "aa" } else { "--" };
    format!("{} {authority} [{}] [{}]", answer.code, section(&answer.answers), section(&answer.authorities))
}

const SOA: &str = "foobar.com. ns1.foobar.com. hostmaster.foobar.com. 7 86400 7200 3600000 300";

#[test]
fn names_types_and_aliases() {
    let zone = zone(vec![declared("away", "CNAME", "example.net."), declared("loop", "CNAME", "loop")]);
    let rows = [
        ("foobar.com", RecordType::A, "No Error aa [foobar.com. 10.80.0.10] []".to_owned()),
        ("foobar.com", RecordType::AAAA, "No Error aa [foobar.com. fd00::10] []".to_owned()),
        (
            "www.foobar.com",
            RecordType::A,
            "No Error aa [www.foobar.com. foobar.com., foobar.com. 10.80.0.10] []".to_owned(),
        ),
        ("www.foobar.com", RecordType::CNAME, "No Error aa [www.foobar.com. foobar.com.] []".to_owned()),
        ("www.foobar.com", RecordType::MX, format!("No Error aa [www.foobar.com. foobar.com.] [{SOA}]")),
        ("away.foobar.com", RecordType::A, "No Error aa [away.foobar.com. example.net.] []".to_owned()),
        ("loop.foobar.com", RecordType::A, "No Error aa [loop.foobar.com. loop.foobar.com.] []".to_owned()),
        ("foobar.com", RecordType::MX, format!("No Error aa [] [{SOA}]")),
        ("nope.foobar.com", RecordType::A, format!("Non-Existent Domain aa [] [{SOA}]")),
        ("example.org", RecordType::A, "Query Refused -- [] []".to_owned()),
        ("foobar.com", RecordType::AXFR, "Query Refused -- [] []".to_owned()),
    ];
    for (name, kind, expected) in rows {
        assert_eq!(ask(&zone, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn wildcards_stop_at_names_that_exist() {
    let zone = zone(vec![declared("*", "A", "10.0.0.9"), declared("a.deep", "A", "10.0.0.1")]);
    let rows = [
        ("any.foobar.com", RecordType::A, "No Error aa [any.foobar.com. 10.0.0.9] []".to_owned()),
        ("x.y.foobar.com", RecordType::A, "No Error aa [x.y.foobar.com. 10.0.0.9] []".to_owned()),
        ("any.foobar.com", RecordType::AAAA, format!("No Error aa [] [{SOA}]")),
        ("lb1.foobar.com", RecordType::AAAA, format!("No Error aa [] [{SOA}]")),
        ("x.lb1.foobar.com", RecordType::A, format!("Non-Existent Domain aa [] [{SOA}]")),
        ("deep.foobar.com", RecordType::A, format!("No Error aa [] [{SOA}]")),
        ("b.deep.foobar.com", RecordType::A, format!("Non-Existent Domain aa [] [{SOA}]")),
    ];
    for (name, kind, expected) in rows {
        assert_eq!(ask(&zone, name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn a_delegated_name_is_referred_with_glue_and_without_authority() {
    let zone = zone(vec![declared("lab", "NS", "ns.lab"), declared("ns.lab", "A", "10.0.0.53")]);
    let expected = "No Error -- [] [lab.foobar.com. ns.lab.foobar.com.]";
    assert_eq!(ask(&zone, "x.lab.foobar.com", RecordType::A), expected);
    assert_eq!(ask(&zone, "lab.foobar.com", RecordType::A), expected);
    let answer = zone.answer(&records::absolute("lab.foobar.com").unwrap(), RecordType::A);
    assert_eq!(answer.additionals.len(), 1, "the name server's address goes along");
}

#[test]
fn www_may_have_addresses_of_its_own() {
    let zone = Zone::new(&config(Www::Address, Vec::new())).unwrap();
    assert_eq!(ask(&zone, "www.foobar.com", RecordType::AAAA), "No Error aa [www.foobar.com. fd00::10] []");
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let rows = [
        (declared("www", "A", "10.0.0.1"), "\"www.foobar.com.\" has a CNAME"),
        (declared("@", "A", "fd00::1"), "A \"fd00::1\" of \"@\" cannot be read"),
        (declared("@", "MX", "mail"), "cannot be read"),
        (declared("@", "SOA", "a. b. 1 2 3 4 5"), "SOA is not one of A"),
        (declared("@", "TXT", "x\n$INCLUDE /etc/passwd"), "a record is one line"),
        (declared("$INCLUDE", "TXT", "x"), "a record is one line"),
        (declared("x.example.net.", "A", "10.0.0.1"), "outside of the zone"),
    ];
    for (record, expected) in rows {
        let error = Zone::new(&config(Www::Cname, vec![record])).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_kind_is_read() {
    let rows = [
        ("A", "10.0.0.1", "10.0.0.1"),
        ("AAAA", "fd00::1", "fd00::1"),
        ("MX", "10 mail.example.com.", "10 mail.example.com."),
        ("MX", "10 lb1", "10 lb1.foobar.com."),
        ("MX", "10 @", "10 foobar.com."),
        ("TXT", "\"v=spf1 -all\"", "v=spf1 -all"),
        ("SRV", "1 2 443 lb1", "1 2 443 lb1.foobar.com."),
        ("CAA", "0 issue \"letsencrypt.org\"", "0 issue \"letsencrypt.org\""),
    ];
    for (kind, value, expected) in rows {
        let zone = zone(vec![declared("x", kind, value)]);
        let answer = zone.answer(&records::absolute("x.foobar.com").unwrap(), kind.parse().unwrap());
        assert_eq!(answer.answers[0].data.to_string(), expected);
    }
}

/// A declaration with two records, of which nobody knows whether they are right.
fn declaration() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => "[b-z]{3}", 2 => Just("@".into()), 1 => "[a-c*@_.$;A-]{1,5}", 1 => "a{60,64}(\\.a{60,63}){2,3}"];
    let data = prop_oneof![
        "(10 )?(20 )?(30 )?(mail|www|@|\\.|a\\.b\\.|_x|-|a{60}(\\.a{60}){2,3})",
        "[0-9]{1,3}\\.[0-9]\\.[0-9]\\.[0-9]",
        "(0|128|255) (issue|iodef|x) \\\\\"[a-z;.=:/ ]{0,9}\\\\\"",
        "\\\\\"[ -!#-\\[\\]-~]{0,9}\\\\\"( \\\\\"a{0,300}\\\\\")?",
        "[ -!#-\\[\\]-~]{1,6}",
        "[0-9a-f:]{2,9}",
    ];
    let kind = proptest::sample::select(&["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"][..]);
    proptest::collection::vec((name, kind, data), 2).prop_map(|records| {
        let record = |(name, kind, data): &(String, &str, String)| {
            format!("{{ name = \"{name}\", type = \"{kind}\", value = \"{data}\" }}")
        };
        let records: Vec<String> = records.iter().map(record).collect();
        format!(
            "format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = \"x\"\nkind = \"php\"\n[dns]\nrecords = [{}]\n\
             [servers.a]\naddress = \"10.0.0.1\"\nroles = [\"dns\", \"web\", \"app\"]\n",
            records.join(", ")
        )
    })
}

/// `check` says so, or the name server answers with it.
#[test]
fn what_a_declaration_may_hold_can_be_served() {
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let valid = Cell::new(0);
    let tried = runner.run(&declaration(), |text| {
        let Ok(site) = parse(&text, &Anywhere) else { return Ok(()) };
        valid.set(valid.get() + 1);
        let plans = plan::derive(&site, &[], Generation(1));
        let Some(plan::Config::Dns(config)) = plans[0].service(&"dns".into()).map(|service| &service.config) else {
            panic!("no name server");
        };
        Zone::new(config).map_err(|error| TestCaseError::fail(error.to_string()))?;
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    // Some fifty are, give or take ten: far fewer, and nothing would be tested.
    assert!(valid.get() > 15, "only {} of 4000 were valid", valid.get());
}
