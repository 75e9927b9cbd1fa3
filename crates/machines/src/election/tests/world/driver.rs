//! The driver of each machine: it tells what was seen, and has steps carried out.

use super::{Event, World};
use crate::election::tests::db::{Txn, number};
use crate::election::{Election, Input, Output, Step, StepId};

impl World {
    pub(super) fn tell(&mut self, id: usize, input: Input) {
        let (now, node) = (self.now, &mut self.nodes[id]);
        if node.paused {
            return;
        }
        let Some(role) = node.role.as_mut() else { return };
        role.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = role.poll() {
            outputs.push(output);
        }
        let (life, deadline) = (node.life, role.deadline());
        if deadline < node.tick_at {
            node.tick_at = deadline;
            self.at_time(deadline, Event::Tick(id, life));
        }
        for output in outputs {
            match output {
                Output::Act { id: step_id, step, .. } => {
                    self.nodes[id].next = Some((step_id, step));
                    self.resume(id, life);
                }
                Output::Transact { id: step_id, transaction, .. } => self.send(id, life, step_id, transaction),
                Output::Changed { .. } => {}
            }
        }
    }

    pub(super) fn look(&mut self, id: usize, life: u64) {
        if let Some(pace) = self.nodes[id].role.as_ref().map(Election::pace) {
            self.at(pace.as_millis() as u64, Event::Look(id, life));
        }
        if !self.nodes[id].busy {
            self.look_now(id, life);
        }
    }

    pub(super) fn look_now(&mut self, id: usize, life: u64) {
        self.nodes[id].busy = true;
        let seen = self.dbs[id].observed(self.nodes[id].after, self.nodes[id].prepared);
        let ms = 1 + self.dice.below(3);
        self.at(ms, Event::Looked(id, life, Box::new(seen)));
    }

    /// Begins the step that waits, if nothing else is under way.
    pub(super) fn resume(&mut self, id: usize, life: u64) {
        if self.nodes[id].busy {
            return;
        }
        let Some((step_id, step)) = self.nodes[id].next.take() else { return };
        self.nodes[id].busy = true;
        let ms = match step {
            Step::Clone { .. } => 300,
            _ => 1 + self.dice.below(20),
        };
        let works = !self.dice.one_in(self.weather.failing);
        self.at(ms, Event::Acted(id, life, step_id, step, works));
    }

    pub(super) fn acted(&mut self, id: usize, life: u64, step_id: StepId, step: Step, works: bool) {
        // One that is said to have failed may have had its effect.
        let effect = works || self.dice.one_in(2);
        let result = if effect { self.act(id, &step) } else { Err("did not work") };
        let result = if works { result } else { Err("no answer") };
        self.nodes[id].busy = false;
        self.nodes[id].after = step_id;
        self.tell(id, Input::Acted { id: step_id, result: result.map_err(str::to_owned) });
        self.resume(id, life);
        if !self.nodes[id].busy {
            self.look_now(id, life);
        }
    }

    pub(super) fn act(&mut self, id: usize, step: &Step) -> Result<(), &'static str> {
        let answers = self.dbs[id].answers();
        match step {
            // It is started, and ends at once.
            Step::Start(_) if self.dbs[id].corrupt => Ok(()),
            Step::Start(recovery) => {
                self.check_start(id, *recovery);
                self.dbs[id].start(*recovery);
                self.at(40, Event::Up(id));
                Ok(())
            }
            Step::Kill => {
                self.kill_db(id);
                Ok(())
            }
            Step::Clone { from } => self.clone_from(id, number(from)),
            _ if !answers => Err("MariaDB does not answer"),
            _ => self.act_on(id, step),
        }
    }

    /// On a server that answers.
    fn act_on(&mut self, id: usize, step: &Step) -> Result<(), &'static str> {
        let (mut done, mut thrown_away) = (Vec::new(), 0);
        let db = &mut self.dbs[id];
        match step {
            Step::Close if !db.waiting.is_empty() => return Err("commits wait (1205)"),
            Step::Close => db.read_only = true,
            Step::Open => db.read_only = false,
            Step::SemiSync(on) => {
                db.semi_sync = *on;
                if !on {
                    done = db.acknowledge(usize::MAX);
                    db.committed = db.binlog.len();
                }
            }
            Step::Prepare => self.nodes[id].prepared = true,
            Step::Freeze | Step::TakeOver | Step::Follow { .. } if db.stranded => thrown_away = db.relay.len(),
            Step::Freeze => db.freeze(),
            Step::Rescue => db.rescue(),
            Step::Promote if !db.relay.is_empty() => thrown_away = db.relay.len(),
            Step::Promote => db.promote(),
            Step::TakeOver => {
                db.freeze();
                if db.sql_broken && !db.relay.is_empty() {
                    self.cut_connections(id);
                    return Err("what was received is not applied");
                }
                db.apply(usize::MAX);
                db.promote();
            }
            Step::Follow { source, acknowledge } => db.follow(number(source), *acknowledge),
            Step::Block(server) => {
                db.blocked.insert(number(server));
                db.dumps.remove(&number(server));
            }
            Step::Unblock(server) => {
                db.blocked.remove(&number(server));
            }
            Step::Nudge => {
                self.writes += 1;
                db.write(self.writes);
            }
            Step::Start(_) | Step::Kill | Step::Clone { .. } => {}
        }
        match step {
            Step::Freeze | Step::Promote | Step::TakeOver | Step::Follow { .. } => self.cut_connections(id),
            Step::Open => self.open(id),
            _ => {}
        }
        if thrown_away > 0 {
            self.fail(format!("db{} throws {thrown_away} received transactions away ({step})", id + 1));
        }
        for write in done {
            self.done(id, write);
        }
        Ok(())
    }

    pub(super) fn clone_from(&mut self, id: usize, from: usize) -> Result<(), &'static str> {
        if !self.dbs[from].answers() || self.apart(id, from) {
            return Err("the source does not answer");
        }
        self.clones += 1;
        let copy: Vec<Txn> = self.dbs[from].binlog[..self.dbs[from].committed].to_vec();
        self.dbs[id].copy_of(&copy);
        self.cut_connections(id);
        self.at(40, Event::Up(id));
        Ok(())
    }

    pub(super) fn apart(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one, other)) || self.cut.contains(&(other, one))
    }
}
