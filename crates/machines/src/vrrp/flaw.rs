//! Places where the tests break the machine, to see that they notice.

use super::Vrrp;

/// A way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Goes on as master after it stood still.
    KeepAfterStall,
    /// Takes for silence what it could not hear while it stood still.
    TrustStall,
    /// Two masters of the same priority both stay.
    TieUnbroken,
    /// A master that hears a lesser one says nothing.
    Unasserted,
    /// A master that gives way to a greater one says nothing.
    QuietLoser,
    /// Takes the address although somebody fitter is there.
    UnfitTakes,
    /// An unfit master only lowers its priority.
    LowerOnly,
    /// Leaves without farewell.
    NoFarewell,
    /// Gives the address up before anybody else has it, when it hands over.
    EarlyRelease,
    /// With its cable back it takes the address before it could have heard a master.
    UnableListensNot,
    /// Stays although the other master cannot hear it.
    NeverUnheard,
    /// A backup that does not preempt preempts.
    AlwaysPreempts,
}

#[cfg(test)]
impl Flaw {
    pub(super) const ALL: [Flaw; 12] = [
        Flaw::KeepAfterStall,
        Flaw::TrustStall,
        Flaw::TieUnbroken,
        Flaw::Unasserted,
        Flaw::QuietLoser,
        Flaw::UnfitTakes,
        Flaw::LowerOnly,
        Flaw::NoFarewell,
        Flaw::EarlyRelease,
        Flaw::UnableListensNot,
        Flaw::NeverUnheard,
        Flaw::AlwaysPreempts,
    ];
}

impl Vrrp {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' one asks it")]
    pub(super) const fn has(&self, _: Flaw) -> bool {
        false
    }

    #[cfg(test)]
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}
