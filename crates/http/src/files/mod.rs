//! Static files without a connection: a path is found below a root that nothing leaves, and answered after RFC 9110
//! § 13 and § 14. Sending the bytes is the driver's part.

mod answer;
mod cache;
mod conditions;
mod encoding;
mod folder;
mod found;
mod mime;
mod miss;
mod path;
mod range;
mod shelf;
#[cfg(test)]
mod tests;

pub use answer::{Content, answer};
pub use conditions::Conditions;
pub use encoding::{Accepted, Encoding};
pub use folder::Folder;
pub use found::Found;
pub use miss::Miss;
pub use range::Part;
pub(crate) use shelf::{Item, Shelf};
