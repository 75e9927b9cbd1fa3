//! Several floating addresses: answered in rotating order, without those that nobody holds.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::rr::{RData, Record};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Between two knocks at an address, and for an answer: an address moves within a second, so one that nobody has answered at
/// for three is nowhere.
const EVERY: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_millis(500);
const ABSENT_AFTER: u32 = 3;

/// Which addresses nobody holds, and where the next answer begins.
#[derive(Default)]
pub struct Presence {
    absent: Mutex<BTreeSet<IpAddr>>,
    turn: AtomicUsize,
}

impl Presence {
    /// Puts the addresses of an answer into the order of its turn, and leaves those out that nobody holds; if that were all,
    /// none.
    pub fn arrange(&self, answers: &mut Vec<Record>) {
        let addresses = answers.iter().filter_map(address);
        let count = addresses.clone().count();
        if count < 2 {
            return;
        }
        let absent = self.set();
        if addresses.clone().any(|address| !absent.contains(&address)) {
            answers.retain(|record| address(record).is_none_or(|address| !absent.contains(&address)));
        }
        drop(absent);
        // Aliases come first, and stay there.
        if let Some(first) = answers.iter().position(|record| address(record).is_some()) {
            let addresses = &mut answers[first..];
            addresses.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len());
        }
    }

    /// Those that nobody holds, for people; empty if all are held.
    pub fn absent(&self) -> String {
        self.set().iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    }

    fn set(&self) -> MutexGuard<'_, BTreeSet<IpAddr>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, address: IpAddr, silences: u32) {
        let mut absent = self.set();
        if silences == 0 && absent.remove(&address) {
            tracing::info!("{address} is held again");
        } else if silences >= ABSENT_AFTER && absent.insert(address) {
            tracing::warn!("nobody holds {address}: visitors are no longer sent there");
        }
    }
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// Knocks at the door of an address for ever.
pub async fn watch(presence: Arc<Presence>, door: SocketAddr) {
    let mut silences = 0;
    loop {
        let answered = timeout(WITHIN, TcpStream::connect(door)).await;
        silences = if matches!(answered, Ok(Ok(_))) { 0 } else { silences + 1 };
        presence.saw(door.ip(), silences);
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn answers(lasts: &[u8]) -> Vec<Record> {
        let record = |last: &u8| Record::from_rdata(Name::root(), 30, RData::A(A::new(10, 0, 0, *last)));
        lasts.iter().map(record).collect()
    }

    fn told(presence: &Presence, lasts: &[u8]) -> Vec<String> {
        let mut answers = answers(lasts);
        presence.arrange(&mut answers);
        assert!(answers.iter().all(|record| record.record_type() == RecordType::A));
        answers.iter().filter_map(address).map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_order_rotates() {
        let presence = Presence::default();
        assert_eq!(told(&presence, &[1, 2]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(told(&presence, &[1, 2]), ["10.0.0.2", "10.0.0.1"]);
        assert_eq!(told(&presence, &[1]), ["10.0.0.1"]);
    }

    #[test]
    fn what_nobody_holds_is_not_answered_unless_that_were_all() {
        let presence = Presence::default();
        let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        presence.saw(one, 2);
        assert_eq!(told(&presence, &[1, 2]).len(), 2);
        presence.saw(one, 3);
        assert_eq!(told(&presence, &[1, 2]), ["10.0.0.2"]);
        assert_eq!(presence.absent(), "10.0.0.1");
        presence.saw(two, 3);
        assert_eq!(told(&presence, &[1, 2]).len(), 2);
        presence.saw(one, 0);
        assert_eq!(told(&presence, &[1, 2]), ["10.0.0.1"]);
    }
}
