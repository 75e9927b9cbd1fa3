//! Packets, hand-made plots, every short history of two machines, and long seeded ones of two to five.

mod exhaustive;
mod mutants;
mod packets;
mod plots;
mod seeded;
mod world;
