//! From the plan to resource records.

use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::rr::rdata::{CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;
use mainstay_site::model::{self, Www};
use mainstay_site::plan;

/// Seconds until a secondary asks again: RIPE-203 (1999) for small and stable zones. Mainstay's own name servers need
/// none of it, since each derives the zone from the plan; a foreign secondary does.
const REFRESH_S: i32 = 86_400;
/// Seconds until a secondary that got no answer asks again (RIPE-203).
const RETRY_S: i32 = 7_200;
/// Seconds after which a secondary gives up the zone (RIPE-203: 1000 hours).
const EXPIRE_S: i32 = 3_600_000;
/// Seconds that "there is no such name" may be kept (RFC 2308 § 5). Far below RIPE-203's two days: a name that is added
/// to the declaration must appear within minutes.
const NEGATIVE_S: u32 = 300;
/// What an owner may add. The rest is derived (SOA) or would need DNSSEC.
const KINDS: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::MX,
    RecordType::TXT,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::SRV,
    RecordType::CAA,
];

/// A record that cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a domain name.
    #[error("\"{name}\" is not a domain name: {why}")]
    Name {
        /// As the plan has it.
        name: String,
        /// The parser's opinion.
        why: String,
    },
    /// A declared record that the zone-file syntax does not allow.
    #[error(
        "the declared record {kind} \"{value}\" of \"{name}\" cannot be read: {why}; write its data as a zone file does (RFC 1035 § 5.1)"
    )]
    Value {
        /// The record's name.
        name: String,
        /// Its type.
        kind: String,
        /// Its data.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// A CNAME beside other data (RFC 2181 § 10.1).
    #[error("\"{0}\" has a CNAME and other records, which RFC 2181 § 10.1 forbids; keep one of them")]
    Alias(String),
    /// A zone needs at least one name server.
    #[error("the zone has no name server; give a server the role \"dns\"")]
    NoNameServer,
}

/// The zone's own name, absolute.
pub fn absolute(name: &str) -> Result<Name, Error> {
    let mut parsed = Name::from_str(name).map_err(|why| Error::Name { name: name.into(), why: why.to_string() })?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

/// Every record of the zone, the SOA first.
pub fn all(config: &plan::Dns, apex: &Name) -> Result<Vec<Record>, Error> {
    let mut records = vec![start_of_authority(config, apex)?];
    for (name, address) in &config.name_servers {
        let name = absolute(name)?;
        records.push(Record::from_rdata(apex.clone(), config.ttl, RData::NS(NS(name.clone()))));
        records.push(address_record(name, *address, config.ttl));
    }
    records.extend(config.addresses.iter().map(|address| address_record(apex.clone(), *address, config.ttl)));
    records.extend(www(config, apex)?);
    for (name, address) in &config.hosts {
        records.push(address_record(absolute(name)?, *address, config.ttl));
    }
    for record in &config.records {
        records.push(declared(record, apex)?);
    }
    Ok(records)
}

fn start_of_authority(config: &plan::Dns, apex: &Name) -> Result<Record, Error> {
    let primary = absolute(&config.name_servers.first().ok_or(Error::NoNameServer)?.0)?;
    let mailbox = absolute(&format!("hostmaster.{}", config.zone))?;
    let soa = SOA::new(primary, mailbox, config.serial, REFRESH_S, RETRY_S, EXPIRE_S, NEGATIVE_S);
    Ok(Record::from_rdata(apex.clone(), config.ttl, RData::SOA(soa)))
}

fn www(config: &plan::Dns, apex: &Name) -> Result<Vec<Record>, Error> {
    let name = absolute(&format!("www.{}", config.zone))?;
    Ok(match config.www {
        Www::Cname => vec![Record::from_rdata(name, config.ttl, RData::CNAME(CNAME(apex.clone())))],
        Www::Address => {
            config.addresses.iter().map(|address| address_record(name.clone(), *address, config.ttl)).collect()
        }
    })
}

fn address_record(name: Name, address: IpAddr, ttl: u32) -> Record {
    Record::from_rdata(name, ttl, address.into())
}

fn declared(record: &model::Record, apex: &Name) -> Result<Record, Error> {
    let fault = |why: String| Error::Value {
        name: record.name.clone(),
        kind: record.kind.clone(),
        value: record.value.clone(),
        why,
    };
    let kind = RecordType::from_str(&record.kind.to_ascii_uppercase()).map_err(|why| fault(why.to_string()))?;
    if !KINDS.contains(&kind) {
        return Err(fault(format!("{kind} is not one of A, AAAA, MX, TXT, CNAME, NS, SRV, CAA")));
    }
    // One line, one record: a line break would begin the next one, and `$INCLUDE` on it would read files.
    if record.value.contains(['\n', '\r']) || record.name.contains(['\n', '\r', ' ', '\t', ';', '"', '$']) {
        return Err(fault("a record is one line".into()));
    }
    // hickory knows `@` (RFC 1035 § 5.1) as an owner only.
    let value = match record.value.strip_suffix('@') {
        Some(before) if matches!(kind, RecordType::CNAME | RecordType::MX | RecordType::NS | RecordType::SRV) => {
            format!("{before}{apex}")
        }
        _ => record.value.clone(),
    };
    let line = format!("{} {} IN {kind} {value}\n", record.name, record.ttl);
    let (_, sets) = Parser::new(line, None, Some(apex.clone())).parse().map_err(|why| fault(why.to_string()))?;
    let parsed = sets.into_values().next().and_then(|set| set.records_without_rrsigs().next().cloned());
    let parsed = parsed.ok_or_else(|| fault("it is empty".into()))?;
    if apex.zone_of(&parsed.name) { Ok(parsed) } else { Err(fault(format!("{} is outside of the zone", parsed.name))) }
}
