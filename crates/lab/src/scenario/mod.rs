//! What clients of a database did and were told, and whether one database can have told them that.
//!
//! [`check()`] is pure; [`Workload`] is who writes such histories. [`Visitors`] come to the whole site by HTTP, and [`tally()`]
//! says what came of it.

mod check;
mod clients;
mod ground;
mod history;
mod inside;
mod processes;
mod registers;
mod visitors;

pub use check::{Verdict, check};
pub use clients::{Target, Workload};
pub use ground::{FakedClock, SmallDisk};
pub use history::{Action, Answer, Found, History, Op, Probe};
pub use inside::{Contents, Held, Inside};
pub use processes::{all_processes, processes};
pub use visitors::{Door, Moment, Tally, Visit, Visitors, What, tally};
