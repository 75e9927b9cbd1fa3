//! Servers as network namespaces on one machine. Drives the binary; links nothing of the node.

pub mod init;
