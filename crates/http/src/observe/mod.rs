//! What the engine shows of itself.

mod lane;

pub(crate) use lane::{Lane, Lanes};
