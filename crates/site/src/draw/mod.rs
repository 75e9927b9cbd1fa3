//! The site as a picture: tiers from top to bottom, servers as boxes, protocols on the arrows.
//!
//! ```text
//! Site → picture (tiers, boxes, arrows; no places) → layout (places, in pixels or characters) → svg, text
//!                                                  └→ mermaid (its renderer places by itself)
//! ```
//!
//! What the declaration asks for and this version does not do is drawn, marked with a dagger, and said below.

mod icons;
mod layout;
mod mermaid;
mod overlay;
mod picture;
mod svg;
#[cfg(test)]
pub(crate) mod tests;
mod text;

pub use mermaid::mermaid;
pub use overlay::{Live, Overlay};
pub use svg::svg;
pub use text::text;
