//! What clients of a database did and were told, and whether one database can have told them that.
//!
//! [`check()`] is pure; [`Workload`] is who writes such histories. [`Visitors`] come to the whole site by HTTP, and [`tally()`]
//! says what came of it.

mod callers;
mod check;
mod clients;
mod crew;
mod door;
pub mod forger;
mod ground;
mod history;
mod inside;
pub mod listener;
mod processes;
mod registers;
mod visitors;

pub use callers::{Call, Callers, Failed, Toll, toll};
pub use check::{Verdict, check};
pub use clients::{Target, Workload};
pub use door::Door;
pub use ground::{FakedClock, SmallDisk};
pub use history::{Action, Answer, Found, History, Op, Probe};
pub use inside::{Contents, Held, Inside};
pub use processes::{all_processes, processes};
pub use visitors::{Moment, Step, Tally, Visit, Visitors, What, tally};
