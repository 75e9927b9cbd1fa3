//! What may befall the servers, and its end.

use std::time::Duration;

use super::{Event, LEASE, NODES, Weather, World};
use crate::Time;
use crate::election::tests::db::{Db, Up, name};
use crate::election::{Election, Input, Order, Settings, StepId, Timing, Wish};

impl World {
    pub fn start_role(&mut self, id: usize) {
        let members =
            (0..NODES).map(|n| (name(n), std::net::SocketAddr::from(([10, 0, 0, n as u8 + 1], 3306)))).collect();
        let (automatic, mode) = self.settings;
        let settings = Settings { me: name(id), members, automatic, mode, timing: Timing::default() };
        let node = &mut self.nodes[id];
        if node.role.is_some() {
            return;
        }
        let mut role = Election::new(settings, self.now);
        role.flaw = self.flaw;
        (node.role, node.life, node.after, node.prepared) = (Some(role), node.life + 1, StepId(0), false);
        (node.busy, node.next, node.paused, node.tick_at) = (false, None, false, Time::NEVER);
        node.backlog.clear();
        node.watch += 1;
        let (life, watch) = (node.life, node.watch);
        self.at(1, Event::Look(id, life));
        self.at(2, Event::Relist(id, life, watch));
        self.at(500, Event::KeepAlive(id, life));
    }

    pub fn kill_role(&mut self, id: usize) {
        self.nodes[id].role = None;
        self.nodes[id].life += 1;
    }

    pub fn kill_db(&mut self, id: usize) {
        self.dbs[id].stop();
        self.cut_connections(id);
    }

    pub(super) fn cut_connections(&mut self, id: usize) {
        for db in &mut self.dbs {
            db.dumps.remove(&id);
        }
    }

    pub fn power_off(&mut self, id: usize) {
        self.kill_role(id);
        self.kill_db(id);
    }

    pub fn wipe(&mut self, id: usize) {
        self.power_off(id);
        self.dbs[id] = Db::new(id);
    }

    /// Clients were served within the last second.
    pub fn check_served(&mut self) {
        if self.served_at + Duration::from_secs(1) < self.now {
            let since = self.served_at.as_nanos() / 1_000_000;
            self.fail(format!("nobody is served since {since} ms"));
        }
    }

    pub fn pause_role(&mut self, id: usize, paused: bool) {
        self.nodes[id].paused = paused;
        if !paused {
            for event in std::mem::take(&mut self.nodes[id].backlog) {
                self.at(0, event);
            }
        }
    }

    pub fn pause_db(&mut self, id: usize, paused: bool) {
        self.dbs[id].paused = paused && self.dbs[id].up == Up::Running;
    }

    pub fn reach_store(&mut self, id: usize, reaches: bool) {
        self.nodes[id].store = reaches;
        self.nodes[id].watch += 1;
        let (life, watch) = (self.nodes[id].life, self.nodes[id].watch);
        if reaches {
            self.at(3, Event::Relist(id, life, watch));
        } else {
            self.tell(id, Input::Connected(false));
        }
    }

    pub fn delay(&mut self, id: usize, late: bool) {
        self.nodes[id].late = late;
    }

    pub fn set_store(&mut self, up: bool) {
        self.store_up = up;
        // Whoever leads the store anew has leases begin anew.
        if let (true, Some((_, until))) = (up, &mut self.store.lease) {
            *until = self.now + LEASE;
            self.at(3_001, Event::LeaseEnd);
        }
        for id in (0..NODES).filter(|id| self.nodes[*id].store).collect::<Vec<_>>() {
            self.reach_store(id, up);
            self.nodes[id].store = true;
        }
    }

    pub fn order(&mut self, wish: Wish) {
        self.forced |= matches!(wish, Wish::Failover { force: true, .. });
        if let Some(change) = self.store.order(Order { wish, asked_ms: 0 }) {
            self.announce(vec![change]);
        }
    }

    pub fn break_sql(&mut self, id: usize, broken: bool) {
        self.dbs[id].sql_broken = broken;
    }

    /// Everything works again.
    pub fn mend(&mut self) {
        self.cut.clear();
        self.weather = Weather { lost: 0, latency_ms: 3, failing: 0 };
        if !self.store_up {
            self.set_store(true);
        }
        for id in 0..NODES {
            self.pause_role(id, false);
            self.pause_db(id, false);
            self.break_sql(id, false);
            self.delay(id, false);
            if !self.nodes[id].store {
                self.reach_store(id, true);
            }
            self.start_role(id);
        }
    }
}
