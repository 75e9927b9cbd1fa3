//! Who of a site's servers takes the next step to another generation of its configuration.
//!
//! The decision is a function of what is known of every server, without a memory of its own: whoever leads may be replaced
//! between any two steps, and the next one goes on where he finds things. What holds at every instant, whoever leads:
//! - of the servers whose services really change, one at a time is changing; so never both balancers, nor a tier;
//! - a server that serves is changed only while another one of each of its tiers is well, if the tier has others;
//! - while one has not become well, nobody else is told to change.
//!
//! A server that is away is not waited for: it finds its turn when it is back.

#[cfg(test)]
mod tests;

use std::time::Duration;

/// How long a server may take to be well with what it was told: its application's workers start, a database may be copied
/// to it. What has refused or failed says so much sooner.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The roles in which others can stand in for it.
    pub tiers: Vec<&'static str>,
    /// It was taken out by an operator: nobody counts on it.
    pub maintained: bool,
    /// The generation that it follows, as far as is known.
    pub at: u64,
    /// The generation that it was last told to follow; 0 if none.
    pub turn: u64,
    /// Whether the target has other services for it than it runs.
    pub changes: bool,
    /// How it is.
    pub standing: Standing,
    /// For how long it has been on its way, as far as whoever leads has seen, and was not at what has a longer deadline of its own.
    pub waited: Duration,
}

/// How a server is, with the generation that it follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It does what its plan says, as well as before the last change.
    Well,
    /// It is becoming well, or is ill by no fault of a change.
    Unwell(String),
    /// It cannot follow what it was told.
    Refuses(String),
    /// It is not heard of.
    Away,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// These are told to follow the target, now.
    Turn(Vec<String>),
    /// Nothing, until something happens.
    Wait {
        /// What that is.
        because: String,
    },
    /// Nothing: a server has not become well with the target.
    Stop {
        /// Which.
        server: String,
        /// Why.
        because: String,
    },
    /// Everybody who is there follows the target.
    Done {
        /// Who is not there, and will follow by itself.
        away: Vec<String>,
    },
}

impl Member {
    fn is_well(&self) -> bool {
        self.standing == Standing::Well
    }

    fn is_away(&self) -> bool {
        self.standing == Standing::Away
    }

    /// It was told, and is not yet what it was told to be.
    fn is_changing(&self, target: u64) -> bool {
        self.turn >= target && !(self.at >= target && (self.is_well() || self.is_away()))
    }

    /// Why it does not become what it was told to be.
    fn failure(&self, target: u64) -> Option<String> {
        if !self.is_changing(target) {
            return None;
        }
        let seconds = self.waited.as_secs();
        match &self.standing {
            Standing::Refuses(because) => Some(because.clone()),
            _ if self.waited < PATIENCE => None,
            Standing::Unwell(because) => Some(format!("not well after {seconds} s: {because}")),
            Standing::Away => Some(format!("it was told to change {seconds} s ago and is not heard of")),
            Standing::Well => Some(format!("it was told to change {seconds} s ago and has not begun")),
        }
    }
}

/// Who takes the next step to `target`. `members` stand in the order in which they are to change.
pub fn next(target: u64, members: &[Member]) -> Decision {
    let failed = members.iter().find_map(|member| Some((member, member.failure(target)?)));
    if let Some((member, because)) = failed {
        return Decision::Stop { server: member.name.clone(), because };
    }
    let due = || members.iter().filter(|member| member.at < target && member.turn < target && !member.is_away());
    // What is the same but for its number costs nobody anything.
    let idle: Vec<String> = due().filter(|member| !member.changes).map(|member| member.name.clone()).collect();
    if !idle.is_empty() {
        return Decision::Turn(idle);
    }
    if let Some(changing) = members.iter().find(|member| member.is_changing(target)) {
        return Decision::Wait { because: waits_for(changing) };
    }
    // Who does not serve is changed first: it costs nobody anything and may mend it.
    let unwell = due().filter(|member| !member.is_well());
    let mut lonely = None;
    for member in unwell.chain(due().filter(|member| member.is_well())) {
        match unrelieved(member, members) {
            None => return Decision::Turn(vec![member.name.clone()]),
            Some(tier) => lonely = lonely.or(Some((member, tier))),
        }
    }
    match lonely {
        Some((member, tier)) => Decision::Wait { because: alone(member, tier, members) },
        None => finished(target, members),
    }
}

/// The tier in which nobody well would be left besides `member`, though it has others.
fn unrelieved(member: &Member, members: &[Member]) -> Option<&'static str> {
    if !member.is_well() || member.maintained {
        return None;
    }
    member.tiers.iter().copied().find(|tier| {
        let mut others = fellows(member, tier, members).peekable();
        others.peek().is_some() && !others.any(Member::is_well)
    })
}

fn fellows<'m>(member: &'m Member, tier: &'m str, members: &'m [Member]) -> impl Iterator<Item = &'m Member> {
    // Who was never heard of has not joined yet: nobody's visitors are his.
    let joined = |it: &&Member| !it.maintained && it.at > 0;
    let other = move |it: &&Member| it.name != member.name && joined(it) && it.tiers.contains(&tier);
    members.iter().filter(other)
}

fn alone(member: &Member, tier: &str, members: &[Member]) -> String {
    let others: Vec<String> = fellows(member, tier, members).map(|other| other.name.clone()).collect();
    let (name, others) = (&member.name, others.join(", "));
    format!(
        "{name} is the only {tier} server that is well: mend {others}, take it out of the declaration, or say `mainstay \
         maintain {others}`"
    )
}

fn waits_for(changing: &Member) -> String {
    match &changing.standing {
        Standing::Unwell(because) => format!("{}: {because}", changing.name),
        Standing::Away => format!("{} is changing and is not heard of", changing.name),
        Standing::Well | Standing::Refuses(_) => format!("{} is changing", changing.name),
    }
}

fn finished(target: u64, members: &[Member]) -> Decision {
    let away = members.iter().filter(|member| member.at < target).map(|member| member.name.clone());
    Decision::Done { away: away.collect() }
}
