//! The server's packet filter, put in force as its plan has it: see [`mainstay_site::firewall`].

use mainstay_site::firewall::{none, rules};
use mainstay_site::plan::{Notice, Plan};
use rustix::process::geteuid;

use super::fence::nft;

/// Puts the filter of `plan` in force, as one step. What hinders it is said in the status.
///
/// It stays when the supervisor ends: a server whose services have stopped is no less closed.
pub(super) fn enforce(plan: &Plan, before: Option<&Plan>) -> Option<Notice> {
    let Some(open) = &plan.firewall else {
        // Only what was made is taken away.
        let made = before.is_some_and(|before| before.firewall.is_some());
        if made && let Err(because) = nft(&none()) {
            tracing::error!("the packet filter cannot be taken away: {because}");
        }
        return None;
    };
    let because = if plan.address.is_loopback() {
        "the servers share one network (--loopback)".to_owned()
    } else if !geteuid().is_root() {
        "the supervisor is not root".to_owned()
    } else {
        match nft(&rules(open)) {
            Ok(()) => return None,
            Err(because) => format!("{because} (the Debian package nftables has the program nft)"),
        }
    };
    tracing::error!("no packet is filtered: {because}");
    Some(Notice {
        declared: "[firewall]".into(),
        instead: format!("no packet is filtered on {}: {because}", plan.server),
    })
}
