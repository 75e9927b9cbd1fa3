//! What relay logs hold behind a position: whole transactions, written into a log of their own that can be replayed.
//!
//! `mariadb-binlog --start-position` does not serve for that. A connection that was lost in the middle of a transaction leaves
//! it in two files, and at the second one the reader (10.11.19) forgets that it is to leave it out: the rest of an old
//! transaction was applied once more, under this server's own name. So the events are sifted here, by their binary form
//! (MariaDB, "Replication Protocol": event header, `Gtid_event`, `Gtid_list_event`, `Query_event`).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use mainstay_machines::gtid::{Gtid, Position};

const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];
const HEADER: usize = 19;
/// `slave_max_allowed_packet` at most (1 GiB), and what an event has around it.
const EVENT_BYTES_MAX: usize = (1 << 30) + (1 << 16);

const QUERY: u8 = 2;
const STOP: u8 = 3;
const ROTATE: u8 = 4;
const FORMAT: u8 = 15;
const XID: u8 = 16;
const HEARTBEAT: u8 = 27;
const XA_PREPARE: u8 = 38;
const CHECKPOINT: u8 = 161;
const GTID: u8 = 162;
const GTID_LIST: u8 = 163;
const ENCRYPTION: u8 = 164;
const QUERY_COMPRESSED: u8 = 165;

/// Of a `Gtid_event`: a statement without a commit behind it.
const STANDALONE: u8 = 1;

/// Why they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{}: {why}", log.display())]
    Malformed { log: PathBuf, why: &'static str },
    #[error("the relay log goes on with {begins} and does not begin where {applied} ends")]
    Gap { begins: Gtid, applied: Position },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What was found behind the position.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rest {
    pub transactions: u64,
    pub last: Position,
}

/// Writes what `logs` hold behind `applied` to `to`. What was not received whole is left out.
///
/// # Errors
/// What is no log; a gap between `applied` and what the logs hold.
pub fn sift(logs: &[PathBuf], applied: &Position, to: &Path) -> Result<Rest, Broken> {
    let mut sieve = Sieve {
        applied,
        to: BufWriter::new(File::create(to)?),
        group: None,
        format: Vec::new(),
        written: Vec::new(),
        known: Position::START,
        rest: Rest::default(),
    };
    sieve.to.write_all(&MAGIC)?;
    for log in logs {
        sieve.log(log)?;
    }
    sieve.abandon()?;
    sieve.to.flush()?;
    Ok(sieve.rest)
}

struct Sieve<'a> {
    applied: &'a Position,
    to: BufWriter<File>,
    group: Option<Group>,
    /// The description of the events that are being read, and the last one that was written.
    format: Vec<u8>,
    written: Vec<u8>,
    /// What the logs begin behind, and what came since.
    known: Position,
    rest: Rest,
}

/// A transaction whose end was not met yet.
struct Group {
    gtid: Gtid,
    standalone: bool,
    /// Where it begins in the output, if it is wanted.
    at: Option<u64>,
}

impl Sieve<'_> {
    fn log(&mut self, path: &Path) -> Result<(), Broken> {
        let mut log = BufReader::new(File::open(path)?);
        let malformed = |why| Broken::Malformed { log: path.to_owned(), why };
        let mut magic = [0; MAGIC.len()];
        match log.read_exact(&mut magic) {
            // Made, and nothing was written to it.
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            // What cannot be read may hold what was acknowledged.
            read => read?,
        }
        if magic != MAGIC {
            return Err(malformed("it is no log of MariaDB"));
        }
        loop {
            match next(&mut log)? {
                Next::Event(event) => self.event(event, &malformed)?,
                Next::End => return Ok(()),
                Next::Torn => return Ok(self.abandon()?),
                Next::Nonsense => return Err(malformed("it has an event of an impossible size")),
            }
        }
    }

    fn event(&mut self, event: Event, malformed: &impl Fn(&'static str) -> Broken) -> Result<(), Broken> {
        let short = || malformed("it has an event that is too short");
        match event.kind() {
            FORMAT => self.format = event.0,
            GTID_LIST => event.gtid_list().ok_or_else(short)?.into_iter().for_each(|gtid| self.known.reach(gtid)),
            STOP | ROTATE | HEARTBEAT | CHECKPOINT | ENCRYPTION => {}
            GTID => {
                let (gtid, flags) = event.gtid().ok_or_else(short)?;
                self.abandon()?;
                self.begin(gtid, flags & STANDALONE != 0, &event)?;
            }
            _ => self.go_on(&event)?,
        }
        Ok(())
    }

    fn begin(&mut self, gtid: Gtid, standalone: bool, event: &Event) -> Result<(), Broken> {
        let wanted = !self.applied.covers(&position(gtid));
        let mut at = None;
        if wanted {
            self.follows(gtid)?;
            if self.written != self.format {
                self.to.write_all(&self.format)?;
                self.written.clone_from(&self.format);
            }
            at = Some(self.to.stream_position()?);
            self.to.write_all(&event.0)?;
        }
        self.group = Some(Group { gtid, standalone, at });
        Ok(())
    }

    /// Whether nothing is missing between what is applied and the first that is not.
    fn follows(&self, gtid: Gtid) -> Result<(), Broken> {
        let next = self.applied.iter().all(|last| last.domain != gtid.domain || last.sequence + 1 == gtid.sequence);
        if self.rest.transactions > 0 || self.known.covers(self.applied) || next {
            return Ok(());
        }
        Err(Broken::Gap { begins: gtid, applied: self.applied.clone() })
    }

    fn go_on(&mut self, event: &Event) -> io::Result<()> {
        // Without a beginning it is of no use.
        let Some(group) = &self.group else { return Ok(()) };
        let wanted = group.at.is_some();
        let ends = match event.kind() {
            XID | XA_PREPARE => true,
            QUERY | QUERY_COMPRESSED => group.standalone || event.commits(self.checksum_bytes()),
            _ => false,
        };
        let gtid = group.gtid;
        if wanted {
            self.to.write_all(&event.0)?;
        }
        if ends {
            self.known.reach(gtid);
            self.group = None;
        }
        if ends && wanted {
            self.rest.transactions += 1;
            self.rest.last.reach(gtid);
        }
        Ok(())
    }

    /// Takes back what was written of a transaction that does not end.
    fn abandon(&mut self) -> io::Result<()> {
        if let Some(at) = self.group.take().and_then(|group| group.at) {
            self.to.flush()?;
            self.to.get_ref().set_len(at)?;
            self.to.seek(io::SeekFrom::Start(at))?;
        }
        Ok(())
    }

    /// A description ends with the algorithm of the checksums and its own one.
    fn checksum_bytes(&self) -> usize {
        let algorithm = self.format.len().checked_sub(5).and_then(|at| self.format.get(at));
        if algorithm == Some(&1) { 4 } else { 0 }
    }
}

