//! What an operator orders.

use mainstay_site::wire::database::Wish;

use super::Scenario;

pub const SCENARIOS: &[Scenario] =
    &[Scenario::new("db-switchover", "an operator moves the primary", |act| act.order(Wish::Switchover { to: None }))];
