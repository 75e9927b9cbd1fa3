//! Declarations that nobody would write: sites of any shape, and the designs with their lines, keys and values mixed up.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// The designs of growth.
pub const DESIGNS: [&str; 4] = [
    include_str!("../../../../designs/0-simple.toml"),
    include_str!("../../../../designs/1-distributed.toml"),
    include_str!("../../../../designs/2-secured.toml"),
    include_str!("../../../../designs/3-scale-up.toml"),
];

/// Values that are right at one place or another, and values that are wrong in a way of their own.
const VALUES: [&str; 40] = [
    r#""""#,
    r#"" ""#,
    r#""é\u0000\n🦀""#,
    r#""10.80.0.11""#,
    r#""::ffff:10.80.0.11""#,
    r#""2001:db8::1""#,
    r#""0.0.0.0""#,
    r#""foobar.com""#,
    r#""www.foobar.com.""#,
    r#""a:b""#,
    r#""php""#,
    r#""http""#,
    r#""active-active""#,
    r#""automatic""#,
    r#""galera""#,
    r#""acme""#,
    r#""99999999999999999999y""#,
    r#""1é""#,
    r#""../..""#,
    r#""/x/""#,
    r#""//""#,
    "'''\nseveral\n\tlines'''",
    "0",
    "-1",
    "1_0",
    "0x10",
    "99999999999999999999999999",
    "1.5",
    "nan",
    "true",
    "1979-05-27T07:32:00Z",
    "[]",
    "{}",
    r#"["web", "app"]"#,
    r#"["web", "web", 1]"#,
    "[[[[]]]]",
    r#"[{ name = "@", type = "A", value = "1.2.3.4" }]"#,
    r#"{ address = "10.80.0.100" }"#,
    r#"{ "/static/" = "static" }"#,
    r#"{ "" = { } }"#,
];

const ROLES: [&str; 8] = ["dns", "balancer", "web", "app", "database", "monitor", "cache", "firewall"];

