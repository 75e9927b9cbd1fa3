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
    /// The only heir waits as if there were others.
    AlwaysSkews,
    /// Nobody waits for who is fitter to take over.
    NeverSkews,
    /// Takes anybody's farewell for the master's.
    FarewellOfAnybody,
    /// A farewell that is repeated puts off what the first one began.
    FarewellPutsOff,
    /// Who hands over stays until his time is over, whoever has the address meanwhile.
    StaysYielding,
    /// Has connections sent on to who cannot answer them.
    InheritsFromUnfit,
    /// Has connections sent on to who fell silent.
    InheritsFromDead,
    /// Who gives way does not say to whom.
    ReleasesUntold,
    /// Preempts although it is not fit.
    UnfitPreempts,
    /// Gives way to a master that does not hear it and cannot serve.
    YieldsToUnfit,
    /// Takes the address although it could not hold it.
    UnableTakes,
    /// Who makes room gives the address up before anybody else has it.
    MaintainedDrops,
    /// Makes room only once.
    MaintainedOnce,
    /// Who was told to leave stays if nobody takes the address.
    AwayStays,
    /// Tells the wire at a take-over, and never again.
    AnnouncesOnce,
    /// Does not hold the address while it hands over.
    YieldForgets,
    /// Goes on making room after the reason is gone.
    StillYields,
    /// Goes on leaving after it was told to stay.
    ReturnsNot,
}

#[cfg(test)]
impl Flaw {
    pub(super) const ALL: [Flaw; 30] = [
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
        Flaw::AlwaysSkews,
        Flaw::NeverSkews,
        Flaw::FarewellOfAnybody,
        Flaw::FarewellPutsOff,
        Flaw::StaysYielding,
        Flaw::InheritsFromUnfit,
        Flaw::InheritsFromDead,
        Flaw::ReleasesUntold,
        Flaw::UnfitPreempts,
        Flaw::YieldsToUnfit,
        Flaw::UnableTakes,
        Flaw::MaintainedDrops,
        Flaw::MaintainedOnce,
        Flaw::AwayStays,
        Flaw::AnnouncesOnce,
        Flaw::YieldForgets,
        Flaw::StillYields,
        Flaw::ReturnsNot,
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