fn position(gtid: Gtid) -> Position {
    let mut position = Position::START;
    position.reach(gtid);
    position
}

struct Event(Vec<u8>);

enum Next {
    Event(Event),
    End,
    /// It ends within an event: the server died while it wrote.
    Torn,
    Nonsense,
}

fn next(log: &mut impl Read) -> io::Result<Next> {
    let mut bytes = Vec::new();
    match log.by_ref().take(HEADER as u64).read_to_end(&mut bytes)? {
        0 => return Ok(Next::End),
        HEADER => {}
        _ => return Ok(Next::Torn),
    }
    // A file may be longer than what was written of it.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Next::Torn);
    }
    let size = u32::from_le_bytes([bytes[9], bytes[10], bytes[11], bytes[12]]) as usize;
    if !(HEADER..=EVENT_BYTES_MAX).contains(&size) {
        return Ok(Next::Nonsense);
    }
    log.by_ref().take((size - HEADER) as u64).read_to_end(&mut bytes)?;
    Ok(if bytes.len() == size { Next::Event(Event(bytes)) } else { Next::Torn })
}

impl Event {
    fn kind(&self) -> u8 {
        self.0[4]
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }

    fn gtid(&self) -> Option<(Gtid, u8)> {
        let gtid = Gtid { domain: self.u32(HEADER + 8)?, server: self.u32(5)?, sequence: self.u64(HEADER)? };
        Some((gtid, *self.0.get(HEADER + 12)?))
    }

    /// The count has flags in its upper four bits.
    fn gtid_list(&self) -> Option<Vec<Gtid>> {
        let count = (self.u32(HEADER)? & 0x0fff_ffff) as usize;
        let entry = |index: usize| {
            let at = HEADER + 4 + index * 16;
            Some(Gtid { domain: self.u32(at)?, server: self.u32(at + 4)?, sequence: self.u64(at + 8)? })
        };
        (0..count).map(entry).collect()
    }

