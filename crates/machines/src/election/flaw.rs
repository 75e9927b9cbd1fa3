//! Places where the tests break the machine, to see that they notice.

use super::Election;

/// A way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Claims without waiting for all of S to freeze.
    ClaimUnfrozen,
    /// Claims although another one has more.
    ClaimBehind,
    /// Says that it does not receive before it stopped.
    PublishBeforeFreezing,
    /// Says that it has stopped receiving before it knows what it has received.
    PublishUnknown,
    /// Receives again before its record says so.
    ReceiveBeforePublishing,
    /// Keeps all of S at a promotion, whatever the others have.
    KeepSyncAtPromotion,
    /// Opens before the record names it.
    OpenBeforeRecord,
    /// Is promoted before all it received is applied.
    PromoteUndrained,
    /// Takes a member out of S without blocking it.
    ShrinkUnblocked,
    /// Takes a member out of S before the rest has what it acknowledged.
    ShrinkUnproven,
    /// Turns semi-sync off before the record says that S is empty.
    SyncOffBeforeRecord,
    /// Takes a replica into an empty S that has not all.
    GrowUncaught,
    /// Takes a replica into an empty S while commits do not wait.
    GrowUnheld,
    /// Lets a replica in again that may still acknowledge.
    UnblockEarly,
    /// Hands over to somebody who has not all.
    HandOverUncaught,
    /// Hands over without having closed.
    HandOverOpen,
    /// Starts a former primary without its end although nobody else leads.
    TruncateUnled,
    /// Follows another although its own data went on alone.
    FollowDiverged,
    /// Opens although a replica outside S may acknowledge.
    OpenUnblocked,
    /// A member of S that has lost data stands all the same.
    StandWithoutData,
    /// Never gives a handover up.
    HandOverForEver,
    /// Stays open when the lease has ended.
    OpenWithoutLease,
    /// Forgets that a transaction that seemed lost may still take effect.
    NeverSettle,
    /// Never takes the lead again.
    NeverReclaim,
    /// Never takes a lost replica out of S.
    NeverShrink,
}

#[cfg(test)]
impl Flaw {
    pub(super) const ALL: [Flaw; 25] = [
        Flaw::ClaimUnfrozen,
        Flaw::ClaimBehind,
        Flaw::PublishBeforeFreezing,
        Flaw::PublishUnknown,
        Flaw::ReceiveBeforePublishing,
        Flaw::KeepSyncAtPromotion,
        Flaw::OpenBeforeRecord,
        Flaw::PromoteUndrained,
        Flaw::ShrinkUnblocked,
        Flaw::ShrinkUnproven,
        Flaw::SyncOffBeforeRecord,
        Flaw::GrowUncaught,
        Flaw::GrowUnheld,
        Flaw::UnblockEarly,
        Flaw::HandOverUncaught,
        Flaw::HandOverOpen,
        Flaw::TruncateUnled,
        Flaw::FollowDiverged,
        Flaw::OpenUnblocked,
        Flaw::StandWithoutData,
        Flaw::HandOverForEver,
        Flaw::OpenWithoutLease,
        Flaw::NeverSettle,
        Flaw::NeverReclaim,
        Flaw::NeverShrink,
    ];
}

impl Election {
    /// Whether the machine is to be wrong in this way.
    #[cfg(test)]
    pub(super) fn flawed(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Whether the machine is to be wrong in this way: never, outside tests.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' one uses it")]
    pub(super) const fn flawed(&self, _: Flaw) -> bool {
        false
    }
}
