//! Which server a new connection goes to, and which connections must end: pure.

use std::time::Duration;

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Not asked yet.
    Pending,
    /// It did not answer, and why.
    Failed(String),
    /// It answered.
    Well(Seen),
}

/// What a server said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It takes no writes.
    pub read_only: bool,
    /// How its replication is; `None` if it replays nobody.
    pub replication: Option<Replication>,
}

/// The replication of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Whose transactions it replays: a host without its port, since replication may have a port of its own.
    pub source: String,
    /// Whether it applies what it received.
    pub applying: bool,
    /// Seconds behind; `None` while it is not connected to its source.
    pub lag_s: Option<u64>,
}

/// Who is to take the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's place among the servers; `None` while nobody leads.
    pub leader: Option<usize>,
    /// Rises with every leader, the same server twice included: the revision that created the leader's key.
    pub epoch: u64,
    /// Who says so.
    pub source: Source,
}

/// Where it is known from who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The plan: there is no coordination, and the declared primary leads for ever.
    Plan,
    /// The store, which answers.
    Store,
    /// The store, which does not answer: what it said last is kept to as long as that server takes writes. A primary that
    /// is cut off from the store itself closes within its lease.
    StoreLost,
}

impl Leadership {
    /// The declared primary, the first of the servers.
    pub const PLANNED: Leadership = Leadership { leader: Some(0), epoch: 0, source: Source::Plan };
    /// Nothing is known yet.
    pub const UNKNOWN: Leadership = Leadership { leader: None, epoch: 0, source: Source::StoreLost };
}

/// What choices are made by: one snapshot.
pub struct View<'a> {
    /// Who leads.
    pub leadership: Leadership,
    /// What is known of each server.
    pub checks: &'a [Check],
    /// The host of each server.
    pub hosts: &'a [String],
    /// A replica further behind is not read from.
    pub max_lag: Duration,
}

/// Why nobody can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Nobody leads.
    Leaderless(&'static str),
    /// This one leads, and why it does not do.
    Unfit(usize, String),
}

impl View<'_> {
    /// The leader, if it takes writes.
    ///
    /// # Errors
    /// Why nobody does.
    pub fn writer(&self) -> Result<usize, Lack> {
        let leader = self.leader()?;
        match self.check(leader) {
            Check::Well(seen) if !seen.read_only => Ok(leader),
            Check::Well(_) => Err(Lack::Unfit(leader, "it is read-only".into())),
            Check::Failed(why) => Err(Lack::Unfit(leader, why.clone())),
            Check::Pending => Err(Lack::Unfit(leader, "it was not reached yet".into())),
        }
    }

    /// The replica that is fit to be read and has the fewest connections; without one, the leader.
    ///
    /// # Errors
    /// Nobody is fit: why the leader is not.
    pub fn reader(&self, connections: &[usize]) -> Result<usize, Lack> {
        let fit = self.replicas().filter(|index| self.unfit_to_read(*index).is_none());
        match fit.min_by_key(|index| connections.get(*index).copied().unwrap_or(0)) {
            Some(index) => Ok(index),
            None => self.last_resort(),
        }
    }

    /// A leader that is not open yet has all the data.
    fn last_resort(&self) -> Result<usize, Lack> {
        let leader = self.leader()?;
        if matches!(self.check(leader), Check::Well(_)) { Ok(leader) } else { self.writer() }
    }

    /// Every server but the leader.
    pub fn replicas(&self) -> impl Iterator<Item = usize> {
        (0..self.checks.len()).filter(|index| self.leadership.leader != Some(*index))
    }

    /// Why a replica is not read from.
    pub fn unfit_to_read(&self, index: usize) -> Option<String> {
        let replication = match self.check(index) {
            Check::Pending => return Some("it was not reached yet".into()),
            Check::Failed(why) => return Some(why.clone()),
            Check::Well(Seen { replication: None, .. }) => return Some("it is not a replica yet".into()),
            Check::Well(Seen { replication: Some(replication), .. }) => replication,
        };
        match replication.lag_s {
            _ if !replication.applying => Some("it does not apply what the primary sends".into()),
            // With the leader gone nobody has anything newer that could be read.
            _ if !self.leader_is_well() => None,
            _ if !self.follows_the_leader(replication) => Some(format!("it still follows {}", replication.source)),
            Some(seconds) if Duration::from_secs(seconds) > self.max_lag => {
                Some(format!("{seconds} s behind, more than {} s", self.max_lag.as_secs()))
            }
            None => Some("it is not connected to the primary".into()),
            Some(_) => None,
        }
    }

    /// Where the plan says who leads, a replica can follow nobody else.
    fn follows_the_leader(&self, replication: &Replication) -> bool {
        let leader = self.leadership.leader.and_then(|leader| self.hosts.get(leader));
        self.leadership.source == Source::Plan || leader.is_some_and(|host| *host == replication.source)
    }

    fn leader_is_well(&self) -> bool {
        self.leadership.leader.is_some_and(|leader| matches!(self.check(leader), Check::Well(_)))
    }

    fn leader(&self) -> Result<usize, Lack> {
        let why = match self.leadership.source {
            Source::StoreLost => "the store that knows it does not answer",
            _ => "an election is under way",
        };
        self.leadership.leader.ok_or(Lack::Leaderless(why))
    }

    fn check(&self, index: usize) -> &Check {
        self.checks.get(index).unwrap_or(&Check::Pending)
    }
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The server's place.
    pub index: usize,
    /// In which epoch it was chosen.
    pub epoch: u64,
    /// To be written to.
    pub writes: bool,
    /// The server led when it was chosen.
    pub leads: bool,
}

