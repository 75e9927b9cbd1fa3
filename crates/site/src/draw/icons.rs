//! The roles as signs, strokes in a square of 16 by 16.

use crate::names::Role;

/// A shield: a server's own firewall.
pub(super) const SHIELD: &str = "M8 1.5l5.5 2v4c0 3.5-2.3 5.8-5.5 7c-3.2-1.2-5.5-3.5-5.5-7v-4z";

/// The path of a role's sign.
pub(super) const fn icon(role: Role) -> &'static str {
    match role {
        // A globe.
        Role::Dns => {
            "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zM1.5 8h13M8 1.5c3.3 3.2 3.3 9.8 0 13c-3.3-3.2-3.3-9.8 0-13"
        }
        // A wall of bricks.
        Role::Firewall => "M1.5 2.5h13v11h-13zM1.5 6.2h13M1.5 9.8h13M6 2.5v3.7M11 6.2v3.6M5 9.8v3.7",
        // One becomes two.
        Role::Balancer => "M8 1.5v5M8 6.5L3.5 10v4M8 6.5L12.5 10v4M1.5 12l2 2l2-2M10.5 12l2 2l2-2",
        // A browser's window.
        Role::Web => "M1.5 2.5h13v11h-13zM1.5 6h13M4 4.3h.1M6 4.3h.1",
        // Code.
        Role::App => "M4.8 4.2L1.2 8l3.6 3.8M11.2 4.2L14.8 8l-3.6 3.8M9.3 2.8L6.7 13.2",
        // A bolt.
        Role::Cache => "M9 1.5L3 9h4.5L7 14.5L13 7H8.5z",
        // A drum.
        Role::Database => "M2.5 3.8c0-3 11-3 11 0v8.4c0 3-11 3-11 0zM2.5 3.8c0 3 11 3 11 0M2.5 8c0 3 11 3 11 0",
        // A ballot.
        Role::Store => "M2.5 2.5h11v11h-11zM5 8l2.2 2.4L11 5.6",
        // A pulse.
        Role::Monitor => "M1 8.5h3l2-5.5l3.5 10.5l2-5H15",
    }
}
