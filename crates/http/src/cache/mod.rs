//! The shared cache of a site (RFC 9111), in memory.
//!
//! ```text
//! pure        list, directives, asked, said   what requests and answers say
//!             terms                           whether an answer is stored, and when it may be used
//!             vary, conditions                which stored answer a request selects, and whether the client has it
//! ```
#![allow(dead_code)]

mod asked;
mod conditions;
mod directives;
mod list;
mod said;
mod terms;
mod vary;