impl Route {
    /// A route to a server as things are.
    pub fn new(index: usize, writes: bool, leadership: Leadership) -> Route {
        Route { index, epoch: leadership.epoch, writes, leads: leadership.leader == Some(index) }
    }

    /// Whether the connection must end. A writer's: nobody leads, or somebody does in a later epoch, the same server too,
    /// since what it had not acknowledged may be gone. A reader's: it reads from a server that led, at first or meanwhile, and does
    /// no longer, and that may be cut off from all that happens from now on, or gone.
    pub fn is_stale(&mut self, now: Leadership) -> bool {
        if !self.writes && !self.leads && now.leader == Some(self.index) {
            // The replica that it reads from leads now.
            (self.leads, self.epoch) = (true, now.epoch);
        }
        let led_on = now.epoch == self.epoch && now.leader == Some(self.index);
        (self.writes || self.leads) && !led_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: fn() -> Check = || Check::Failed("refused".into());
    const LED_BY_SECOND: Leadership = Leadership { leader: Some(1), epoch: 7, source: Source::Store };

    fn primary(read_only: bool) -> Check {
        Check::Well(Seen { read_only, replication: None })
    }

    fn replica(applying: bool, lag_s: Option<u64>) -> Check {
        follower("h0", applying, lag_s)
    }

    fn follower(source: &str, applying: bool, lag_s: Option<u64>) -> Check {
        let replication = Replication { source: source.into(), applying, lag_s };
        Check::Well(Seen { read_only: true, replication: Some(replication) })
    }

    fn view<T>(leadership: Leadership, checks: &[Check], of: impl FnOnce(&View<'_>) -> T) -> T {
        let hosts: Vec<String> = (0..checks.len()).map(|index| format!("h{index}")).collect();
        of(&View { leadership, checks, hosts: &hosts, max_lag: Duration::from_secs(5) })
    }

    fn writer(leadership: Leadership, checks: &[Check]) -> Result<usize, Lack> {
        view(leadership, checks, |view| view.writer())
    }

    fn reader(leadership: Leadership, checks: &[Check], connections: &[usize]) -> Result<usize, Lack> {
        view(leadership, checks, |view| view.reader(connections))
    }

    #[test]
    fn writes_go_to_an_open_leader_only() {
        let planned = Leadership::PLANNED;
        assert_eq!(writer(planned, &[primary(false)]), Ok(0));
        assert_eq!(writer(planned, &[primary(true)]), Err(Lack::Unfit(0, "it is read-only".into())));
        let open_replica = [DOWN(), primary(false)];
        assert_eq!(
            writer(planned, &open_replica),
            Err(Lack::Unfit(0, "refused".into())),
            "an open replica is no primary"
        );
        assert!(writer(planned, &[Check::Pending]).is_err());
        assert_eq!(writer(LED_BY_SECOND, &[primary(false), primary(false)]), Ok(1), "whoever else is open");
        assert!(matches!(writer(Leadership::UNKNOWN, &[primary(false)]), Err(Lack::Leaderless(_))));
    }

    #[test]
    fn a_lost_store_changes_nothing_while_the_leader_takes_writes() {
        let lost = Leadership { source: Source::StoreLost, ..LED_BY_SECOND };
        assert_eq!(writer(lost, &[primary(false), primary(false)]), Ok(1));
        assert_eq!(writer(lost, &[primary(false), primary(true)]), Err(Lack::Unfit(1, "it is read-only".into())));
    }

    #[test]
    fn reads_go_to_the_fittest() {
        let rows = [
            (vec![primary(false), replica(true, Some(0)), replica(true, Some(5))], [9, 2, 1], Ok(2)),
            (vec![primary(false), replica(true, Some(0)), replica(true, Some(6))], [0, 9, 0], Ok(1)),
            (vec![primary(false), replica(true, None), replica(false, Some(0))], [0, 0, 0], Ok(0)),
            (vec![DOWN(), replica(true, None), DOWN()], [0, 0, 0], Ok(1)),
            (vec![DOWN(), replica(true, Some(60)), DOWN()], [0, 0, 0], Ok(1)),
            (vec![primary(true), DOWN(), primary(false)], [0, 0, 0], Ok(0)),
            (vec![DOWN(), replica(false, None), Check::Pending], [0, 0, 0], Err(Lack::Unfit(0, "refused".into()))),
        ];
        for (checks, connections, expected) in rows {
            assert_eq!(reader(Leadership::PLANNED, &checks, &connections), expected, "{checks:?}");
        }
        let alone = reader(Leadership::PLANNED, &[primary(false)], &[0]);
        assert_eq!(alone, Ok(0), "a site without replicas reads from its primary");
    }

    #[test]
    fn who_follows_a_former_leader_is_not_read_from() {
        let behind = [follower("h9", true, Some(0)), primary(false), follower("h1", true, Some(0))];
        assert_eq!(reader(LED_BY_SECOND, &behind, &[0, 0, 9]), Ok(2));
        let nobody_leads = Leadership { leader: None, ..LED_BY_SECOND };
        assert_eq!(reader(nobody_leads, &behind, &[0, 0, 9]), Ok(0), "nobody has anything newer for sure");
    }

    #[test]
    fn what_is_cut() {
        let first = Leadership { leader: Some(0), epoch: 3, source: Source::Store };
        let [writer, last_resort] = [true, false].map(|writes| Route::new(0, writes, first));
        let replica = Route::new(1, false, first);
        let nobody = Leadership { leader: None, ..first };
        let again = Leadership { epoch: 9, ..first };
        let lost = Leadership { source: Source::StoreLost, ..first };
        let rows = [
            (first, [false, false, false]),
            (lost, [false, false, false]),
            (nobody, [true, true, false]),
            (again, [true, true, false]),
            (LED_BY_SECOND, [true, true, false]),
        ];
        for (now, expected) in rows {
            assert_eq!([writer, last_resort, replica].map(|mut route| route.is_stale(now)), expected, "{now:?}");
        }
    }

    #[test]
    fn who_reads_from_a_replica_that_came_to_lead_is_cut_when_it_leads_no_more() {
        let first = Leadership { leader: Some(0), epoch: 3, source: Source::Store };
        let mut reader = Route::new(1, false, first);
        assert!(!reader.is_stale(Leadership { leader: None, ..first }), "it goes on while nobody leads");
        assert!(!reader.is_stale(LED_BY_SECOND), "nor is it cut when its server is promoted");
        assert!(reader.is_stale(Leadership { leader: None, ..LED_BY_SECOND }), "that may be gone");
    }
}
