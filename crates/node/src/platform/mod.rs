//! The only direct system calls of the node.

pub mod inherit;
pub mod log_pipe;
pub mod tie;
