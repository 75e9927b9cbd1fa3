//! The HTTP engine: the path of every request. Knows sockets, pools and files; not servers, roles or the declaration.

pub mod codec;
pub mod fastcgi;
pub mod files;
