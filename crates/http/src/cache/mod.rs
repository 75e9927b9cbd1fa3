//! The shared cache of a site (RFC 9111), in memory.
//!
//! ```text
//! pure        list, directives, asked, said   what requests and answers say
//!             terms                           whether an answer is stored, and when it may be used
//!             vary, conditions                which stored answer a request selects, and whether the client has it
//!             stored, tags                    an answer as it is stored; what a 304 makes of it
//!             reply                           what a client is sent of it: the whole, a part, a 304
//!             elsewhere                       what else a write has changed
//! shared      key, store                      bounded memory under the engine's threads
//!             flights                         one fetches, the others wait
//!             handle                          all of it as one; purging, figures
//! ```
//! The driver, which asks origins and clients, is `exchange::cached`.

mod asked;
mod conditions;
mod directives;
mod elsewhere;
mod flights;
mod handle;
mod key;
mod list;
mod reply;
mod said;
mod store;
mod stored;
mod tags;
mod terms;
mod vary;

pub(crate) use asked::Asked;
pub(crate) use flights::{Lead, Turn};
pub(crate) use handle::Gathering;
pub use handle::{Cache, CacheSettings};
pub(crate) use key::Asking;
pub(crate) use reply::{Manner, Reply, Told, Why};
pub(crate) use store::{Epoch, Found};
pub(crate) use stored::{Answer, Draft, Moment, Stored};
pub(crate) use terms::{Unstored, Use};

/// By which origins learn that `Surrogate-Control` reaches a cache (W3C Note *Edge Architecture Specification*).
pub(crate) const CAPABILITY: &[u8] = b"Surrogate-Capability: mainstay=\"Surrogate/1.0\"\r\n";
