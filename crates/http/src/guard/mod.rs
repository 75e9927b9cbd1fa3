//! What keeps one visitor, or one mistake of ours, from harming the others.

mod panics;

pub(crate) use panics::survive;
