//! Trouble that is not noticed.

use super::{Group, List, Told};
use crate::names::Role;

pub(super) fn find(list: &mut List<'_>) {
    let site = list.site;
    match &site.monitor {
        None => {
            let told = Told {
                what: "nothing watches the site".into(),
                consequence: "visitors are the first to notice that it is down, slow or full".into(),
                remedy: "give a server the role `monitor`".into(),
            };
            list.add(Group::Monitoring, "none", &site.servers, told);
        }
        Some(monitor) if monitor.alerts_to.is_empty() => {
            let told = Told {
                what: "alerts go nowhere".into(),
                consequence: "trouble is seen only by whoever happens to look at the dashboard".into(),
                remedy: "[monitor] alerts-to = [\"mailto:…\"]".into(),
            };
            list.add(Group::Monitoring, "no-alerts", site.with_role(Role::Monitor), told);
        }
        Some(_) => {}
    }
}