/// One change to a text.
#[derive(Clone, Debug)]
enum Edit {
    Delete(Index),
    Duplicate(Index, Index),
    Swap(Index, Index),
    /// The key of another line.
    Key(Index, Index),
    /// The value of another line.
    Value(Index, Index),
    Replace(Index, &'static str),
    Insert(Index, String),
    Cut(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<Index>;
    prop_oneof![
        2 => place().prop_map(Edit::Delete),
        2 => (place(), place()).prop_map(|(a, b)| Edit::Duplicate(a, b)),
        1 => (place(), place()).prop_map(|(a, b)| Edit::Swap(a, b)),
        2 => (place(), place()).prop_map(|(a, b)| Edit::Key(a, b)),
        2 => (place(), place()).prop_map(|(a, b)| Edit::Value(a, b)),
        4 => (place(), select(&VALUES[..])).prop_map(|(a, value)| Edit::Replace(a, value)),
        1 => (place(), ".{1,3}").prop_map(|(a, text)| Edit::Insert(a, text)),
        1 => (place(), 1..20_usize).prop_map(|(a, length)| Edit::Cut(a, length)),
    ]
}

/// A text with `edit` made to it.
fn edited(text: &str, edit: &Edit) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let count = lines.len();
    let line = |place: &Index| place.index(count);
    let halves = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    match edit {
        Edit::Delete(at) => drop(lines.remove(line(at))),
        Edit::Duplicate(from, to) => lines.insert(line(to), lines[line(from)].clone()),
        Edit::Swap(one, other) => lines.swap(line(one), line(other)),
        Edit::Key(at, other) | Edit::Value(at, other) => {
            if let (Some(here), Some(there)) = (halves(&lines[line(at)]), halves(&lines[line(other)])) {
                let (key, value) = if matches!(edit, Edit::Key(..)) { (there.0, here.1) } else { (here.0, there.1) };
                lines[line(at)] = format!("{key}={value}");
            }
        }
        Edit::Replace(at, value) => {
            if let Some((key, _)) = halves(&lines[line(at)]) {
                lines[line(at)] = format!("{key}= {value}");
            }
        }
        Edit::Insert(at, extra) => {
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            return format!("{}{extra}{}", &text[..at], &text[at..]);
        }
        Edit::Cut(at, length) => {
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.floor_char_boundary((at + length).min(text.len()));
            return format!("{}{}", &text[..at], &text[end..]);
        }
    }
    lines.join("\n") + "\n"
}

/// A server's section without its header: what follows the address's last part.
fn server() -> impl Strategy<Value = String> {
    let address = prop_oneof![9 => Just("10.80.0."), 9 => Just("2001:db8::"), 1 => Just("::ffff:10.80.0.")];
    let roles = prop_oneof![
        4 => Just(vec!["web", "app"]),
        2 => Just(vec!["dns", "balancer"]),
        2 => Just(vec!["dns", "balancer", "web", "app", "database", "monitor"]),
        1 => subsequence(&ROLES[..], 1..=ROLES.len()),
    ];
    (address, 1..250_u8, roles, of(1..9_u16), prop::bool::weighted(0.1)).prop_map(
        |(net, last, roles, weight, spare)| {
            let mut text = format!("address = \"{net}{last}\"\nroles = {roles:?}\n");
            weight.into_iter().for_each(|weight| text += &format!("weight = {weight}\n"));
            text + if spare { "spare = true\n" } else { "" }
        },
    )
}

/// An application's section without its header.
fn app() -> impl Strategy<Value = String> {
    let kind = select(
        &[
            "kind = \"wsgi\"\nentry = \"a.b:c\"",
            "kind = \"asgi\"\nentry = \"a:b\"",
            "kind = \"php\"",
            "kind = \"http\"\ncommand = \"x\"",
        ][..],
    );
    let extras = subsequence(
        &[
            "shared = [\"up\", \"a/b/\"]",
            "settings = { A = \"1\" }",
            "migrate = \"x\"",
            "health = \"/h\"",
            "workers = 3",
            "static = { \"/a/b/s/\" = \"s\", \"/a/b/up/\" = { folder = \"up/\", fallback = \"i.html\" } }",
        ][..],
        0..=3,
    );
    let host = of(select(&["foobar.com", "api.foobar.com", "www.foobar.com", "a.b.foobar.com"][..]));
    let route = of(select(&["/", "/a/", "/a/b/"][..]));
    (kind, extras, host, route).prop_map(|(kind, extras, host, route)| {
        let mut text = format!("path = \"code\"\n{kind}\n{}\n", extras.join("\n"));
        host.into_iter().for_each(|host| text += &format!("host = \"{host}\"\n"));
        route.into_iter().for_each(|route| text += &format!("route = \"{route}\"\n"));
        text
    })
}

/// Sites of any shape; about a third of them are valid.
pub fn site() -> impl Strategy<Value = String> {
    let sections = subsequence(
        &[
            "[dns]\nrecords = [{ name = \"@\", type = \"MX\", value = \"10 mail.foobar.com.\" }]\n",
            "[web]\nalgorithm = \"source-hash\"\nsticky = true\n",
            "[balancer]\nalgorithm = \"fastest\"\nsticky = false\n",
            "[database]\ndurability = \"async\"\n",
            "[tls]\ncertificate = \"self-signed\"\ninside = \"mutual\"\n",
            "[firewall]\nssh-from = [\"192.0.2.0/24\"]\n",
            "[monitor]\nretention = \"1y\"\n",
        ][..],
        0..=2,
    );
    let names = |count| subsequence(&["a", "b-c", "db1", "x--9", "lb2", "mail", "z"][..], count);
    let servers = (1..=7_usize).prop_flat_map(move |count| (names(count), vec(server(), count)));
    let apps = (0..=3_usize).prop_flat_map(move |count| (names(count), vec(app(), count)));
    (sections, servers, apps, app()).prop_map(|(sections, servers, apps, only)| {
        let mut text = format!("format = 1\n[site]\ndomain = \"foobar.com\"\n{}", sections.concat());
        if apps.0.is_empty() {
            text += &format!("[app]\n{only}");
        }
        for (name, app) in apps.0.iter().zip(apps.1) {
            text += &format!("[apps.\"{name}\"]\n{app}");
        }
        for (name, server) in servers.0.iter().zip(servers.1) {
            text += &format!("[servers.\"{name}\"]\n{server}");
        }
        text
    })
}

/// A design or any site, changed at a few places.
pub fn mutant() -> impl Strategy<Value = String> {
    let original = prop_oneof![4 => select(&DESIGNS[..]).prop_map(str::to_owned), 1 => site()];
    let apply = |(text, edits): (String, Vec<Edit>)| edits.iter().fold(text, |text, edit| edited(&text, edit));
    (original, vec(edit(), 0..4)).prop_map(apply)
}
