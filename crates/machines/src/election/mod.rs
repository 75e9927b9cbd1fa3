//! Who may write the database.

mod io;
mod reason;
mod record;

pub use io::{
    Change, Compare, Entry, Input, Key, Mirror, Observed, Output, Process, Recovery, Replication, Settings, Step,
    StepId, Swap, Timing, Transaction, Trouble, Value, Write,
};
pub use reason::{Limitation, Reason};
pub use record::{Cluster, Epoch, Leader, Member, Mode, Order, Receiving, Reign, Revision, Server, State, Wish};
