//! The only direct system calls of the node.

pub mod bind;
pub mod connections;
pub mod elements;
pub mod folder;
pub mod holder;
pub mod inherit;
pub mod link;
pub mod log_pipe;
pub mod notify;
pub mod process;
pub mod program;
pub mod raw;
pub mod set;
pub mod spawn;
pub mod tie;
