//! The store: strictly serializable transactions and a lease; see ARCHITECTURE.md, "Coordination".

use crate::Time;
use crate::election::{
    Change, Cluster, Compare, Entry, Key, Leader, Member, Mirror, Order, Revision, Swap, Transaction, Value, Write,
};

#[derive(Clone, Debug, Default)]
pub struct Store {
    pub mirror: Mirror,
    /// Whose lease the leader's key lives by (server, its life) and until when.
    pub lease: Option<((usize, u64), Time)>,
}

impl Store {
    pub fn transact(&mut self, who: (usize, u64), until: Time, transaction: &Transaction) -> (Swap, Vec<Change>) {
        if !transaction.compares.iter().all(|compare| self.holds(compare)) {
            return (Swap::Conflict, Vec::new());
        }
        let at = self.next();
        let changes = transaction.writes.iter().map(|write| Change { at, now: self.write(at, write, who, until) });
        (Swap::Done(at), changes.collect())
    }

    pub fn expire(&mut self) -> Change {
        let at = self.next();
        (self.lease, self.mirror.leader) = (None, None);
        Change { at, now: Value::Leader(None) }
    }

    pub fn order(&mut self, order: Order) -> Option<Change> {
        if self.mirror.order.is_some() {
            return None;
        }
        let at = self.next();
        self.mirror.order = Some(Entry { value: order, created: at, changed: at });
        Some(Change { at, now: Value::Order(self.mirror.order.clone()) })
    }

    fn next(&mut self) -> Revision {
        self.mirror.at = Revision(self.mirror.at.0 + 1);
        self.mirror.at
    }

    fn revisions(&self, key: &Key) -> Option<(Revision, Revision)> {
        fn of<T>(entry: &Entry<T>) -> (Revision, Revision) {
            (entry.created, entry.changed)
        }
        match key {
            Key::Leader => self.mirror.leader.as_ref().map(of::<Leader>),
            Key::Cluster => self.mirror.cluster.as_ref().map(of::<Cluster>),
            Key::Order => self.mirror.order.as_ref().map(of::<Order>),
            Key::Member(server) => self.mirror.members.get(server).map(of::<Member>),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Absent(key) => self.revisions(key).is_none(),
            Compare::Created(key, at) => self.revisions(key).is_some_and(|(created, _)| created == *at),
            Compare::Changed(key, at) => self.revisions(key).is_some_and(|(_, changed)| changed == *at),
        }
    }

    fn write(&mut self, at: Revision, write: &Write, who: (usize, u64), until: Time) -> Value {
        fn put<T: Clone>(known: Option<&Entry<T>>, value: &T, at: Revision) -> Entry<T> {
            Entry { value: value.clone(), created: known.map_or(at, |entry| entry.created), changed: at }
        }
        match write {
            Write::Leader(leader) => {
                self.mirror.leader = Some(put(self.mirror.leader.as_ref(), leader, at));
                self.lease = Some((who, until));
                Value::Leader(self.mirror.leader.clone())
            }
            Write::Cluster(cluster) => {
                self.mirror.cluster = Some(put(self.mirror.cluster.as_ref(), cluster, at));
                Value::Cluster(self.mirror.cluster.clone())
            }
            Write::Member(server, member) => {
                let entry = put(self.mirror.members.get(server), member, at);
                self.mirror.members.insert(server.clone(), entry.clone());
                Value::Member(server.clone(), Some(entry))
            }
            Write::Delete(Key::Leader) => {
                (self.lease, self.mirror.leader) = (None, None);
                Value::Leader(None)
            }
            Write::Delete(Key::Order) => {
                self.mirror.order = None;
                Value::Order(None)
            }
            Write::Delete(key) => panic!("{key:?} is never deleted"),
        }
    }
}
