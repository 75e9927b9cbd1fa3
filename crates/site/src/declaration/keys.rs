//! Every key of the declaration: the one list that the reader checks against and the JSON Schema is made from.

use crate::model::Algorithm;
use crate::names::Role;

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Flag,
    Count {
        least: u64,
        most: u64,
    },
    Word(&'static [&'static str]),
    Texts,
    Words(&'static [&'static str]),
    TextMap,
    /// As [`Kind::TextMap`]; a value may be a section too.
    TextOrKeysMap(&'static [Key]),
    /// A section of its own keys.
    Keys(&'static [Key]),
    /// A list of sections.
    List(&'static [Key]),
    /// A table of named sections.
    Named(&'static [Key]),
    /// `true` or `false`, or a section.
    FlagOr(&'static [Key]),
    /// One of these words, or a section.
    WordOr(&'static [&'static str], &'static [Key]),
}

/// A key, and what an editor says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) doc: &'static str,
    /// How it may be written, for whoever left it out; only of what must be there.
    pub(super) example: Option<&'static str>,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, example: None }
}

const fn must(name: &'static str, kind: Kind, doc: &'static str, example: &'static str) -> Key {
    Key { name, kind, doc, example: Some(example) }
}

/// Twice what a server with hundreds of cores would want.
pub(super) const WORKERS_MAX: u64 = 1024;
/// HAProxy's bound for a weight.
pub(super) const WEIGHT_MAX: u64 = 256;
/// RFC 2181 § 8 bounds a TTL by 2^31 − 1; a week is what resolvers honour anyway.
pub(super) const TTL_MAX: u64 = 604_800;

/// What one engine takes of all addresses together.
pub(super) const CONNECTIONS_MAX: u64 = 20_000;
/// As of a rate: more at once is no limit.
pub(super) const REQUESTS_MAX: u64 = 1_000_000;

pub(super) const WWW: [&str; 2] = ["cname", "address"];
pub(super) const APP_KINDS: [&str; 4] = ["wsgi", "asgi", "php", "http"];
pub(super) const SPEAKS: [&str; 2] = ["http1", "http2"];
pub(super) const MODES: [&str; 2] = ["active-passive", "active-active"];
pub(super) const FAILOVER: [&str; 2] = ["manual", "automatic"];
pub(super) const DURABILITY: [&str; 3] = ["async", "semi-sync", "galera"];
pub(super) const SEMI_SYNC: [&str; 2] = ["available", "strict"];
pub(super) const CERTIFICATES: [&str; 2] = ["self-signed", "acme"];
pub(super) const LOGS: [&str; 2] = ["json", "combined"];
pub(super) const PER: [&str; 3] = ["address", "key", "route"];
pub(super) const INSIDE: [&str; 2] = ["off", "mutual"];
pub(super) const RECORDS: [&str; 8] = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"];
pub(super) const ALGORITHMS: [&str; Algorithm::ALL.len()] = {
    let mut words = [""; Algorithm::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Algorithm::ALL[at].0;
        at += 1;
    }
    words
};
pub(super) const ROLES: [&str; Role::ALL.len()] = {
    let mut words = [""; Role::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Role::ALL[at].as_str();
        at += 1;
    }
    words
};

const SITE: &[Key] = &[
    must("domain", Kind::Text, "The site's domain, such as foobar.com.", "domain = \"foobar.com\""),
    key(
        "www",
        Kind::Word(&WWW),
        "How www is answered: an alias of the domain (cname, the default) or addresses of its own.",
    ),
];
const RECORD: &[Key] = &[
    must("name", Kind::Text, "Relative to the domain; @ is the domain itself.", "name = \"mail\""),
    must("type", Kind::Word(&RECORDS), "The record's type.", "type = \"A\""),
    must("value", Kind::Text, "The data as a zone file writes it: \"10 mail.example.com.\"", "value = \"192.0.2.1\""),
    key("ttl", Kind::Count { least: 0, most: TTL_MAX }, "Seconds that resolvers may keep it (default 300)."),
];
const DNS: &[Key] = &[key("records", Kind::List(RECORD), "Further records of the zone.")];
pub(super) const STATIC: &[Key] = &[
    must("folder", Kind::Text, "The folder, below the codebase.", "folder = \"dist\""),
    key(
        "fallback",
        Kind::Text,
        "The file of the folder that answers for pages that are no files, such as index.html: for code that routes in the browser (default: they are not found).",
    ),
    key(
        "cache-control",
        Kind::Text,
        "Cache-Control of its files, as \"max-age=3600\" (default: names with a fingerprint are kept for ever, others are asked for each time).",
    ),
];
pub(super) const APP: &[Key] = &[
    must("path", Kind::Text, "The codebase, relative to this file.", "path = \"code\""),
    must("kind", Kind::Word(&APP_KINDS), "How it is run.", "kind = \"wsgi\""),
    key("entry", Kind::Text, "wsgi, asgi: module:callable. php: the front controller (default index.php)."),
    key("command", Kind::Text, "http: the shell command of one worker; it listens on $SOCKET or $HOST:$PORT."),
    key(
        "speaks",
        Kind::Word(&SPEAKS),
        "http: what the workers speak, both in clear: http1 (the default), or http2 without being asked, as gRPC servers do.",
    ),
    key(
        "workers",
        Kind::Count { least: 1, most: WORKERS_MAX },
        "Worker processes per application server (default 2: one can restart).",
    ),
    key("shared", Kind::Texts, "Paths below the codebase that the code writes to; kept across releases."),
    key("settings", Kind::TextMap, "Environment variables for the workers."),
    key("migrate", Kind::Text, "A shell command run once per release, before it gets traffic."),
    key("host", Kind::Text, "Only requests for this host (default: any)."),
    key("route", Kind::Text, "Only requests below this path prefix (default /)."),
    key(
        "static",
        Kind::TextOrKeysMap(STATIC),
        "URL prefix to folder below the codebase, served by the web tier; beside the application's route too.",
    ),
    key(
        "health",
        Kind::Text,
        "The path that health checks ask a worker for (default /; with speaks = \"http2\" gRPC's own health check).",
    ),
];
pub(super) const CACHE: &[Key] =
    &[key("memory", Kind::Text, "How much each web server keeps, as \"64 MiB\" (the default), from 1 MiB to 1 TiB.")];
const WEB: &[Key] = &[
    key("static", Kind::TextOrKeysMap(STATIC), "URL prefix to folder below the codebase of the only application."),
    key(
        "algorithm",
        Kind::Word(&ALGORITHMS),
        "How requests are spread over application servers (default round-robin).",
    ),
    key(
        "sticky",
        Kind::Flag,
        "A visitor stays with an application server, by a signed cookie: for code that keeps sessions in its own memory (default false).",
    ),
    key(
        "log",
        Kind::Word(&LOGS),
        "How requests are logged: json (the default, with all that is known) or nginx's combined.",
    ),
    key(
        "cache",
        Kind::FlagOr(CACHE),
        "Whether web servers keep answers that the application marks as fresh, by Cache-Control or Expires (default true).",
    ),
    key(
        "hedge",
        Kind::Text,
        "After how long a silence, as 500ms, a GET is asked of a second application server too (default: never).",
    ),
];
pub(super) const CLUSTER: &[Key] = &[
    key("address", Kind::Text, "The floating address."),
    key("addresses", Kind::Texts, "The floating addresses; one per balancer for active-active."),
    key("mode", Kind::Word(&MODES), "Who serves (default active-passive)."),
    key(
        "interval",
        Kind::Text,
        "Between two adverts; after three of silence the address moves (default 250ms, which makes about half a second).",
    ),
    key(
        "preempt",
        Kind::Flag,
        "A balancer that is back takes its address from one that holds it well (default: only if active-active).",
    ),
    key("multicast", Kind::Flag, "Adverts go to VRRP's group, not to each balancer by itself (default false)."),
    key(
        "hook",
        Kind::Text,
        "A program on each balancer, called as `hook take ADDRESS` when the address has come there: to move it in a cloud (default: none).",
    ),
    key("signed", Kind::Flag, "Only the site's own adverts are believed; false lets other VRRP in (default true)."),
];
const BALANCER: &[Key] = &[
    key("algorithm", Kind::Word(&ALGORITHMS), "How requests are spread over web servers (default round-robin)."),
    key("sticky", Kind::Flag, "A visitor stays with a web server, by a signed cookie (default false)."),
    key("cluster", Kind::Keys(CLUSTER), "A floating address that the balancers share."),
    key(
        "log",
        Kind::Word(&LOGS),
        "How requests are logged: json (the default, with all that is known) or nginx's combined.",
    ),
    key(
        "cache",
        Kind::FlagOr(CACHE),
        "Whether the balancer keeps fresh answers itself, beside the web servers' caches (default false).",
    ),
    key(
        "hedge",
        Kind::Text,
        "After how long a silence, as 500ms, a GET is asked of a second web server too (default: never).",
    ),
];
const LIMITS: &[Key] = &[
    key(
        "connections-per-address",
        Kind::Count { least: 1, most: CONNECTIONS_MAX },
        "Connections that one address may have open; of IPv6 a network of 64 bits (default 1024, without this machine's own).",
    ),
    key("rates", Kind::List(RATE), "How often may be asked (default: as often as you like)."),
];
const RATE: &[Key] = &[
    must(
        "per",
        Kind::Word(&PER),
        "Who is counted as one: each address, each key, or all of the route together.",
        "per = \"address\"",
    ),
    must("rate", Kind::Text, "Requests in the long run: 20/s, 100/m or 1000/h.", "rate = \"20/s\""),
    key(
        "burst",
        Kind::Count { least: 1, most: REQUESTS_MAX },
        "Requests that may come at once after a pause (default: as many as `rate` names).",
    ),
    key(
        "ban",
        Kind::Text,
        "For how long, as 10m, somebody is not let in who goes on although he is refused (default: he may go on).",
    ),
    key(
        "ban-after",
        Kind::Count { least: 1, most: REQUESTS_MAX },
        "Refusals within a minute that are too many (default 100); goes with ban.",
    ),
    key("header", Kind::Text, "per = \"key\": the header that holds the key; without it the address counts."),
    key("route", Kind::Text, "Only requests below this path prefix (default /)."),
    key("host", Kind::Text, "Only requests for this host (default: any)."),
];
/// Two years of daily ones.
const BACKUPS_MAX: u64 = 730;
const BACKUP: &[Key] = &[
    must(
        "to",
        Kind::Text,
        "An absolute folder of the last database server, which makes them.",
        "to = \"/var/backups/site\"",
    ),
    key("every", Kind::Text, "How often a full one is made: 12h, 1d (the default)."),
    key("keep", Kind::Count { least: 1, most: BACKUPS_MAX }, "How many full ones are kept (default 7)."),
];
const DATABASE: &[Key] = &[
    key("failover", Kind::Word(&FAILOVER), "Who replaces a dead primary (default manual)."),
    key("durability", Kind::Word(&DURABILITY), "What a commit waits for (default semi-sync: a replica has it too)."),
    key(
        "semi-sync",
        Kind::Word(&SEMI_SYNC),
        "What a commit does while no replica can acknowledge it: available (the default), it goes on; strict, it waits.",
    ),
    key(
        "lease",
        Kind::Text,
        "After how long without a sign of life the primary is replaced, and closes by itself: 3s (the default) to 60s.",
    ),
    key("max-lag", Kind::Text, "A replica further behind is not read from: 1s to 1h (default 5s)."),
    key("backup", Kind::Keys(BACKUP), "Backups that are made by themselves (default: none)."),
    key(
        "binlog-keep",
        Kind::Text,
        "How long the binary logs are kept, from 1h on (default 10d); longer for a replica that is away or a backup.",
    ),
];
pub(super) const OWN_CERTIFICATE: &[Key] = &[
    must("certificate", Kind::Text, "PEM file with the chain, leaf first.", "certificate = \"chain.pem\""),
    must("key", Kind::Text, "PEM file with the private key.", "key = \"key.pem\""),
];
const REDIS: &[Key] = &[key(
    "memory",
    Kind::Text,
    "How much each cache server keeps, as \"64 MiB\" (the default), from 4 MiB to 1 TiB; beyond it what was not used for longest goes.",
)];
const STORE: &[Key] = &[
    must(
        "endpoints",
        Kind::Texts,
        "Where the members of the etcd are asked.",
        "endpoints = [\"192.0.2.10:2379\", \"192.0.2.11:2379\", \"192.0.2.12:2379\"]",
    ),
    must("authority", Kind::Text, "PEM file of who signed the members' certificates.", "authority = \"etcd/ca.pem\""),
    must("certificate", Kind::Text, "PEM file with what the members are shown.", "certificate = \"etcd/client.pem\""),
    must("key", Kind::Text, "PEM file with its private key.", "key = \"etcd/client.key\""),
];
const TLS: &[Key] = &[
    must(
        "certificate",
        Kind::WordOr(&CERTIFICATES, OWN_CERTIFICATE),
        "Where the certificate comes from.",
        "certificate = \"acme\"",
    ),
    key("inside", Kind::Word(&INSIDE), "Encryption between the tiers (default off)."),
    key(
        "redirect",
        Kind::Flag,
        "Whether plain HTTP is sent on to HTTPS (default true with a certificate of your own; false where browsers would warn).",
    ),
    key(
        "hsts",
        Kind::Text,
        "How long a browser that came by HTTPS must not come otherwise, as \"1y\" (default: not said). It cannot be taken back: begin with \"1h\".",
    ),
];
const FIREWALL: &[Key] = &[key("ssh-from", Kind::Texts, "Networks that may reach SSH (default: none).")];
const MONITOR: &[Key] = &[
    key("alerts-to", Kind::Texts, "mailto: or https: addresses that alerts go to."),
    key("retention", Kind::Text, "How long history is kept: 12h, 30d, 2y (default 30d)."),
];
pub(super) const SERVER: &[Key] = &[
    must("address", Kind::Text, "Where the other servers reach it.", "address = \"10.80.0.11\""),
    must("roles", Kind::Words(&ROLES), "What it is for.", "roles = [\"dns\", \"web\", \"app\", \"database\"]"),
    key("weight", Kind::Count { least: 1, most: WEIGHT_MAX }, "Its share of requests (default 1)."),
    key("spare", Kind::Flag, "Serves only when no other server of its tier does (default false)."),
];

/// The whole file.
pub(super) const FILE: &[Key] = &[
    must("format", Kind::Count { least: 1, most: 1 }, "The format of this file; this version reads 1.", "format = 1"),
    must("site", Kind::Keys(SITE), "The site's name.", "[site] with domain = \"foobar.com\""),
    key("dns", Kind::Keys(DNS), "Further records of the zone."),
    key("app", Kind::Keys(APP), "The application; short for [apps.site]."),
    key("apps", Kind::Named(APP), "The applications, if there are several."),
    key("web", Kind::Keys(WEB), "The web tier."),
    key("balancer", Kind::Keys(BALANCER), "The balancer tier."),
    key("limits", Kind::Keys(LIMITS), "How much of the site one visitor may take."),
    key("database", Kind::Keys(DATABASE), "The database tier. The first database server is the primary."),
    key("cache", Kind::Keys(REDIS), "Redis for the applications, which find it in REDIS_URL."),
    key(
        "store",
        Kind::Keys(STORE),
        "An etcd that is there already, by which several database servers agree (default: Mainstay runs one on three servers).",
    ),
    key("tls", Kind::Keys(TLS), "HTTPS."),
    key("firewall", Kind::Keys(FIREWALL), "Packet filtering."),
    key("monitor", Kind::Keys(MONITOR), "Watching."),
    must(
        "servers",
        Kind::Named(SERVER),
        "Every server by its name: [servers.server1].",
        "[servers.server1] with its address and roles",
    ),
];
