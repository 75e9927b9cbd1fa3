//! Replication and clients.

use super::{Event, NODES, World};
use crate::election::Trouble;
use crate::election::tests::db::{Txn, Up};

impl World {
    pub(super) fn replicate(&mut self, id: usize) {
        let ms = 3 + self.dice.below(4);
        self.at(ms, Event::Replicate(id));
        let Some(replay) = self.dbs[id].replay.clone() else { return };
        if !self.dbs[id].answers() {
            return;
        }
        let source = replay.source;
        if replay.sql && !self.dbs[id].sql_broken {
            let most = self.dice.below(4) as usize;
            self.dbs[id].apply(most);
        }
        let open = replay.io && self.dbs[source].answers() && !self.cut.contains(&(source, id));
        if !open || self.dbs[source].blocked.contains(&id) {
            if !replay.io || self.dbs[source].up != Up::Running || self.dice.one_in(20) {
                self.dbs[source].dumps.remove(&id);
            }
            return;
        }
        self.fetch(id, source, replay.acknowledges);
    }

    pub(super) fn fetch(&mut self, id: usize, source: usize, acknowledges: bool) {
        let place = match self.dbs[id].received() {
            None => 0,
            Some(last) => {
                let found = self.dbs[source]
                    .binlog
                    .iter()
                    .rposition(|txn| (txn.server, txn.sequence) == (last.server, last.sequence));
                let Some(found) = found else {
                    // 1236: the source does not have what this one has.
                    let replay = self.dbs[id].replay.as_mut().unwrap();
                    (replay.io, replay.error) = (false, Some(Trouble::Diverged("1236".into())));
                    self.dbs[source].dumps.remove(&id);
                    return;
                };
                found + 1
            }
        };
        let connection = match self.dbs[source].dumps.get(&id) {
            Some(connection) => *connection,
            None => {
                let connection = self.dice.roll();
                self.dbs[source].dumps.insert(id, connection);
                connection
            }
        };
        let most = 1 + self.dice.below(5) as usize;
        let new: Vec<Txn> = self.dbs[source].binlog[place..].iter().take(most).copied().collect();
        let reached = place + new.len();
        self.dbs[id].relay.extend(new);
        if acknowledges && !self.cut.contains(&(id, source)) {
            let ms = self.latency();
            self.at(ms, Event::Acknowledge { source, replica: id, connection, place: reached });
        }
    }

    pub(super) fn acknowledge(&mut self, source: usize, replica: usize, connection: u64, place: usize) {
        let db = &mut self.dbs[source];
        if db.paused {
            // It waits in the socket.
            self.at(50, Event::Acknowledge { source, replica, connection, place });
            return;
        }
        if db.up != Up::Running || !db.semi_sync || db.dumps.get(&replica) != Some(&connection) {
            return;
        }
        for write in db.acknowledge(place) {
            self.done(source, write);
        }
    }

    /// A client writes wherever it is let in: there is no fence in this world.
    pub(super) fn write(&mut self) {
        let ms = 4 + self.dice.below(8);
        self.at(ms, Event::Write);
        self.check_roles();
        if !self.writing {
            return;
        }
        for id in 0..NODES {
            self.writes += 1;
            match self.dbs[id].write(self.writes) {
                None => {}
                Some(done) => {
                    self.arrived.insert(self.writes, (id, self.now));
                    if done {
                        self.done(id, self.writes);
                    }
                }
            }
        }
    }
}
