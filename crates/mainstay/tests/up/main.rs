//! `up`, `status`, `logs` and `down`, as a person types them: the binary as it ships, with small applications.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]
#![allow(clippy::print_stderr, reason = "what was not tried is said")]

mod comes_up;
mod refuses;
mod site;
