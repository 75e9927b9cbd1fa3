//! What the machine is told and what it asks for.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Time;

/// One machine's part in one virtual router (RFC 9568 § 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its own address, by which equals are told apart.
    pub address: IpAddr,
    /// 1 to 254; 255 is who owns the address.
    pub priority: u8,
    /// Between two adverts of a master (Advertisement_Interval).
    pub interval: Duration,
    /// Whether a higher priority takes the address from a lower one that holds it well (Preempt_Mode).
    pub preempt: bool,
    /// Whether all are Mainstay's: backups are then heard too, and say how fit they are.
    pub kin: bool,
}

impl Settings {
    /// How long a master may be silent before anybody else may take the address: its adverts and this machine's holding of
    /// the address last exactly so long.
    pub fn silence(&self) -> Duration {
        self.interval * 3
    }
}

/// How fit a machine is to hold the address, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fitness {
    /// It could not hold it: its uplink is down, or the kernel does not give it the address.
    Unable,
    /// Its proxy does not answer.
    Silent,
    /// Its proxy answers, and has no server behind it that is well.
    Empty,
    /// It can serve, and an operator wants to work on it.
    Maintained,
    /// It can serve.
    Fit,
}

impl Fitness {
    /// Every one; the place of each is what goes over the wire, and stays what it is.
    pub const ALL: [Fitness; 5] = [Fitness::Unable, Fitness::Silent, Fitness::Empty, Fitness::Fit, Fitness::Maintained];

    /// Whether visitors are answered there.
    pub fn serves(self) -> bool {
        self >= Fitness::Maintained
    }
}

impl fmt::Display for Fitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fitness::Unable => "it cannot hold the address",
            Fitness::Silent => "its proxy does not answer",
            Fitness::Empty => "its proxy has no server that is well",
            Fitness::Maintained => "it is being maintained",
            Fitness::Fit => "it can serve",
        })
    }
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A master was heard.
    Advert {
        /// Who.
        from: IpAddr,
        /// With which priority; 0: it leaves.
        priority: u8,
        /// How often it says so.
        interval: Duration,
        /// How fit it is, if it says so: among kin.
        fitness: Option<Fitness>,
    },
    /// Somebody of our kin was heard who does not hold the address.
    Hello {
        /// Who.
        from: IpAddr,
        /// How fit it is.
        fitness: Fitness,
    },
    /// How fit this machine is. The first one begins everything.
    Fitness(Fitness),
    /// Hand the address over, if anybody takes it, and keep out of it.
    Yield,
    /// Take part again.
    Return,
}

/// What the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Hold the address until then, and not a moment longer.
    Hold {
        /// The end, unless this is asked for anew.
        until: Time,
    },
    /// The address comes from a master that is still there and finishes what its connections are at: what belongs to them goes
    /// on to it. Comes before the address is held.
    Inherit {
        /// Who had it until now.
        from: IpAddr,
    },
    /// Give the address up.
    Release {
        /// Who has it now, among kin: that one sends on what belongs to connections of ours.
        to: Option<IpAddr>,
    },
    /// Tell the wire who has the address: gratuitous ARP, or an unsolicited neighbour advertisement (§ 8.1.2, § 8.2.2).
    Announce,
    /// Say who is the master.
    Advertise {
        /// 0: this machine no longer is.
        priority: u8,
    },
    /// Tell our kin that this machine is there and how fit it is.
    Hello {
        /// How fit.
        fitness: Fitness,
    },
    /// The state is another one.
    Enter {
        /// Which.
        state: State,
        /// Why.
        because: Reason,
    },
}

/// What a machine is (§ 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It takes no part.
    Initialize,
    /// It takes over when the master falls silent.
    Backup,
    /// It holds the address.
    Master,
    /// It could not serve, and leaves the address to anybody fitter.
    Fault,
}

impl State {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Initialize => "initialize",
            State::Backup => "backup",
            State::Master => "master",
            State::Fault => "fault",
        }
    }
}

/// Why a state is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// It began, and does not know yet how fit it is.
    Begun,
    /// It is fit, and has not heard long enough to take anything.
    Listening,
    /// It held the address before its restart, and nobody can have taken it since.
    Resumed,
    /// It owns the address.
    Owner,
    /// No master was heard for as long as it takes.
    MasterSilent,
    /// The master said that it leaves.
    MasterLeft,
    /// It is not fit, and neither is anybody else.
    NobodyFitter,
    /// Another master has more right to it.
    Outranked {
        /// Who.
        by: IpAddr,
    },
    /// Another master does not hear us, and can serve as well.
    Unheard {
        /// By whom.
        by: IpAddr,
    },
    /// It stood still for so long that another one may have taken the address.
    Stalled,
    /// It is not fit.
    Unfit {
        /// How fit.
        fitness: Fitness,
    },
    /// An operator said so.
    Yielded,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Begun => f.write_str("it has just begun"),
            Reason::Listening => f.write_str("it is fit and listens for a master"),
            Reason::Resumed => f.write_str("it held the address before it was restarted"),
            Reason::Owner => f.write_str("it owns the address"),
            Reason::MasterSilent => f.write_str("no master was heard"),
            Reason::MasterLeft => f.write_str("the master left"),
            Reason::NobodyFitter => f.write_str("nobody who could be heard is fitter"),
            Reason::Outranked { by } => write!(f, "{by} has more right to it"),
            Reason::Unheard { by } => write!(f, "{by} holds it too, does not hear us, and can serve as well"),
            Reason::Stalled => f.write_str("it stood still for longer than others wait"),
            Reason::Unfit { fitness } => fitness.fmt(f),
            Reason::Yielded => f.write_str("it was asked to hand over"),
        }
    }
}
