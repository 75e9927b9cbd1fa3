//! What may befall the servers.

use super::db::name;
use super::world::{NODES, World};
use crate::election::Wish;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    KillDb(usize),
    KillRole(usize),
    StartRole(usize),
    PowerOff(usize),
    PauseRole(usize),
    ResumeRole(usize),
    PauseDb(usize),
    ResumeDb(usize),
    CutFromStore(usize),
    BackToStore(usize),
    /// Changes of the cluster's record that it sends reach the store when it has given them up.
    Late(usize),
    InTime(usize),
    /// Nothing of the first reaches the second.
    CutOneWay(usize, usize),
    Isolate(usize),
    Join(usize),
    StoreDown,
    StoreUp,
    StopSql(usize),
    StartSql(usize),
    Switchover(Option<usize>),
    Failover,
    Rejoin(usize),
    /// MariaDB ends, and cannot be started with the data that it has.
    Corrupt(usize),
    AllOff,
    /// The server is off and has lost its data.
    Wipe(usize),
    /// Clients are served now.
    Served,
}

impl World {
    pub fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Nothing => {}
            Fault::KillDb(id) => self.kill_db(id),
            Fault::KillRole(id) => self.kill_role(id),
            Fault::StartRole(id) => self.start_role(id),
            Fault::PowerOff(id) => self.power_off(id),
            Fault::PauseRole(id) => self.pause_role(id, true),
            Fault::ResumeRole(id) => self.pause_role(id, false),
            Fault::PauseDb(id) => self.pause_db(id, true),
            Fault::ResumeDb(id) => self.pause_db(id, false),
            Fault::CutFromStore(id) => self.reach_store(id, false),
            Fault::BackToStore(id) => self.reach_store(id, true),
            Fault::Late(id) => self.delay(id, true),
            Fault::InTime(id) => self.delay(id, false),
            Fault::CutOneWay(from, to) => {
                self.cut.insert((from, to));
            }
            Fault::Isolate(id) => self.cut.extend((0..NODES).flat_map(|other| [(id, other), (other, id)])),
            Fault::Join(id) => self.cut.retain(|(from, to)| *from != id && *to != id),
            Fault::StoreDown => self.set_store(false),
            Fault::StoreUp => self.set_store(true),
            Fault::StopSql(id) => self.break_sql(id, true),
            Fault::StartSql(id) => self.break_sql(id, false),
            Fault::Switchover(to) => self.order(Wish::Switchover { to: to.map(name) }),
            Fault::Failover => self.order(Wish::Failover { to: None, force: false }),
            Fault::Rejoin(id) => self.order(Wish::Rejoin { server: name(id) }),
            Fault::Wipe(id) => self.wipe(id),
            Fault::Corrupt(id) => {
                self.kill_db(id);
                self.dbs[id].corrupt = true;
            }
            Fault::Served => self.check_served(),
            Fault::AllOff => (0..NODES).for_each(|id| self.power_off(id)),
        }
    }
}