    /// Whether its statement ends a transaction.
    fn commits(&self, checksum_bytes: usize) -> bool {
        let text = || {
            let (schema, status) = (*self.0.get(HEADER + 8)?, self.0.get(HEADER + 11..HEADER + 13)?);
            let begins =
                HEADER + 13 + usize::from(u16::from_le_bytes([status[0], status[1]])) + usize::from(schema) + 1;
            self.0.get(begins..self.0.len().checked_sub(checksum_bytes)?)
        };
        matches!(text(), Some(b"COMMIT" | b"ROLLBACK"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u8, server: u32, body: &[u8]) -> Vec<u8> {
        let size = (HEADER + body.len()) as u32;
        let head = [&[0; 4][..], &[kind], &server.to_le_bytes(), &size.to_le_bytes(), &[0; 6]];
        [&head.concat(), body].concat()
    }

    fn begin(server: u32, sequence: u64, flags: u8) -> Vec<u8> {
        event(GTID, server, &[&sequence.to_le_bytes()[..], &[0; 4], &[flags]].concat())
    }

    fn query(text: &str) -> Vec<u8> {
        event(QUERY, 3, &[&[0; 8][..], &[2, 0, 0, 1, 0], b"xyz\0", text.as_bytes()].concat())
    }

    fn row() -> Vec<u8> {
        event(23, 3, b"a row")
    }

    fn xid() -> Vec<u8> {
        event(XID, 3, &[0; 8])
    }

    fn whole(sequence: u64) -> Vec<u8> {
        [begin(3, sequence, 0), row(), xid()].concat()
    }

    /// A description without checksums.
    fn format() -> Vec<u8> {
        event(FORMAT, 3, &[0; 62])
    }

    fn rest(applied: &str, logs: &[Vec<Vec<u8>>]) -> Result<(String, Vec<Vec<u8>>), String> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (place, events) in logs.iter().enumerate() {
            paths.push(folder.path().join(format!("relay.{place}")));
            std::fs::write(&paths[place], [&MAGIC[..], &events.concat()].concat()).unwrap();
        }
        let to = folder.path().join("rest");
        let found = sift(&paths, &Position::parse(applied).unwrap(), &to).map_err(|broken| broken.to_string())?;
        let mut file = BufReader::new(File::open(to).unwrap());
        file.read_exact(&mut [0; 4]).unwrap();
        let events = std::iter::from_fn(|| match next(&mut file).unwrap() {
            Next::Event(event) => Some(event.0),
            Next::End => None,
            Next::Torn | Next::Nonsense => panic!("a torn rest"),
        });
        let events: Vec<Vec<u8>> = events.collect();
        assert_eq!(events.iter().filter(|event| event[4] == GTID).count() as u64, found.transactions);
        Ok((found.last.to_string(), events))
    }

    #[test]
    fn only_whole_transactions_behind_the_position_are_left() {
        let list =
            event(GTID_LIST, 3, &[&1u32.to_le_bytes()[..], &[0; 4], &3u32.to_le_bytes(), &4u64.to_le_bytes()].concat());
        let ddl = || [begin(3, 7, STANDALONE), query("CREATE TABLE t (i INT)")].concat();
        let old_engine = || [begin(3, 8, 0), query("INSERT"), query("COMMIT")].concat();
        let logs = vec![vec![
            format(),
            event(ROTATE, 3, b"a name"),
            list,
            whole(5),
            whole(6),
            ddl(),
            old_engine(),
            begin(3, 9, 0),
            row(),
        ]];
        let (last, events) = rest("0-3-5", &logs).unwrap();
        assert_eq!((last.as_str(), events.concat()), ("0-3-8", [format(), whole(6), ddl(), old_engine()].concat()));
        assert_eq!(rest("0-3-8", &logs).unwrap().0, "", "the last one is not whole");
        assert_eq!(rest("0-1-4", &logs).unwrap().0, "0-3-8");
    }

    #[test]
    fn a_transaction_in_two_files_is_taken_whole_or_left_out_whole() {
        let logs = vec![
            vec![format(), whole(4), begin(3, 5, 0), event(ROTATE, 1, b"relay.1")],
            vec![format(), event(ROTATE, 3, b"a name"), row(), xid(), whole(6), whole(7)],
        ];
        let (last, events) = rest("0-3-6", &logs).unwrap();
        assert_eq!((last.as_str(), events.concat()), ("0-3-7", [format(), whole(7)].concat()));
        let (last, events) = rest("0-3-4", &logs).unwrap();
        assert_eq!((last.as_str(), events.concat()), ("0-3-7", [format(), whole(5), whole(6), whole(7)].concat()));
    }

    #[test]
    fn what_the_crash_tore_is_left_out() {
        let torn = |event: Vec<u8>| event[..event.len() - 1].to_vec();
        let logs = |end: Vec<u8>| vec![vec![format(), whole(4), begin(3, 5, 0), end], vec![format()]];
        for end in [torn(row()), torn(format()), vec![0; 40], vec![7]] {
            assert_eq!(rest("0-3-3", &logs(end)).unwrap().0, "0-3-4");
        }
        // Nothing that comes after it belongs to it.
        let logs = vec![vec![format(), begin(3, 5, 0), torn(row())], vec![format(), row(), xid(), whole(6)]];
        assert_eq!(rest("0-3-5", &logs).unwrap().1.concat(), [format(), whole(6)].concat());
    }

    #[test]
    fn a_gap_and_what_is_no_log_are_refused() {
        assert!(rest("0-3-3", &[vec![format(), whole(5)]]).unwrap_err().contains("0-3-5"));
        assert!(rest("0-3-3", &[vec![event(GTID, 3, b"short")]]).unwrap_err().contains("too short"));
        assert!(rest("0-3-3", &[vec![vec![0xff; HEADER]]]).unwrap_err().contains("impossible size"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.1");
        std::fs::write(&file, "no log").unwrap();
        let found = sift(&[file], &Position::START, &folder.path().join("rest"));
        assert!(found.unwrap_err().to_string().contains("no log of MariaDB"));
    }
}
