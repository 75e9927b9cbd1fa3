//! Who may write the database.

mod record;

pub use record::{Cluster, Epoch, Leader, Member, Mode, Order, Receiving, Reign, Revision, Server, State, Wish};
