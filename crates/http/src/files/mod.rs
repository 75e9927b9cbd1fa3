//! Static files without a connection: a path is found below a root that nothing leaves, and answered after RFC 9110
//! § 13 and § 14. Sending the bytes is the driver's part.

mod answer;
mod cache;
mod conditions;
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
pub use folder::Folder;
pub use found::Found;
pub use miss::Miss;
pub use range::Part;
pub(crate) use range::{Asked as Ranges, read as read_ranges};
pub(crate) use shelf::{Item, Shelf};

/// What a Range header asks for of a content of `size` bytes; none of it if all lies outside, `None` if it means nothing.
#[cfg(any(test, fuzzing))]
pub(crate) fn ranges(header: &[u8], size: u64) -> Option<Vec<Part>> {
    match range::read(header, size) {
        range::Asked::Whole => None,
        range::Asked::Part(part) => Some(vec![part]),
        range::Asked::Parts(parts) => Some(parts),
        range::Asked::Outside => Some(Vec::new()),
    }
}
