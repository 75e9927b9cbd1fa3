//! The declaration of a site, what follows from it, and what is wrong with it. No I/O happens here: what must be known
//! of the disk comes in as an argument ([`model::Codebase`]).
//!
//! ```text
//! site.toml → declaration (text, spans, every error at once) → model::Site (resolved, valid by construction)
//!                                                                ├→ findings (what is wrong with the design)
//!                                                                ├→ draw, explain
//!                                                                └→ plan::Plan, one per server
//! ```

pub mod bridge;
pub mod declaration;
pub mod draw;
pub mod explain;
pub mod findings;
pub mod firewall;
pub mod model;
pub mod names;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod rollout;
pub mod secrets;
pub mod votes;
pub mod wire;
